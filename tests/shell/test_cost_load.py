from __future__ import annotations

import shutil
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

import pytest
from bench.cost_load import Compiled, Load, Manners
from bench.cost_meter import read

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 6
SPINNER = "import sys\nfor line in sys.stdin: sum(range(int(line))); print('ok', flush=True)"

FORKING = """
import os, sys
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sum(range(int(line)))
        os._exit(0)
    os.waitpid(pid, 0)
    print("ok", flush=True)
"""

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def compiled() -> Iterator[Compiled]:
    with Compiled() as programs:
        yield programs


def names(load: Load) -> list[str]:
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in load.pids]


def test_so_many_processes_run_under_the_names_of_their_groups(compiled: Compiled) -> None:
    manners = Manners(groups=2)
    with Load(compiled.forker, COUNT, manners) as load:
        assert names(load) == manners.names * 3


def test_the_oldest_processes_are_replaced(compiled: Compiled) -> None:
    with Load(compiled.forker, COUNT) as load:
        before = load.pids
        load.replace(2)
        assert [pid for pid in before if pid in load.pids] == before[2:]
        assert len(load.pids) == COUNT


def test_nobody_is_left_when_it_is_over(compiled: Compiled) -> None:
    with Load(compiled.forker, COUNT) as load:
        pids = load.pids
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_the_cpu_time_of_a_running_process_is_read_to_less_than_a_tick() -> None:
    with Popen([sys.executable, "-c", SPINNER], stdin=PIPE, stdout=PIPE, text=True) as child:
        before = read(child.pid)
        spin(child, 30_000)
        after = read(child.pid)
        child.communicate()
    assert 0.0 < after.cpu_s - before.cpu_s < 5.0
    assert round(after.cpu_s * 100) / 100 != after.cpu_s
    assert after.rss_bytes > 1_000_000


def test_children_that_have_ended_count_too() -> None:
    with Popen([sys.executable, "-c", FORKING], stdin=PIPE, stdout=PIPE, text=True) as child:
        spin(child, 3_000_000)
        after = read(child.pid)
        child.communicate()
    assert after.children_cpu_s >= 0.02
    assert after.cpu_s >= after.children_cpu_s


def test_a_tool_that_has_ended_is_an_error() -> None:
    with Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    with pytest.raises(OSError, match=r"No such process|Invalid argument"):
        read(child.pid)


def spin(child: Popen[str], rounds: int) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{rounds}\n")
    child.stdin.flush()
    assert child.stdout.readline() == "ok\n"
