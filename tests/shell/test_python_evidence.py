"""What is told of real Python programs that leak: classes with consent, lines of code and threads without."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
from children import process_of

from agent.consent import Consent
from agent.evidence.captures import Captures
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.evidence.python import exchange, inject, newthread, tracing
from agent.evidence.python.collecting import PythonCollector
from agent.evidence.python.sources import PythonObjects, PythonStacks
from agent.evidence.source import SourceError
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.model import Evidence

PLANTED = Path(__file__).parents[1] / "data" / "planted"
NOW = Instant(10_000.0, 1_800_000_000.0)
LATER = Instant(10_720.0, 1_800_000_720.0)
INJECT = Consent(inject=True)
TIMEOUT_S = 20.0


class Planted:
    """A planted program that grows by handshake."""

    def __init__(self, command: list[str], **how: object) -> None:
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
        )
        assert self._answer() == "ready"
        self.process = process_of(self._child.pid)

    def tell(self, command: str) -> str:
        self.send(command)
        return self._answer()

    def send(self, command: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(command.encode() + b"\n")
        self._child.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Let it end by itself; return its code and what it complained of."""
        _, errors = self._child.communicate(timeout=TIMEOUT_S)
        return self._child.returncode, errors.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()

    def _answer(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline().decode().strip()


def planted(name: str, interpreter: str = sys.executable, **how: object) -> Planted:
    return Planted([interpreter, str(PLANTED / name)], **how)


def needs_injection(program: Planted) -> None:
    """Skip with the reason where nothing can be run in others here."""
    with HeldProcess(program.process.key) as held:
        why = inject.why_not(held)
    if why:
        if os.environ.get("REQUIRE_PYSPY") == "1":
            pytest.fail(why)
        pytest.skip(why)


@pytest.fixture
def shop() -> Iterator[Planted]:
    with planted("flask_like.py") as program:
        needs_injection(program)
        yield program


def capture(program: Planted, folder: Path, now: Instant = NOW) -> Evidence:
    options = EvidenceOptions(timeout_s=TIMEOUT_S, cooldown_s=1.0)
    return Captures(folder, options, [PythonObjects()]).capture(program.process, "x", now, consent=INJECT)


def test_the_class_that_grew_is_named_and_where_it_is_kept(shop: Planted, tmp_path: Path) -> None:
    shop.tell("grow 2000")
    capture(shop, tmp_path)
    shop.tell("grow 12000")

    evidence = capture(shop, tmp_path, LATER)

    assert evidence.missing == ()
    grew, *others = evidence.gist
    assert grew.startswith("grew: __main__.Request +12,000 (+")
    assert grew.endswith("MB) in 12m")
    assert others[-1] == "kept in: __main__.Recorder.seen (list) 14,000 entries, +12,000"
    assert evidence.files[0] == "objects.txt"


def test_the_program_runs_on_and_nothing_is_left_in_it(shop: Planted, tmp_path: Path) -> None:
    capture(shop, tmp_path)
    capture(shop, tmp_path, LATER)

    assert shop.tell("grow 1") == "grown"
    tasks = list(Path(f"/proc/{shop.process.key.pid}/task").iterdir())
    assert len(tasks) <= 2  # its own, and ours where it has not quite ended
    assert shop.end() == (0, "")


def stacks_of(program: Planted, folder: Path, now: Instant = NOW) -> Evidence:
    options = EvidenceOptions(timeout_s=TIMEOUT_S, cooldown_s=1.0)
    evidence = Captures(folder, options, [PythonStacks()]).capture(program.process, "x", now)
    if evidence.missing and os.environ.get("REQUIRE_PYSPY") != "1":
        pytest.skip(evidence.missing[0])
    return evidence


def test_the_function_whose_threads_became_more_is_named(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        program.tell("grow 2")
        stacks_of(program, tmp_path)
        program.tell("grow 60")

        evidence = stacks_of(program, tmp_path, LATER)

    assert evidence.gist[0] == (
        "grew: +60 threads started with poll_queue (thread_leak.py:10) in 12m, 62 of 63 now"
    )


def test_very_many_threads_of_one_function_are_told_on_the_first_look(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        program.tell("grow 40")

        evidence = stacks_of(program, tmp_path)

    assert "threads: 40 of 41 were started with poll_queue (thread_leak.py:10)" in evidence.gist


def test_without_consent_the_code_at_work_is_a_hint(tmp_path: Path) -> None:
    with planted("flask_like.py") as program:
        program.send("grow 1000000000")

        evidence = stacks_of(program, tmp_path)

    hints = [line for line in evidence.gist if line.startswith("hint: at work in ")]
    assert len(hints) == 1
    assert "(flask_like.py:" in hints[0]


def test_a_program_that_only_waits_gives_no_hint(tmp_path: Path) -> None:
    with planted("thread_leak.py") as program:
        evidence = stacks_of(program, tmp_path)

    assert not [line for line in evidence.gist if line.startswith("hint")]
