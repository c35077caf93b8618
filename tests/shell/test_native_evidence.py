"""The heaps of real native programs with planted leaks, tools that stand for memleak, and bent paths."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import process_of

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.native import maps, memleak, memory
from agent.evidence.native.sources import AllocationTrace, HeapContents
from agent.evidence.options import EvidenceOptions
from agent.evidence.rights import MEMORY, denied, try_memory
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.source import Source
    from agent.model import Evidence, Process

DATA = Path(__file__).parents[1] / "data"
NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
OPTIONS = EvidenceOptions(cooldown_s=0.0)
SECRET = b"hunter2-on-the-heap"


class Program:
    """A planted program while it runs."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running
        self.process: Process = process_of(running.pid, runtime="native")

    def tell(self, command: str) -> None:
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write(command + "\n")
        self._running.stdin.flush()
        assert self._running.stdout.readline() == "grown\n"

    def take(self, folder: Path, now: Instant, *sources: Source, trace: bool = False) -> Evidence:
        captures = Captures(folder, OPTIONS, sources or (HeapContents(),))
        return captures.capture(self.process, "x", now, consent=Consent(trace=trace))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or shutil.which("g++") is None:
        pytest.skip("gcc and g++ are not installed")
    folder, planted = tmp_path_factory.mktemp("native"), DATA / "planted"
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    for compiler, source, program in (
        ("gcc", "lost_malloc.c", "shop"),
        ("g++", "lost_objects.cc", "objects"),
    ):
        subprocess.run([compiler, *flags, "-o", program, str(planted / source)], cwd=folder, check=True)
    subprocess.run(
        ["g++", *flags, "-s", "-o", "stripped", str(planted / "lost_objects.cc")], cwd=folder, check=True
    )
    return folder


@contextmanager
def running(program: Path) -> Iterator[Program]:
    with subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            found = Program(child)
            with HeldProcess(found.process.key) as held:
                why = denied(lambda: try_memory(held), MEMORY)
            if why:
                pytest.skip(why)
            yield found
        finally:
            child.kill()


@pytest.mark.parametrize("name", ["objects", "stripped"])
def test_objects_that_are_kept_are_told_by_their_class(built: Path, tmp_path: Path, name: str) -> None:
    with running(built / name) as program:
        program.tell("grow 3000000")
        program.take(tmp_path, NOW)
        program.tell("grow 40000000")  # 156,250 objects of 240 bytes

        evidence = program.take(tmp_path, LATER)

    assert evidence.missing == ()
    line = evidence.gist[0]
    assert line.startswith("objects: ~1")
    assert " of shop::Request in what grew (" in line
    assert line.endswith("in 12m), one every 256B")
    assert 140_000 < int(line.split()[1].strip("~").replace(",", "")) < 175_000
    assert len(line) <= 140


def test_structures_are_told_by_the_function_they_point_to(built: Path, tmp_path: Path) -> None:
    with running(built / "objects") as program:
        program.tell("hook 20000000")

        evidence = program.take(tmp_path, NOW)

    assert " to on_timeout in " in evidence.gist[0]
    assert evidence.gist[0].startswith("pointers: ~7")


def test_an_executable_that_was_deleted_still_tells_its_names(built: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(built / "objects", tmp_path / "gone"))
    with running(copy) as program:
        copy.unlink()
        program.tell("hook 20000000")
        program.tell("grow 20000000")

        evidence = program.take(tmp_path / "c", NOW)

    assert any(" to on_timeout in " in line for line in evidence.gist)
    assert any(" of shop::Request in " in line for line in evidence.gist)


def test_lost_mallocs_are_told_by_the_size_of_their_blocks(built: Path, tmp_path: Path) -> None:
    with running(built / "shop") as program:
        program.tell("grow 3000000")
        program.take(tmp_path, NOW)
        program.tell("grow 40000000")

        evidence = program.take(tmp_path, LATER)

    assert evidence.missing == ()
    (line,) = evidence.gist
    assert line.startswith("blocks: ~33")
    assert " of 128B (malloc of 105-120B), 100% of what grew (42." in line


def test_memory_that_malloc_cannot_give_back_is_told_as_free(built: Path, tmp_path: Path) -> None:
    with running(built / "shop") as program:
        program.tell("shred 20000000")

        evidence = program.take(tmp_path, NOW)

    free = next(line for line in evidence.gist if line.startswith("free: "))
    assert re.fullmatch(r"free: (4\d|50)% of 20\.\dMB of heap lies free between blocks in use", free)


def test_two_looks_without_new_memory_are_compared_by_their_counts(built: Path, tmp_path: Path) -> None:
    with running(built / "objects") as program:
        program.tell("grow 8000000")
        program.take(tmp_path, NOW)
        program.tell("grow 100000")

        evidence = program.take(tmp_path, LATER)

    assert evidence.gist[0].startswith("objects: ~3")
    assert evidence.gist[0].endswith(" in 12m")
    assert "MB of heap, " in evidence.gist[0]


def test_nothing_of_the_memory_is_kept_but_names_and_numbers(tmp_path: Path) -> None:
    script = f"import sys; kept = [{SECRET!r} * 4 + bytes([n]) for n in range(200) for _ in range(999)]; "
    script += "print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        process = process_of(child.pid, runtime="native")
        evidence = Captures(tmp_path, OPTIONS, (HeapContents(),)).capture(process, "x", NOW)
        child.kill()

    assert evidence.directory, evidence.missing
    kept = b"".join(path.read_bytes() for path in Path(evidence.directory).iterdir())
    assert SECRET not in kept


def test_a_file_of_an_earlier_look_that_is_cut_off_counts_as_none(built: Path, tmp_path: Path) -> None:
    with running(built / "shop") as program:
        first = program.take(tmp_path, NOW)
        path = Path(first.directory) / "heap-contents.json"
        path.write_bytes(path.read_bytes()[:-20])
        program.tell("grow 8000000")

        evidence = program.take(tmp_path, LATER)

    assert evidence.missing == ()
    assert evidence.gist[0].endswith("MB of heap")


def test_pages_that_are_not_there_are_not_read(built: Path) -> None:
    with running(built / "shop") as program, HeldProcess(program.process.key) as held:
        with held.lines("maps") as lines:
            spans = maps.allocated(maps.parse(lines))
        with memory.opened(held) as opened:
            sample = opened.sample(spans)

    assert 0 < sample.size_bytes < sum(span.size_bytes for span in spans)  # the heap begins with 132 kB
    assert sample.resident_bytes == sample.size_bytes


def test_a_sample_is_bounded_however_much_there_is(built: Path) -> None:
    with running(built / "shop") as program, HeldProcess(program.process.key) as held:
        program.tell("grow 40000000")
        with held.lines("maps") as lines:
            spans = maps.allocated(maps.parse(lines))
        with memory.opened(held) as opened:
            sample = opened.sample(spans, 1_000_000)

    assert 600_000 < sample.size_bytes <= 1_000_000
    assert 36_000_000 < sample.resident_bytes < 50_000_000


def test_another_user_is_told_what_is_missing(built: Path) -> None:
    with running(built / "shop") as program:
        asked = ask_as_nobody(program.process.key.pid)

    assert asked == MEMORY


AS_NOBODY = """
import os, sys
from children import process_of
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.native.sources import HeapContents
process = process_of(int(sys.argv[1]), runtime="native")
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
with HeldProcess(process.key) as held:
    print(HeapContents().why_not(process, held))
"""


def ask_as_nobody(pid: int) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    return run_python(AS_NOBODY, str(pid))


def run_python(script: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DATA.parent), str(DATA.parents[1])])}
    command = [*before, sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


BENT_PATHS = """
import mmap, os, sys
from pathlib import Path
from children import process_of
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.native import files, maps
path = Path(sys.argv[1]) / "library"
path.write_bytes(b"library".ljust(8192))
with path.open("rb") as file:
    kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
def look():
    with HeldProcess(process_of(os.getpid()).key) as held:
        with held.lines("maps") as lines:
            region = next(r for r in maps.parse(lines) if sys.argv[1].encode() in r.path)
        try:
            with files.mapped(held, region) as file:
                print(os.pread(file, 7, 0).decode())
        except OSError as error:
            print(type(error).__name__)
secret = Path(sys.argv[1]) / "secret"
secret.write_bytes(b"secret!" * 99)
look()
path.unlink(); look()
path = path.with_name("library (deleted)")  # where the kernel says that it is
path.symlink_to(secret); look()
path.unlink(); os.mkfifo(path); look()
path.unlink(); path.write_bytes(b"another"); look()
"""


def test_only_the_very_file_that_is_mapped_is_opened(tmp_path: Path) -> None:
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("needs setpriv and root")
    fewer = ("setpriv", "--bounding-set", "-sys_admin,-checkpoint_restore", "--inh-caps", "-all")

    told = run_python(BENT_PATHS, str(tmp_path), before=fewer).split()

    assert told == ["library", *["FileNotFoundError"] * 4]


def test_a_deleted_file_is_read_by_its_mapping_where_that_is_permitted(tmp_path: Path) -> None:
    told = run_python(BENT_PATHS, str(tmp_path)).split()
    if told[1] == "FileNotFoundError":
        pytest.skip("needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE")

    assert told == ["library"] * 5


def stand_in(folder: Path, script: str) -> Path:
    tool = folder / "memleak"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return tool


def traced(tool: Path, program: Program, folder: Path) -> Evidence:
    source = AllocationTrace(lambda: tool, lambda _: "")
    return program.take(folder, NOW, source, trace=True)


def test_memleak_is_given_the_very_allocator_and_its_answer_is_told(built: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    answer = DATA / "memleak" / "frame-pointers.txt"
    tool = stand_in(tmp_path, f'echo "$@" > {said}; while [ "$1" != -O ]; do shift; done; '
                              f"stat -L -c %i $2 >> {said}; cat {answer}")  # fmt: skip
    with running(built / "shop") as program:
        evidence = traced(tool, program, tmp_path / "c")
        arguments, inode = said.read_text().splitlines()
        mapped = Path(f"/proc/{program.process.key.pid}/maps").read_text().splitlines()
        libc = next(line for line in mapped if "/libc.so.6" in line)

    assert evidence.missing == ()
    assert evidence.gist == (
        "not freed: remember < serve (shop) allocated 1.88MB in 15,648 blocks within 1s",
    )
    assert arguments.startswith(f"-p {program.process.key.pid} -o 500 -T 20 -O /proc/self/fd/")
    assert arguments.endswith(" 1 1")
    assert inode == libc.split()[4]
    assert evidence.files[0] == "memleak.txt"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'failed to load bpf object' >&2; exit 1", "memleak: failed to load bpf object"),
        ("exit 3", "memleak: ended with 3 and told nothing"),
        ("yes | head -c 3000000", "memleak: "),
    ],
    ids=["not permitted", "silent", "endless"],
)
def test_a_tool_that_fails_is_a_sentence(built: Path, tmp_path: Path, script: str, why: str) -> None:
    with running(built / "shop") as program:
        evidence = traced(stand_in(tmp_path, script), program, tmp_path / "c")

    assert evidence.gist == ()
    assert evidence.missing[0].startswith(why)


def test_nobody_is_traced_unasked(built: Path, tmp_path: Path) -> None:
    tool = stand_in(tmp_path, f"touch {tmp_path}/ran")
    with running(built / "shop") as program:
        program.take(tmp_path / "c", NOW, AllocationTrace(lambda: tool, lambda _: ""))

    assert not (tmp_path / "ran").exists()


def test_a_real_memleak_names_the_function_that_loses_memory(built: Path, tmp_path: Path) -> None:
    why = memleak.refusal(memleak.find())
    if why:
        pytest.skip(why)
    with running(built / "shop") as program:
        evidence = grow_while(program, tmp_path)

    assert evidence.missing == ()
    assert evidence.gist[0].startswith("not freed: remember < serve (shop) allocated ")


def grow_while(program: Program, folder: Path) -> Evidence:
    """Take a trace while the program goes on losing memory."""
    done = threading.Event()

    def lose() -> None:
        while not done.wait(0.02):
            program.tell("grow 60000")

    losing = threading.Thread(target=lose)
    losing.start()
    try:
        return program.take(folder, NOW, AllocationTrace(), trace=True)
    finally:
        done.set()
        losing.join()
