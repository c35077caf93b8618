"""Programs that hide or bear hostile names: each is looked at as far as it goes, and nothing breaks."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from children import process_of

from agent.evidence.captures import Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.model import Evidence, Instant, Process, ProcessKey
from agent.report.page import page
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).parents[1] / "data" / "hostile" / "hiding.py"
INTERPRETER = Path(sys.executable).resolve()
NOW = Instant(1_000.0, 1_700_000_000.0)
KERNELS_OWN = {"smaps.json", "status.json", "fds.json", "evidence.json"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root")


class Hidden(NamedTuple):
    child: subprocess.Popen[str]
    process: Process

    def answers(self) -> bool:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("?\n")
        self.child.stdin.flush()
        return self.child.stdout.readline() == "here\n"


@contextmanager
def hidden(how: str, folder: Path, program: Path = INTERPRETER) -> Iterator[Hidden]:
    environment = {
        **os.environ,
        "PYTHONHOME": sys.base_prefix,
        "LD_LIBRARY_PATH": str(Path(sys.base_prefix) / "lib"),
    }
    with subprocess.Popen(
        [str(program), "-S", str(SCRIPT), how, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield Hidden(child, process_of(child.pid, runtime="python"))
        finally:
            child.kill()


def capture(process: Process, folder: Path) -> Evidence:
    taker = Captures(folder, EvidenceOptions(), report=page)
    return taker.capture(process, "x", NOW)


def files(evidence: Evidence) -> dict[str, bytes]:
    folder = Path(evidence.directory)
    raw = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {name: gzip.decompress(one) if name.endswith(".gz") else one for name, one in raw.items()}


def key_of(pid: int) -> ProcessKey | None:
    return next((one.key for one in Discovery().processes() if one.key.pid == pid), None)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(name for name, _ in attrs)}


def test_hostile_names_of_everything_that_has_one_stay_words(tmp_path: Path) -> None:
    with hidden("names", tmp_path) as target:
        process = next(one for one in Discovery().processes() if one.key == target.process.key)
        evidence = capture(process, tmp_path / "captures")
        assert target.answers()

    told = "\n".join([process.name, process.command, *evidence.gist, *evidence.missing])
    assert "threads: " in told
    assert "descriptors: " in told
    assert all(line.isprintable() for line in told.splitlines())
    assert set(evidence.files) >= KERNELS_OWN
    assert not any(b"\x1b" in content for content in files(evidence).values())
    tags = Tags()
    tags.feed(files(evidence)["report.html"].decode())
    assert "script" not in tags.found
    assert not [name for name in tags.found if name.startswith("on")]


@needs_root
@pytest.mark.parametrize("how", ["root", "undumpable"])
def test_a_program_that_shuts_itself_off_is_looked_at_by_the_kernels_word(how: str, tmp_path: Path) -> None:
    with hidden(how, tmp_path) as target:
        evidence = capture(target.process, tmp_path / "captures")
        assert key_of(target.child.pid) == target.process.key
        assert target.answers()

    assert set(evidence.files) >= KERNELS_OWN


def test_a_program_whose_executable_is_gone_is_looked_at(tmp_path: Path) -> None:
    program = tmp_path / "python3"
    shutil.copy(INTERPRETER, program)
    with hidden("deleted", tmp_path, program) as target:
        evidence = capture(target.process, tmp_path / "captures")
        assert key_of(target.child.pid) == target.process.key
        assert target.answers()

    assert not program.exists()
    assert set(evidence.files) >= KERNELS_OWN


def test_threads_that_outlive_their_leader_break_nothing(tmp_path: Path) -> None:
    with hidden("leaderless", tmp_path) as target:
        evidence = capture(target.process, tmp_path / "captures")
        assert key_of(target.child.pid) is None
        assert target.answers()

    assert evidence == Evidence("", missing=(f"process {target.child.pid} has ended",))


def test_a_stopped_program_stays_stopped_and_is_looked_at(tmp_path: Path) -> None:
    with hidden("", tmp_path) as target:
        target.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, target.child.pid, os.WSTOPPED | os.WNOWAIT)
        evidence = capture(target.process, tmp_path / "captures")
        with HeldProcess(target.process.key) as held:
            assert held.check().stopped
        target.child.send_signal(signal.SIGCONT)
        assert target.answers()

    assert set(evidence.files) >= KERNELS_OWN


def test_a_program_that_becomes_another_one_is_looked_at_as_that(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo ready; read x; exec sleep 1000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        process = process_of(child.pid, runtime="python")
        child.stdin.write(b"now\n")
        child.stdin.close()
        with Path(f"/proc/{child.pid}/comm").open() as comm:
            while comm.read() != "sleep\n":
                comm.seek(0)
        evidence = capture(process, tmp_path / "captures")
        child.kill()

    assert set(evidence.files) >= KERNELS_OWN
    assert all(line.isprintable() for line in evidence.missing)
