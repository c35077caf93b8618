"""Measures the history on disk: a month of a thousand processes, as busy as the recorded ones or idle.

    python tests/bench/history.py
    python tests/bench/history.py --processes 5000 --idle

Every process repeats one of the labelled recordings, at a size and an hour of its own. Prints the size of the
file, bytes a block (floor and peak of one series) and a sample that it stands for, what writing it costs, and
how long a start takes to read it and how much memory that leaves.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import made_up
from bench import corpus, cost_meter

from agent.config import default_config
from agent.daemon.judge import SERIES, Judge
from agent.daemon.memory import COARSE_S, FINE_S, Memory
from agent.history.store import COARSE_KEPT_S, FINE_KEPT_S, HistoryStore, HistoryWriter, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from agent.daemon.watched import Watched

    Floats = NDArray[np.float64]

INTERVAL_S = 10.0
NOW_S = COARSE_KEPT_S + 86400.0
IDLE = {"heap": 100e6, "shared": 40e6, "threads": 8.0, "fds": 40.0, "children": 0.0, "cpu": 1.5}
PAGE_BYTES = 4096
RECORDED = {
    "heap": "anon",
    "runtime": "heap",
    "shared": "shmem",
    "threads": "threads",
    "fds": "fds",
    "cpu": "cpu",
}
"""Series -> column of a recording; children were not recorded."""


@dataclass(frozen=True, slots=True)
class Month:
    """What was measured."""

    processes: int
    idle: bool
    file_bytes: int
    blocks: int
    samples: int
    """Polls of a series that the blocks stand for."""
    written_bytes: int
    """To the device, while the newest day was written."""
    written_minutes: float
    append_ms: float
    restore_s: float
    memory_bytes: int
    """By how much the process has grown at reading all back."""

    def lines(self) -> Iterator[str]:
        """Return it for people."""
        yield f"{self.processes:,} {'idle' if self.idle else 'busy'} processes, a poll every {INTERVAL_S:g} s"
        yield f"file after 30 days      {self.file_bytes / 1e6:8.1f} MB"
        yield f"bytes a block           {self.file_bytes / self.blocks:8.2f}"
        yield f"bytes a sample          {self.file_bytes / self.samples:8.4f}"
        minutes = self.processes * self.written_minutes
        yield f"written B/process/min   {self.written_bytes / minutes:8.1f}"
        yield f"a row takes             {self.append_ms:8.1f} ms, on a thread of its own"
        yield f"read at a start in      {self.restore_s:8.2f} s"
        yield f"memory that it takes    {self.memory_bytes / 1e6:8.1f} MB"


class Repeated:
    """One recording, repeated for ever by a process of another size."""

    def __init__(self, case: corpus.Case, draw: np.random.Generator) -> None:
        columns, t_s = case.recording.columns, case.recording.t_s
        self._times = float(draw.uniform(0.5, 2.0))
        self._lasts_s = max(1.0, float(t_s[-1] - t_s[0]))
        self._at_s = t_s - t_s[0]
        self._begins_s = float(draw.uniform(0.0, self._lasts_s))
        rest = np.full(len(t_s), np.nan)
        self._values = np.stack(
            [self._sized(name, columns.get(RECORDED.get(name, ""), rest)) for name in SERIES]
        )

    def _sized(self, name: str, values: Floats) -> Floats:
        if name in ("heap", "runtime", "shared"):
            return np.round(values * self._times / PAGE_BYTES) * PAGE_BYTES
        return values

    def block(self, t_s: float, lasts_s: float) -> tuple[Floats, Floats]:
        """Return floor and peak of each series over a block; NaN where there is nothing."""
        since_s = (t_s + self._begins_s) % self._lasts_s
        inside = (self._at_s >= since_s) & (self._at_s < since_s + lasts_s)
        inside[int(np.searchsorted(self._at_s, since_s)) - 1] = True
        seen = self._values[:, inside]
        found = np.isfinite(seen).any(axis=1)
        floors, peaks = np.full(len(SERIES), np.nan), np.full(len(SERIES), np.nan)
        floors[found], peaks[found] = np.nanmin(seen[found], axis=1), np.nanmax(seen[found], axis=1)
        cpu = SERIES.index("cpu")
        rounds = (t_s + self._begins_s) // self._lasts_s
        for one in (floors, peaks):
            one[cpu] += rounds * self._values[cpu, -1]
        return floors, peaks


class Still:
    """A process of which nothing ever changes."""

    def block(self, t_s: float, lasts_s: float) -> tuple[Floats, Floats]:
        """Return the same floor and peak of each series at any time."""
        del t_s, lasts_s
        values = np.array([IDLE.get(name, np.nan) for name in SERIES])
        return values, values.copy()


def lives(count: int, *, idle: bool) -> Sequence[Repeated | Still]:
    """Return so many processes."""
    if idle:
        return [Still()] * count
    cases = [case for case in corpus.load("real") if "cpu" in case.recording.columns]
    draw = np.random.default_rng(1)
    return [Repeated(cases[k % len(cases)], draw) for k in range(count)]


def new_judge() -> Judge:
    """Return a judge at the interval."""
    return Judge(replace(default_config(), poll_interval_s=INTERVAL_S))


def row_s(*, coarse: bool) -> float:
    """Return how long the blocks of a row are."""
    rings = new_judge().rings
    return rings.block_s(rings.level_of(COARSE_S if coarse else FINE_S))


def rows(watched: Sequence[Watched], lived: Sequence[Repeated | Still], *, coarse: bool) -> Iterator[Row]:
    """Yield a row for every block that is kept, oldest first; what did not move is left out of fine ones."""
    lasts_s = row_s(coarse=coarse)
    first = int((NOW_S - (COARSE_KEPT_S if coarse else FINE_KEPT_S)) // lasts_s) + 1
    keys, births = tuple(one.key for one in watched), tuple(one.birth_t_s for one in watched)
    known = np.full((len(watched), len(SERIES)), np.nan)
    for number in range(first, int(NOW_S // lasts_s)):
        seen = [one.block(number * lasts_s, lasts_s) for one in lived]
        floors, peaks = (np.stack([one[k] for one in seen]) for k in (0, 1))
        still = (floors == peaks) & (floors == known)
        known = floors.copy()
        if not coarse:
            floors[still] = peaks[still] = np.nan
        yield Row(coarse, number * lasts_s, keys, births, floors, peaks)


def measure(count: int, folder: Path, *, idle: bool) -> Month:
    """Write a month of so many processes, and read it back."""
    watched = [made_up.watched(pid) for pid in range(1, count + 1)]
    lived = lives(count, idle=idle)
    path, blocks, samples, taken_s = folder / "history.db", 0, 0, []
    with closing(HistoryStore(path, "b00t")) as store:
        for coarse in (True, False):
            before, polls = cost_meter.read(os.getpid()), round(row_s(coarse=coarse) / INTERVAL_S)
            for row in rows(watched, lived, coarse=coarse):
                found = int(np.isfinite(row.floors).sum())
                blocks += found
                samples += found * polls
                began = time.perf_counter()
                store.append(row)
                taken_s.append(time.perf_counter() - began)
            written = cost_meter.read(os.getpid()).written_bytes - before.written_bytes
    size = sum(one.stat().st_size for one in folder.iterdir())
    return Month(
        processes=count,
        idle=idle,
        file_bytes=size,
        blocks=blocks,
        samples=samples,
        written_bytes=written,
        written_minutes=FINE_KEPT_S / 60.0,
        append_ms=1000 * statistics.median(taken_s),
        **_restored(path, watched),
    )


def _restored(path: Path, watched: Sequence[Watched]) -> dict[str, Any]:
    """Return how long it takes to read the file as a start does, and what memory that takes."""
    before = cost_meter.read(os.getpid())
    judge = new_judge()
    with closing(HistoryStore(path, "b00t")) as store:
        memory = Memory(judge, store, HistoryWriter(store))
        for one in watched:
            judge.open(one.key, one.birth_t_s)
        memory.restore(watched, NOW_S)
    after = cost_meter.read(os.getpid())
    return {"restore_s": after.at_s - before.at_s, "memory_bytes": after.rss_bytes - before.rss_bytes}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--idle", action="store_true", help="nothing ever changes")
    parser.add_argument("--folder", help="on the disk that is to be measured; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        month = measure(options.processes, Path(folder), idle=options.idle)
    told = json.dumps({name: getattr(month, name) for name in Month.__slots__})
    sys.stdout.write(f"{told}\n" if options.json else "\n".join([*month.lines(), ""]))


if __name__ == "__main__":
    main()
