"""Samples of real processes: what they say, and how their end is told."""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from children import LeakyChild, process_of

from agent.model import Process, ProcessKey, Sample
from agent.watch.processes import FDS_EVERY_S, RESERVED_FDS, Gone, Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1_000_000
PAGE_BYTES = resource.getpagesize()
KERNEL = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
SLACK_PAGES = 2 if KERNEL >= (6, 16) else 64 + 64 * (os.cpu_count() or 1)
"""Until Linux 6.16 statm leaves out what each CPU (or thread) has not yet added to the total."""
AS_NOBODY = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from agent.model import ProcessKey
from agent.watch.processes import Sampler
from agent.watch.discovery import Discovery
os.setgroups([]); os.setgid(65534); os.setuid(65534)
key = ProcessKey.parse(sys.argv[1])
sampler, discovery = Sampler(), Discovery()
process = next(p for p in discovery.processes() if p.key == key)
sampler.open(process)
sample = sampler.sample(key, 1.0)
denied = Sampler(); denied._kernel_counts_fds = False
print(json.dumps({"sample": asdict(sample), "exe": process.exe, "runtime": process.runtime,
                  "fds_listed": denied.sample(key, 1.0).fds}))
"""


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    sampler = Sampler()
    yield sampler
    sampler.close_all()


@contextmanager
def followed(sampler: Sampler) -> Iterator[tuple[LeakyChild, ProcessKey]]:
    """Give a child that is followed and has done its first, untypical step already."""
    with LeakyChild() as child:
        child.grow(1)
        process = process_of(child.pid)
        sampler.open(process)
        yield child, process.key


def sample(sampler: Sampler, key: ProcessKey, t_s: float = 0.0) -> Sample:
    seen = sampler.sample(key, t_s)
    assert isinstance(seen, Sample)
    return seen


def pages(size_bytes: float) -> int:
    return round(size_bytes / PAGE_BYTES)


def test_growth_of_a_process_is_growth_of_its_heap(sampler: Sampler) -> None:
    with followed(sampler) as (child, key):
        before = sample(sampler, key)
        child.grow(10 * MB)
        grown = sample(sampler, key)
        child.free()
        freed = sample(sampler, key)

    assert pages(grown.heap_bytes - before.heap_bytes) == pytest.approx(pages(10 * MB), abs=SLACK_PAGES)
    assert pages(grown.rss_bytes - before.rss_bytes) == pytest.approx(pages(10 * MB), abs=SLACK_PAGES)
    assert pages(freed.heap_bytes - before.heap_bytes) == pytest.approx(0, abs=SLACK_PAGES)


def test_shared_memory_is_no_heap(sampler: Sampler) -> None:
    with followed(sampler) as (child, key):
        before = sample(sampler, key)
        child.share(10 * MB)
        grown = sample(sampler, key)

    assert pages(grown.shared_bytes - before.shared_bytes) == pytest.approx(pages(10 * MB), abs=SLACK_PAGES)
    assert pages(grown.heap_bytes - before.heap_bytes) == pytest.approx(0, abs=SLACK_PAGES)


def test_threads_are_counted_at_once_and_descriptors_every_minute(sampler: Sampler) -> None:
    with followed(sampler) as (child, key):
        before = sample(sampler, key, 0.0)
        child.threads(3)
        child.fds(20)
        soon = sample(sampler, key, FDS_EVERY_S - 1)
        later = sample(sampler, key, FDS_EVERY_S)

    assert (before.threads, soon.threads) == (1, 4)
    assert before.fds is not None
    assert (soon.fds, later.fds) == (before.fds, before.fds + 20)


def test_samples_agree_with_psutil(sampler: Sampler) -> None:
    with followed(sampler) as (child, key):
        child.grow(5 * MB)
        seen = sample(sampler, key, 12.5)
        other = psutil.Process(child.pid)
        memory, cpu, fds = other.memory_info(), other.cpu_times(), other.num_fds()

    assert (seen.rss_bytes, seen.shared_bytes) == (memory.rss, memory.shared)
    assert (seen.cpu_s, seen.fds, seen.swap_bytes) == (pytest.approx(cpu.user + cpu.system), fds, 0)


def test_a_process_that_was_never_opened_is_sampled_all_the_same(sampler: Sampler) -> None:
    with LeakyChild() as child:
        assert isinstance(sampler.sample(process_of(child.pid).key, 0.0), Sample)


@pytest.mark.parametrize("held", [True, False], ids=["held open", "opened anew"])
def test_a_zombie_is_gone(sampler: Sampler, *, held: bool) -> None:
    with LeakyChild() as child:
        process = process_of(child.pid)
        if held:
            sampler.open(process)
        child.become_zombie()

        assert sampler.sample(process.key, 0.0) == Gone("exited, not yet reaped by its parent")


@pytest.mark.parametrize("held", [True, False], ids=["held open", "opened anew"])
def test_a_reaped_process_is_gone(sampler: Sampler, *, held: bool) -> None:
    with LeakyChild() as child:
        process = process_of(child.pid)
        if held:
            sampler.open(process)
        child.kill()

        assert sampler.sample(process.key, 0.0) == Gone("exited")


def test_a_process_that_is_gone_when_it_is_opened_is_told_by_the_next_sample(sampler: Sampler) -> None:
    with LeakyChild() as child:
        process = process_of(child.pid)
        child.kill()
    sampler.open(process)

    assert sampler.sample(process.key, 0.0) == Gone("exited")


@pytest.mark.parametrize("held", [True, False], ids=["held open", "opened anew"])
def test_a_used_pid_is_not_the_process_that_had_it(sampler: Sampler, *, held: bool) -> None:
    with LeakyChild() as child:
        earlier = process_of(child.pid)
        earlier = replace(earlier, key=earlier.key._replace(start_ticks=earlier.key.start_ticks - 100))
        if held:
            sampler.open(earlier)

        assert sampler.sample(earlier.key, 0.0) == Gone("exited, its pid is used again")


def made_up(root: Path, **files: str) -> Process:
    (root / "7").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / "7" / name).write_text(text)
    key = ProcessKey(7, 141101, "b00t1d00")
    return Process(key, "x", "x", "", "root", 1, "/", 1411.01, "unknown")


STAT = "7 (x) S 1 7 7 0 -1 4194304 99 0 0 0 150 50 0 0 20 0 3 0 141101 3133440 400 0\n"


def test_swapped_out_pages_are_heap_once_the_host_swaps(tmp_path: Path) -> None:
    process = made_up(
        tmp_path, stat=STAT, statm="765 400 300 5 0 123 0\n", status="Name:\tx\nVmSwap:\t 2048 kB\n"
    )
    swaps = "Filename Type Size Used Priority\n/dev/sda2 partition 4096 {} -2\n"
    sampler = Sampler(tmp_path)
    (tmp_path / "swaps").write_text(swaps.format(0))
    before = sample(sampler, process.key, 1.0)
    (tmp_path / "swaps").write_text(swaps.format(12))
    after = sample(sampler, process.key, 2.0)

    assert (before.swap_bytes, before.heap_bytes) == (0, 100 * PAGE_BYTES)
    assert (after.swap_bytes, after.heap_bytes) == (2 * 2**20, 100 * PAGE_BYTES + 2 * 2**20)
    assert (after.threads, after.fds, after.cpu_s) == (3, None, 200 / os.sysconf("SC_CLK_TCK"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"stat": STAT, "statm": ""}, None),
        ({"stat": "", "statm": "1 1 1"}, None),
        ({"stat": "nonsense", "statm": "1 1 1"}, None),
        ({"stat": STAT, "statm": "0 0 0 0 0 0 0"}, Gone("exiting")),
        ({"statm": "1 1 1"}, Gone("exited")),
    ],
    ids=["no statm", "no stat", "broken stat", "memory given back", "vanished between two files"],
)
def test_what_cannot_be_read_is_a_gap_and_never_an_error(
    tmp_path: Path, files: dict[str, str], expected: Gone | None
) -> None:
    process = made_up(tmp_path, **files)
    sampler = Sampler(tmp_path)
    sampler.open(process)
    seen = sampler.sample(process.key, 0.0)
    sampler.close_all()

    assert seen == expected


@contextmanager
def open_files_at_most(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_of_open_files_is_raised_when_it_is_near() -> None:
    with open_files_at_most(RESERVED_FDS), LeakyChild() as child:
        sampler = Sampler()
        sampler.open(process_of(child.pid))
        sampler.close_all()
        raised, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert raised == hard


SHORT = """
import json, logging, os, resource, sys
from agent.logs import configure
from agent.model import ProcessKey
from agent.watch.processes import RESERVED_FDS, Sampler
from agent.watch.discovery import Discovery
resource.setrlimit(resource.RLIMIT_NOFILE, (RESERVED_FDS + 2, RESERVED_FDS + 2))
configure(level="info", as_json=False, timestamps=False)
keys = [ProcessKey.parse(text) for text in sys.argv[1:]]
sampler = Sampler()
before = len(os.listdir("/proc/self/fd"))
for process in Discovery().processes():
    if process.key in keys:
        sampler.open(process)
opened = len(os.listdir("/proc/self/fd")) - before
print(json.dumps([opened, *(type(sampler.sample(key, 0.0)).__name__ for key in keys)]))
"""


def test_where_descriptors_run_short_every_process_is_sampled_and_it_is_said_once() -> None:
    with LeakyChild() as one, LeakyChild() as two, LeakyChild() as three:
        keys = [str(process_of(child.pid).key) for child in (one, two, three)]
        done = subprocess.run(
            [sys.executable, "-c", SHORT, *keys], capture_output=True, text=True, check=True, timeout=60
        )

    assert json.loads(done.stdout) == [2, "Sample", "Sample", "Sample"]
    assert done.stderr.count("refused") == 1
    assert 'what="open files"' in done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_memory_is_readable_without_privilege_and_descriptors_are_not() -> None:
    with LeakyChild() as child:
        key = process_of(child.pid).key
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(key)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        seen = json.loads(done.stdout)

    assert seen["sample"]["heap_bytes"] > MB
    assert seen["sample"]["rss_bytes"] > seen["sample"]["heap_bytes"]
    assert (seen["exe"], seen["runtime"], seen["fds_listed"]) == ("", "python", None)
    assert (seen["sample"]["fds"] is not None) == (KERNEL >= (6, 2))


def test_descriptors_are_given_back() -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counting

    sampler = Sampler()
    with LeakyChild() as child:
        process = process_of(child.pid)
        before = open_now()
        sampler.open(process)
        sampler.open(process)
        held = open_now() - before
        sampler.close(process.key)
        sampler.close(process.key)

        assert (held, open_now() - before) == (2, 0)
        for _ in range(100):
            sampler.open(process)
            sampler.sample(process.key, 0.0)
            sampler.close(process.key)
        assert open_now() - before == 0


def test_nothing_is_logged_for_ordinary_polls(sampler: Sampler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "agent")
    with followed(sampler) as (child, key):
        sampler.sample(key, 0.0)
        child.kill()
        sampler.sample(key, 1.0)

    assert caplog.records == []


def test_a_sample_tells_the_children_that_were_counted_last(sampler: Sampler) -> None:
    with followed(sampler) as (_, key):
        assert sample(sampler, key).children is None
        sampler.note_children(key, 3)
        assert sample(sampler, key).children == 3


def test_children_of_a_process_that_is_not_followed_are_no_error(sampler: Sampler) -> None:
    sampler.note_children(ProcessKey(1, 2, "b00t"), 3)
