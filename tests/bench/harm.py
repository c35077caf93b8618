"""What evidence does to those it is taken of: a server under steady load, with captures and without.

    python tests/bench/harm.py [python node jvm go]

A client in a process of its own asks a server two hundred times a second over one connection, and notes how
long after the moment it was due each answer came. Windows of ten seconds take turns, without captures and
with one baseline each: a busy machine then harms both alike. Told are the quantiles of all answers of each
way, and between what the ratio of both lies, by drawing windows again and again (bootstrap). On a virtual
machine whose host takes time away that interval is wide, so it is told as well by how much the 99 % could
rise at the daemon's own pace if every answer that was due during a baseline came never. Then each source is
taken by itself, everything allowed; the longest answer meanwhile is its pause, beside the longest of as long
a time without. A runtime that is not installed is left out. Six minutes each.
"""

from __future__ import annotations

import http.client
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from children import process_of

from agent.clock import SystemClock
from agent.consent import Consent
from agent.evidence.baselines import Baselines
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Tier
from agent.evidence.sources import all_sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.evidence.source import Source
    from agent.model import Process

STEADY = Path(__file__).parents[1] / "data" / "steady"
HEAP_MB = 150
RATE_PER_S = 200
WARM_S = 5.0
WINDOW_S = 10.0
WINDOWS = 14
"""Of each way."""
APART_S = 3600.0
"""The daemon takes a baseline of a process once a week; this is for whoever restarts a service every hour."""
DRAWS = 2000
OPTIONS = EvidenceOptions(cooldown_s=0.0, timeout_s=30.0, disk_budget_bytes=5_000_000_000)
RUNTIMES = {
    "python": (sys.executable, "python.py"),
    "node": ("node", "node.js"),
    "jvm": ("java", "Jvm.java"),
    "go": ("go", "go.go"),
}


class Answer(NamedTuple):
    """One request: when it was due, on CLOCK_MONOTONIC, and how long after that the answer was there."""

    due_s: float
    took_s: float


@dataclass
class Load:
    """A client at work."""

    answers: list[Answer]

    def between(self, start_s: float, end_s: float) -> list[float]:
        """Return how long the answers took that were due then, in milliseconds."""
        return [1000 * a.took_s for a in list(self.answers) if start_s <= a.due_s < end_s]


def main(names: Sequence[str]) -> None:
    """Print the tables."""
    for name in names or RUNTIMES:
        if shutil.which(RUNTIMES[name][0]) is None:
            _say(f"{name}: not installed")
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            _server(name, Path(folder)) as (pid, port),
            _load(port) as load,
        ):
            _wait(WARM_S)
            process, consent = process_of(pid, runtime=name), _consent(name, port)
            _say(f"\n{name}, {HEAP_MB}MB of objects, {RATE_PER_S} requests a second")
            _rounds(load, process, Path(folder))
            _one_by_one(load, process, consent, Path(folder))


def _rounds(load: Load, process: Process, folder: Path) -> None:
    taker = Captures(folder / "c", OPTIONS, baselines=Baselines(folder / "b", 10**7))
    ways: dict[str, Consent | None] = {
        "without captures": None,
        f"a baseline every {WINDOW_S:.0f}s": Consent(),
    }
    windows: dict[str, list[list[float]]] = {what: [] for what in ways}
    longest_s = 0.0
    for _ in range(WINDOWS):
        for what, allowed in ways.items():
            start_s = _now()
            if allowed is not None:
                taker.baseline(process, SystemClock().now(), allowed)
                longest_s = max(longest_s, _now() - start_s)
            _wait(max(0.0, WINDOW_S - (_now() - start_s)))
            windows[what].append(load.between(start_s, _now() - 0.5))
    _say("| answers | p50 | p99 | longest |\n|---|---|---|---|")
    for what, found in windows.items():
        p50, p99, longest = _figures(found)
        _say(f"| {what} | {p50:.2f}ms | {p99:.2f}ms | {longest:.1f}ms |")
    without, baselines = windows.values()
    _say(_ratios(without, baselines))
    _say(_bound(without, longest_s))


def _bound(without: Sequence[list[float]], took_s: float) -> str:
    """Return to what the 99 % of an hour can rise if whatever is due during its one baseline never comes."""
    share = took_s / APART_S
    p99, worst = np.percentile(np.concatenate(without), (99.0, 100.0 * (0.99 + share)))
    return (
        f"the slowest baseline took {1000 * took_s:.0f}ms, {share:.4%} of an hour: with one an hour"
        f" p99 can rise from {p99:.3f}ms to {worst:.3f}ms at most (x{worst / p99:.4f})"
    )


def _ratios(without: Sequence[list[float]], baselines: Sequence[list[float]]) -> str:
    """Return by what the quantiles differ, with an interval that holds 90 times out of 100."""
    draw, drawn = np.random.default_rng(1), []
    for _ in range(DRAWS):
        one, other = (
            _figures([way[k] for k in draw.integers(len(way), size=len(way))]) for way in (without, baselines)
        )
        drawn.append((other[0] / one[0], other[1] / one[1]))
    told = []
    for what, many in zip(("p50", "p99"), zip(*drawn, strict=True), strict=True):
        twentieths = statistics.quantiles(many, n=20)
        told.append(f"{what} x{statistics.median(many):.3f} ({twentieths[0]:.3f} to {twentieths[-1]:.3f})")
    return "with baselines: " + ", ".join(told)


def _figures(windows: Sequence[list[float]]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the longest of all answers."""
    answers = np.concatenate(windows)
    p50, p99 = np.percentile(answers, (50, 99))
    return float(p50), float(p99), float(answers.max())


def _one_by_one(load: Load, process: Process, consent: Consent, folder: Path) -> None:
    _say("\n| source | tier | took | longest answer | as long without | files |")
    _say("|---|---|---|---|---|---|")
    for source in all_sources():
        if source.suits(process, consent):
            _row(load, source, process, consent, folder / source.name.replace(" ", "-").replace("/", "-"))


def _row(load: Load, source: Source, process: Process, consent: Consent, folder: Path) -> None:
    taker = Captures(folder, OPTIONS, (source,))
    start_s = _now()
    evidence = taker.capture(process, "x", SystemClock().now(), consent=consent, tier=Tier.HEAVY)
    end_s = _now()
    _wait(1.0)
    longest = max(load.between(start_s - 0.01, end_s + 0.05), default=0.0)
    took_s = end_s - start_s
    calm_s = _now()
    _wait(took_s + 0.1)
    calm = max(load.between(calm_s, _now()), default=0.0)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    left_out = f" ({evidence.missing[0]})" if evidence.missing else ""
    _say(
        f"| {source.name} | {source.cost.tier} | {1000 * took_s:.0f}ms | {longest:.1f}ms | {calm:.1f}ms"
        f" | {size / 1000:.1f}kB{left_out} |"
    )


def _consent(name: str, port: int) -> Consent:
    pprof = f"http://127.0.0.1:{port}/debug/pprof" if name == "go" else None
    return Consent(heavy=True, collect=True, inspector=True, inject=True, pprof=pprof)


@contextmanager
def _server(name: str, folder: Path) -> Iterator[tuple[int, int]]:
    program, source = RUNTIMES[name]
    command = [program, str(STEADY / source)]
    if name == "go":
        command = [str(folder / "server")]
        subprocess.run(["go", "build", "-o", command[0], str(STEADY / source)], check=True)
    elif name == "jvm":
        subprocess.run(["javac", "-d", str(folder), str(STEADY / source)], check=True)
        command = ["java", "-Xmx512m", "-Dsun.net.httpserver.nodelay=true", "-cp", str(folder), "Jvm"]
    with subprocess.Popen([*command, str(HEAP_MB)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.pid, int(server.stdout.readline())
        finally:
            server.kill()


@contextmanager
def _load(port: int) -> Iterator[Load]:
    """Let a client of its own process ask: what takes captures must not delay who measures."""
    command = [sys.executable, str(Path(__file__)), "--client", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        load = Load([])
        reader = threading.Thread(target=_read, args=(client, load.answers))
        reader.start()
        try:
            yield load
        finally:
            client.kill()
            reader.join()


def _read(client: subprocess.Popen[str], answers: list[Answer]) -> None:
    assert client.stdout is not None
    for line in client.stdout:
        due_s, _, took_s = line.strip().partition(" ")
        answers.append(Answer(float(due_s), float(took_s)))


def client(port: int) -> None:
    """Ask at a steady rate until killed, and print when each request was due and how late its answer was."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    due_s, pause = _now(), threading.Event()
    while True:
        pause.wait(max(0.0, due_s - _now()))
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()  # a server that stood still closes what it takes for idle
            continue
        sys.stdout.write(f"{due_s:.6f} {_now() - due_s:.6f}\n")
        sys.stdout.flush()
        due_s += 1 / RATE_PER_S


def _now() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(int(sys.argv[2]))
    else:
        main(sys.argv[1:])
