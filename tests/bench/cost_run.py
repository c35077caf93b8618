"""Runs one tool on processes at its real pace and measures what it costs; leakwatch more closely."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import yaml
from bench.cost_meter import Reading, now_s, read
from bench.cost_peers import PERIOD_S, Peer, Start, Task, scraping
from bench.cost_table import LEAKWATCH, Measured, Pace, pace_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.cost_load import Load

COMMAND = Path(sys.executable).parent / "leakwatch"
STOP_S = 10.0
START_TIMEOUT_S = 60.0
HELP_RUNS = 7
NEVER_US = str(3600 * 10**6)
"""So rarely that a sign of life is only given after a completed tick."""


@dataclass(frozen=True, slots=True)
class Window:
    """When a tool is measured."""

    warm_s: float
    """It has polled for so long already."""
    seconds: float


class ToolError(Exception):
    """Why a tool could not be measured: what it said last."""


def measure_peer(peer: Peer, program: str, task: Task, window: Window) -> Measured:
    """Return what another tool costs on these processes. Raises ToolError."""
    start = peer.prepare(program, task)
    with _running(start, task.folder) as pid, scraping(start.scrape):
        _rest(window.warm_s)
        before, after = _window(pid, window.seconds)
    cpu_s, rss_bytes = after.cpu_s - before.cpu_s, after.rss_bytes
    if peer.children_only:
        cpu_s, rss_bytes = after.children_cpu_s - before.children_cpu_s, 0
    return Measured(peer.name, task.load.count, PERIOD_S, after.at_s - before.at_s, cpu_s, rss_bytes)


def measure_own(task: Task, interval_s: float, window: Window) -> Measured:
    """Return what the installed leakwatch costs on these processes. Raises ToolError."""
    config = task.folder / "leakwatch.yaml"
    config.write_text(yaml.safe_dump(configuration(task.load, interval_s)))
    argv = (COMMAND, "run", "--config", config, "--state-dir", task.folder / "state")
    with Manager(task.folder / "notify") as manager:
        environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": NEVER_US}
        begun_s = now_s()
        with _running(Start(argv, environ), task.folder) as pid:
            ready_s = manager.wait_ready()
            _rest(window.warm_s)
            before, after = _window(pid, window.seconds)
    return Measured(
        LEAKWATCH,
        task.load.count,
        interval_s,
        after.at_s - before.at_s,
        after.cpu_s - before.cpu_s,
        after.rss_bytes,
        Pace(
            start_s=ready_s - begun_s,
            **pace_of([at_s for at_s in manager.ticks_s if at_s >= before.at_s], interval_s),
            written_bytes=after.written_bytes - before.written_bytes,
        ),
    )


def configuration(load: Load, interval_s: float) -> dict[str, object]:
    """Return a file that watches exactly these processes and tells nobody."""
    return {
        "poll_interval": f"{interval_s:g}s",
        "snapshots": False,
        "watch": [{"service": name, "match": {"exe": name}} for name in load.manners.names],
    }


def help_s() -> float:
    """Return by how much `leakwatch --help` takes longer than an interpreter that does nothing."""
    bare = [sys.executable, "-c", ""]
    runs = [(_took_s([COMMAND, "--help"]), _took_s(bare)) for _ in range(HELP_RUNS)]
    return statistics.median(one - other for one, other in runs)


def _took_s(argv: Sequence[str | Path]) -> float:
    begun_s = now_s()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return now_s() - begun_s


@dataclass
class Manager:
    """The socket on which systemd would listen: the daemon tells it of each completed tick."""

    path: Path
    ticks_s: list[float] = field(default_factory=list)
    """When each was told of, on the clock of the readings."""

    def __enter__(self) -> Self:
        self._ready = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()

    def wait_ready(self) -> float:
        """Return when the first tick was complete. Raises ToolError."""
        if not self._ready.wait(START_TIMEOUT_S):
            raise ToolError(f"{LEAKWATCH} was not ready after {START_TIMEOUT_S:g} s")
        return self._ready_s

    def _listen(self) -> None:
        while said := self._socket.recv(4096):
            at_s = now_s()
            if b"READY=1" in said:
                self._ready_s = at_s
                self._ready.set()
            elif b"WATCHDOG=1" in said:
                self.ticks_s.append(at_s)


@contextmanager
def _running(start: Start, folder: Path) -> Iterator[int]:
    """Run a tool that writes to nobody and yield its pid. Raises ToolError where it ends by itself."""
    with (folder / "said").open("w+b") as said:
        child = subprocess.Popen(
            start.argv,
            stdin=subprocess.PIPE,  # apps.plugin ends with it
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **start.environ},
            cwd=folder,
        )
        try:
            yield child.pid
            ended = child.poll()
        except ProcessLookupError:
            ended = child.wait(STOP_S)
        finally:
            _stop(child)
        if ended is not None:
            said.seek(0)
            words = said.read().decode("utf-8", "replace").strip().splitlines()
            raise ToolError(f"ended with {ended}: {words[-1] if words else 'said nothing'}")


def _stop(child: subprocess.Popen[bytes]) -> None:
    with suppress(BrokenPipeError):
        if child.stdin is not None:
            child.stdin.close()
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _window(pid: int, seconds: float) -> tuple[Reading, Reading]:
    before = read(pid)
    _rest(seconds)
    return before, read(pid)


def _rest(seconds: float) -> None:
    threading.Event().wait(seconds)


@contextmanager
def task_on(load: Load, poller: Path) -> Iterator[Task]:
    """Yield a task in an empty folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="leakwatch-bench-") as folder:
        (Path(folder) / "state").mkdir(mode=0o700)
        yield Task(load, Path(folder), poller)
