"""py-spy on a real Python program, and scripts that stand for a py-spy that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of

from agent.evidence.captures import Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.python import pyspy
from agent.evidence.source import SourceError
from agent.evidence.sources import all_sources
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.model import Process

NOW = Instant(10_000.0, 1_800_000_000.0)
SECRET = "hunter2-in-a-local"

APPLICATION = f"""
import sys, threading

def remember(token):
    started.release()
    sys.stdin.readline() if token is None else forever.wait()

def serve():
    remember("{SECRET}")

started, forever = threading.Semaphore(0), threading.Event()
for number in range(3):
    threading.Thread(target=serve, daemon=True).start()
    started.acquire()
print("ready", flush=True)
remember(None)
"""


@contextmanager
def python_program(folder: Path) -> Iterator[Process]:
    script = folder / "application.py"
    script.write_text(APPLICATION)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        try:
            yield process_of(program.pid)
        finally:
            program.kill()


@pytest.fixture
def attachable(tmp_path: Path) -> Iterator[Process]:
    """Return a running Python program that py-spy can read here; skip with the reason where it cannot."""
    with python_program(tmp_path) as process:
        try:
            with HeldProcess(process.key) as held:
                pyspy.dump(held, pyspy.find(), timeout_s=10.0, with_locals=False)
        except SourceError as error:
            if os.environ.get("REQUIRE_PYSPY") == "1":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield process


def test_a_real_python_program_shows_where_its_threads_are(attachable: Process, tmp_path: Path) -> None:
    evidence = Captures(tmp_path / "c", EvidenceOptions()).capture(attachable, "x", NOW)

    assert evidence.missing == ()
    assert evidence.gist[0] == "top stack: remember (application.py:6) in 4 of 4 threads"
    assert evidence.files[0] == "pyspy.txt"
    readable = (Path(evidence.directory) / "pyspy.txt").read_text()
    assert "    serve (application.py:9)\n" in readable


def test_locals_are_in_the_files_only_when_they_are_asked_for(attachable: Process, tmp_path: Path) -> None:
    plain = Captures(tmp_path / "plain", EvidenceOptions()).capture(attachable, "x", NOW)
    asked = Captures(tmp_path / "asked", EvidenceOptions(locals=True)).capture(attachable, "x", NOW)

    assert not [name for name in plain.files if SECRET in (Path(plain.directory) / name).read_text()]
    assert [name for name in asked.files if SECRET in (Path(asked.directory) / name).read_text()] == [
        "pyspy.txt",
        "pyspy.json",
    ]
    assert not any(SECRET in line for line in asked.gist)


def test_the_target_runs_on_after_a_dump(attachable: Process) -> None:
    with HeldProcess(attachable.key) as held:
        pyspy.dump(held, pyspy.find(), timeout_s=10.0, with_locals=False)

        assert not held.check().stopped


def test_a_program_that_is_not_python_is_told_apart(attachable: Process) -> None:
    del attachable  # only there to know that py-spy works here
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x\n")
        cat.stdin.flush()
        cat.stdout.readline()
        with (
            HeldProcess(process_of(cat.pid).key) as held,
            pytest.raises(SourceError, match="not a Python process"),
        ):
            pyspy.dump(held, pyspy.find(), timeout_s=10.0, with_locals=False)


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], Path]:
    """Make a script that stands for py-spy; its pid argument is $5."""

    def make(body: str) -> Path:
        path = tmp_path / "py-spy"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def run(child: LeakyChild, tool: Path, timeout_s: float = 10.0) -> pyspy.Dump:
    with HeldProcess(process_of(child.pid).key) as held:
        return pyspy.dump(held, tool, timeout_s=timeout_s, with_locals=False)


def test_a_slow_tool_is_stopped_with_all_that_it_started(
    child: LeakyChild, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    fifo = tmp_path / "held-open"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    slow = tool(f"exec 3>{fifo}; echo begun >&3; sleep 600; echo late")

    with pytest.raises(SourceError, match="stopped after"):
        run(child, slow, timeout_s=2.0)

    os.set_blocking(reader, True)
    assert os.read(reader, 100) == b"begun\n"
    assert os.read(reader, 100) == b""  # the end: neither the tool nor its sleep holds it open any more
    os.close(reader)


def test_a_slow_tool_costs_its_part_of_the_capture_only(
    child: LeakyChild, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    slow = tool("sleep 600")
    taker = Captures(tmp_path / "c", EvidenceOptions(timeout_s=0.2), all_sources(lambda: slow))

    evidence = taker.capture(process_of(child.pid), "x", NOW)

    assert evidence.missing == ("py-spy: stopped after 0s without an answer",)
    assert evidence.files == ("smaps.json", "status.json", "fds.json", "evidence.json")


def test_a_flood_of_output_is_bounded(child: LeakyChild, tool: Callable[[str], Path]) -> None:
    with pytest.raises(SourceError):
        run(child, tool("exec head -c 100000000 /dev/zero"))


def test_output_that_is_no_json_is_told(child: LeakyChild, tool: Callable[[str], Path]) -> None:
    with pytest.raises(SourceError, match="not the JSON"):
        run(child, tool("echo '[1, 2'"))


def test_json_of_another_form_is_a_reason_and_no_failure(
    child: LeakyChild, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    odd = tool("echo '[{}]'")

    evidence = Captures(tmp_path / "c", EvidenceOptions(), all_sources(lambda: odd)).capture(
        process_of(child.pid), "x", NOW
    )

    assert evidence.missing == ("py-spy: 'thread_name'",)


def test_a_tool_that_does_not_start_is_told(child: LeakyChild, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not start"):
        run(child, tmp_path / "missing")


def test_an_inconsistent_read_is_tried_again(
    child: LeakyChild, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"

    dump = run(
        child, tool(f'[ -e {seen} ] && echo "[]" && exit 0; touch {seen}; echo "Error: torn" >&2; exit 1')
    )

    assert dump.threads == []


def test_a_refusal_is_not_tried_again(child: LeakyChild, tool: Callable[[str], Path], tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    with pytest.raises(SourceError, match="CAP_SYS_PTRACE"):
        run(child, tool(f'echo run >> {runs}; echo "Permission Denied" >&2; exit 1'))

    assert runs.read_text() == "run\n"


def is_stopped(child: LeakyChild) -> bool:
    with HeldProcess(process_of(child.pid).key) as held:
        return held.check().stopped


def test_a_target_that_the_tool_left_stopped_runs_on(child: LeakyChild, tool: Callable[[str], Path]) -> None:
    for _ in range(5):  # a stop is not complete when `kill` returns
        run(child, tool('kill -STOP "$5"; echo "[]"'))

        child.grow(4096)  # it answers
        assert not is_stopped(child)


def test_a_target_that_was_stopped_before_stays_so(child: LeakyChild, tool: Callable[[str], Path]) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)

    run(child, tool('echo "[]"'))

    assert is_stopped(child)


def test_the_tool_inherits_nothing_of_our_environment(
    child: LeakyChild, tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_URL", SECRET)
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/x")

    printed = run(child, tool("""printf '"'; env | tr -d '\\n"\\\\'; printf '"'"""))

    assert SECRET not in printed.threads
    assert "NOTIFY_SOCKET" not in printed.threads


def test_the_tool_beside_the_interpreter_comes_first(tool: Callable[[str], Path], tmp_path: Path) -> None:
    beside = tool("exit 0").parent
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    (elsewhere / "py-spy").write_text("#!/bin/sh\n")
    (elsewhere / "py-spy").chmod(0o755)

    assert pyspy.find(beside, str(elsewhere)) == beside / "py-spy"
    assert pyspy.find(tmp_path / "empty", str(elsewhere)) == elsewhere / "py-spy"
    assert pyspy.find(tmp_path / "empty", "") is None


def test_the_dump_command_tells_and_keeps_it(attachable: Process, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from agent.cli.dump import command; command()"]

    ended = subprocess.run(
        [*command, str(attachable.key.pid), "--json", "--output", str(tmp_path / "out")],
        check=True,
        capture_output=True,
    )

    told = json.loads(ended.stdout)
    assert told["process"]["pid"] == attachable.key.pid
    assert told["gist"][0].startswith("top stack: remember (application.py:6)")
    assert (Path(told["directory"]) / "pyspy.json").is_file()
    assert told["directory"].startswith(str(tmp_path / "out"))
