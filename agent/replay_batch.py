"""Recordings side by side: the same blocks of time of many of them go through the rings at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.detect.series import Cohort, Series
from agent.history.rings import LEVELS, Rings
from agent.median import median

if TYPE_CHECKING:
    from collections.abc import Iterator

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

LEAST_BASE_S = 1.0
"""The finest blocks are as long as the samples are apart, but never shorter than this."""
DIGITS = 2
"""Paces that are the same to so many digits are one: recorded minutes last 59.9 s or 60.2 s."""


class Line(Protocol):
    """One series of a recording."""

    @property
    def values(self) -> Floats:
        """A value for each sample; NaN: not seen."""

    @property
    def counts(self) -> bool:
        """Whether it is a number of things, not bytes."""

    @property
    def limit(self) -> float | None:
        """What it cannot pass; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Tape:
    """One recording on the scaled clock that begins with its first sample."""

    clock_s: Floats
    lines: Sequence[Line]
    load: Floats | None
    """CPU seconds used so far; None where they were not recorded."""

    @property
    def pace_s(self) -> float:
        """How far its samples are apart, to `DIGITS` digits."""
        apart_s = median(np.diff(self.clock_s)) if len(self.clock_s) > 1 else 0.0
        if apart_s <= LEAST_BASE_S:
            return LEAST_BASE_S
        return float(f"{apart_s:.{DIGITS}g}")


class Batch:
    """Tapes of one pace in one set of rings. Of each the first sample is left out.

    It may have been taken before the program was executed.
    """

    def __init__(self, tapes: Sequence[Tape], base_s: float, least_reach_s: float = 0.0) -> None:
        """Begin; the rings reach as far back as the longest tape, and at least as far as given."""
        longest_s = max(least_reach_s, *(float(tape.clock_s[-1]) for tape in tapes))
        levels = 1 + math.ceil(math.log2(max(1.0, longest_s / base_s)))
        slots = sum(len(tape.lines) + (tape.load is not None) for tape in tapes)
        self.rings = Rings(base_s, levels=max(1, min(LEVELS, levels)), capacity=max(1, slots))
        self._tapes = tapes
        self.series = [self._open(tape) for tape in tapes]
        """By tape, in the order of its lines."""

    def _open(self, tape: Tape) -> list[Series]:
        load = None if tape.load is None else self.rings.open()
        return [Series(self.rings.open(), 0.0, line.counts, load, limit=line.limit) for line in tape.lines]

    def blocks(self) -> Iterator[tuple[float, list[int], list[Turn]]]:
        """Yield when each block begins, the tapes seen in it, and which levels of whom are judged then.

        Only blocks in which a sample was taken: what a watching daemon would judge, when it would.
        """
        cut = [self._cut(tape, series) for tape, series in zip(self._tapes, self.series, strict=True)]
        slots = np.concatenate([one.slots for one in cut])
        table = _Table.of(cut)
        seen, cohort = [], Cohort([])
        for at, block in enumerate(table.ids.tolist()):
            t_s = block * self.rings.base_s
            completed = self.rings.add_block(t_s, slots, table.floors[at], table.peaks[at])
            turns = []
            if at == 0 or (table.seen[:, at] != table.seen[:, at - 1]).any():
                seen = np.flatnonzero(table.seen[:, at]).tolist()
                cohort = Cohort([one for k in seen for one in self.series[k]])
                turns = [self._late(k, table, at, completed) for k in table.back(at)]
            yield t_s, seen, [Turn(completed, cohort), *turns]

    def _late(self, tape: int, table: _Table, at: int, completed: Sequence[int]) -> Turn:
        """Return the levels of a tape that were completed while it was not seen: they are judged now."""
        block, last = int(table.ids[at]), table.last_block(tape, at)
        levels = range(self.rings.levels)
        missed = [level for level in levels if block >> level != last >> level and level not in completed]
        return Turn(missed, Cohort(self.series[tape]))

    def _cut(self, tape: Tape, series: Sequence[Series]) -> _Cut:
        rows = [line.values for line in tape.lines]
        slots = [one.slot for one in series]
        if tape.load is not None and series and series[0].load_slot is not None:
            rows, slots = [*rows, tape.load], [*slots, series[0].load_slot]
        values = np.stack(rows)
        values[:, 0] = np.nan
        ids = np.floor_divide(tape.clock_s, self.rings.base_s).astype(np.int64)
        places = np.array(slots, dtype=np.intp)
        if (ids[1:] > ids[:-1]).all():
            return _Cut(places, ids, values, values)
        blocks, first = np.unique(ids, return_index=True)
        floors, peaks = (of.reduceat(values, first, axis=1) for of in (np.fmin, np.fmax))
        return _Cut(places, blocks, floors, peaks)


class Turn(NamedTuple):
    """What is judged of whom."""

    levels: Sequence[int]
    cohort: Cohort


@dataclass(frozen=True, slots=True)
class _Cut:
    """One tape in blocks."""

    slots: Ints
    blocks: NDArray[np.int64]
    floors: Floats
    peaks: Floats


@dataclass(frozen=True, slots=True)
class _Table:
    """All tapes on one grid of blocks; NaN where nothing was seen."""

    ids: NDArray[np.int64]
    floors: Floats
    """Shape (blocks, series), as `peaks`: a block is what is read at once."""
    peaks: Floats
    seen: NDArray[np.bool_]
    """Shape (tapes, blocks)."""

    @classmethod
    def of(cls, cut: Sequence[_Cut]) -> _Table:
        ids = _grid([one.blocks for one in cut])
        places = [
            slice(None) if len(one.blocks) == len(ids) else np.searchsorted(ids, one.blocks) for one in cut
        ]
        seen = np.zeros((len(cut), len(ids)), dtype=np.bool_)
        for k, at in enumerate(places):
            seen[k, at] = True
        floors = _by_block([one.floors for one in cut], places, len(ids))
        if all(one.peaks is one.floors for one in cut):
            return cls(ids, floors, floors, seen)
        return cls(ids, floors, _by_block([one.peaks for one in cut], places, len(ids)), seen)

    def back(self, at: int) -> list[int]:
        """Return the tapes that are seen again in a block, after some in which only others were."""
        before = self.seen[:, max(0, at - 1)]
        return [k for k in np.flatnonzero(self.seen[:, at] & ~before).tolist() if self.seen[k, :at].any()]

    def last_block(self, tape: int, at: int) -> int:
        """Return the block in which a tape was seen last before this one."""
        return int(self.ids[np.flatnonzero(self.seen[tape, :at])[-1]])


def _grid(blocks: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return every block in which any tape was seen; tapes of one machine mostly share them all."""
    some = {one.tobytes(): one for one in blocks}
    return np.unique(np.concatenate(list(some.values())))


def _by_block(rows: Sequence[Floats], places: Sequence[Ints | slice], blocks: int) -> Floats:
    """Return the rows of all tapes as columns, each value in its place; NaN where there is none."""
    table = np.full((blocks, sum(len(one) for one in rows)), np.nan)
    column = 0
    for one, at in zip(rows, places, strict=True):
        table[at, column : column + len(one)] = one.T
        column += len(one)
    return table
