"""Targets to probe, a server process that tells its heap, and somebody to ask who answers when told."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from children import process_of

from agent.watch.options import Match, WatchEntry
from agent.watch.probes.base import ProbeError, RuntimeFigures
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.model import Process, ProcessKey
    from agent.watch.probes.chosen import ChosenProbes, Read

DATA = Path(__file__).parent / "data"
LONG_S = 10.0
"""A test that needed this would have failed."""


def target_of(
    pid: int,
    *,
    metrics: str | None = None,
    heap_metric: str | None = None,
    runtime: str = "python",
    service: str = "api",
    named: bool = True,
) -> Target:
    """Return a live process as an entry selects it, or as it is discovered."""
    entry = WatchEntry(service, Match(pid=pid), metrics=metrics, heap_metric=heap_metric)
    return Target(service, process_of(pid, runtime=runtime), {}, entry if named else None)


def beside(target: Target, pid: int) -> Target:
    """Return a made-up second process of the same service."""
    key = target.process.key._replace(pid=pid)
    process: Process = replace(target.process, key=key)
    return replace(target, process=process)


class MetricsChild:
    """A process with a metrics page, by default of prometheus_client; when `grow` returns, it says so."""

    def __init__(self, *command: str) -> None:
        self._command = command or (sys.executable, "-u", str(DATA / "metrics_child.py"))

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._child.pid
        self.port = int(self._answer())
        assert self._answer() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        with self._child as child:
            child.kill()

    def grow(self, size_bytes: int) -> None:
        assert self._child.stdin
        self._child.stdin.write(f"grow {size_bytes}\n")
        self._child.stdin.flush()
        assert self._answer() == "grown"

    def _answer(self) -> str:
        assert self._child.stdout
        return self._child.stdout.readline().strip()


class Answering:
    """Answers for every process with what was set, once `hangs` does not name it (any more)."""

    def __init__(self) -> None:
        self.heap_bytes: dict[int, int] = {}
        """By pid; whoever is not here is refused."""
        self.calls: list[tuple[int, frozenset[int]]] = []
        self.threads: list[str] = []
        """On which each call was made."""
        self.forgotten: list[int] = []
        self.hangs: dict[int, threading.Event] = {}
        self.began = threading.Semaphore(0)

    def suits(self, target: Target) -> bool:
        return target.process.key.pid in self.heap_bytes or target.process.key.pid in self.hangs

    def where(self, _: Target) -> str:
        return "127.0.0.1:9100"

    def ask(self, target: Target, others: AbstractSet[int]) -> RuntimeFigures:
        pid = target.process.key.pid
        self.calls.append((pid, frozenset(others)))
        self.threads.append(threading.current_thread().name)
        self.began.release()
        if pid in self.hangs:
            assert self.hangs[pid].wait(LONG_S)
        if pid not in self.heap_bytes:
            raise ProbeError("127.0.0.1:9100: Connection refused")
        return RuntimeFigures(self.heap_bytes[pid], None, None, garbage=True)

    def forget(self, key: ProcessKey) -> None:
        self.forgotten.append(key.pid)


def settle(probes: ChosenProbes) -> None:
    """Wait until everybody who was asked has answered."""
    rest, waited_s = threading.Event(), 0.0
    while probes.pending:
        rest.wait(0.002)
        waited_s += 0.002
        assert waited_s < LONG_S, f"{probes.pending} have not answered"


def polled(probes: ChosenProbes, t_s: float, *, settled: bool = True) -> dict[int, RuntimeFigures | None]:
    """Poll once and return the figures by pid; everybody who was asked then has answered."""
    read: list[Read] = probes.poll(t_s)
    if settled:
        settle(probes)
    return {one.key.pid: one.figures for one in read}
