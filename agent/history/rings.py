"""Rings: the floor (minimum) and peak (maximum) of many series in blocks of doubling length.

Level k keeps the last `BLOCKS` blocks of `base_s * 2**k` seconds each, so the newest past is fine, the oldest
coarse, and neither memory nor work grows with time. All series share one clock and one block grid, so one
poll of thousands of processes is a handful of vector operations. A collector lifts a block's samples, a leak
its floor.

Most series of most processes never change (threads, descriptors, the memory of what idles). Such a series
rests: it is one value and two block numbers, and gets a column in the blocks when it first moves, filled with
what it was.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agent.history.level import Level, wider
from agent.history.past import Past, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Ints = NDArray[np.intp]
    Bools = NDArray[np.bool_]

BLOCKS = 128
"""Blocks kept at each level, the one that is not over included."""
LEVELS = 15
"""With 10 s at level 0 the coarsest blocks are 45 h long and reach 242 days back."""
STILL_BLOCKS = 8
"""A series that has the same value after so many blocks in which nobody looked has had it all along: a late
poll skips a block."""
RESTS = -1
"""The column of a series that rests."""
NEVER = -2
"""The block in which a series was seen that never was; no block follows it."""


class Rings:
    """Block minima and maxima of a growing set of series.

    >>> rings = Rings(base_s=10.0)
    >>> slot = rings.open()
    >>> for i in range(5):
    ...     _ = rings.add(10.0 * i, np.array([slot]), np.array([100.0 + i]))
    >>> [float(v) for v in rings.window(0).floors[slot][-4:]]
    [100.0, 101.0, 102.0, 103.0]
    """

    def __init__(
        self, base_s: float, *, levels: int = LEVELS, blocks: int = BLOCKS, capacity: int = 16
    ) -> None:
        if base_s <= 0:
            raise ValueError("base_s must be above zero")
        self.base_s = base_s
        self.levels = levels
        self.blocks = blocks
        self._block = -1
        """The finest block that is not over; those of the coarser levels follow from it."""
        self._rest = np.full(capacity, np.nan, dtype=np.float32)
        self._first = np.full(capacity, NEVER, dtype=np.int64)
        self._last = np.full(capacity, NEVER, dtype=np.int64)
        """The finest blocks in which a resting series was first and last seen."""
        self._column = np.full(capacity, RESTS, dtype=np.intp)
        self._free = list(range(capacity - 1, -1, -1))
        self._levels = [Level(blocks - 1, capacity) for _ in range(levels)]
        self._free_columns = list(range(capacity - 1, -1, -1))
        self.woken = 0
        """How many series have begun to move so far."""

    def block_s(self, level: int) -> float:
        """Return the length of a block of a level in seconds."""
        return float(self.base_s * 2**level)

    def level_of(self, least_s: float) -> int:
        """Return the finest level whose blocks are at least so long."""
        return max(0, math.ceil(math.log2(least_s / self.base_s)))

    @property
    def capacity(self) -> int:
        """How many series fit before the arrays grow."""
        return len(self._rest)

    @property
    def now_t_s(self) -> float:
        """When the finest block began that is not over."""
        return self._block * self.base_s

    def newest(self, level: int) -> int:
        """Return the block of a level that is not over, counted from the start of the clock."""
        return self._block >> level

    def open(self) -> int:
        """Return the slot of a new, empty series."""
        if not self._free:
            self._grow()
        return self._free.pop()

    def close(self, slot: int) -> None:
        """Forget a series; its slot is given out again."""
        column = int(self._column[slot])
        if column != RESTS:
            for level in self._levels:
                level.forget(column)
            self._free_columns.append(column)
        self._column[slot], self._rest[slot] = RESTS, np.nan
        self._first[slot] = self._last[slot] = NEVER
        self._free.append(slot)

    def moving(self, slots: Ints) -> Bools:
        """Return which series have had more than one value, or were not seen all along."""
        return np.asarray(self._column[slots] != RESTS)

    def add(self, t_s: float, slots: Ints, values: Floats) -> list[int]:
        """Add one poll (NaN: not seen) and return the levels at which it completed a block, finest first.

        A time before the newest block (a clock that stepped back) is counted into the newest block.
        """
        return self.add_block(t_s, slots, values, values)

    def add_block(
        self, t_s: float, slots: Ints, floors: Floats, peaks: Floats, lasted_s: float = 0.0, level: int = 0
    ) -> list[int]:
        """Add a block (its floor and peak) as if its samples had been polled; return as `add` does.

        A series that had one value all through it has had that value for as long as the block lasted. A block
        of a coarser level leaves the finer ones as they are: empty, or this is no way to add it.
        """
        completed = self._advance(max(self._block, int(t_s // self.base_s)), level)
        low, high = floors.astype(np.float32), peaks.astype(np.float32)
        columns = self._column[slots]
        moves = columns != RESTS
        still = ~moves
        if still.any():
            woken = self._rested(slots[still], low[still], high[still], lasted_s, level)
            if len(woken):
                columns = self._column[slots]
                moves = columns != RESTS
        if moves.all():
            self._levels[level].merge(columns, low, high)
        elif moves.any():
            self._levels[level].merge(columns[moves], low[moves], high[moves])
        return completed

    def window(self, level: int, slots: Ints | None = None) -> Window:
        """Return the complete blocks of a level, of all slots or of some."""
        pick = np.arange(self.capacity) if slots is None else slots
        floors, peaks = self.floors(level, pick), self.peaks(level, pick)
        return Window(level, self.block_s(level), self.end_t_s(level), floors, peaks)

    def end_t_s(self, level: int) -> float:
        """Return when the newest complete block of a level ended."""
        return self.newest(level) * self.block_s(level)

    def latest(self, level: int, slots: Ints) -> tuple[Floats, Floats]:
        """Return floors and peaks of the newest complete block of a level; shape (slots,)."""
        return self.floors(level, slots, 1)[:, 0], self.peaks(level, slots, 1)[:, 0]

    def range(self, level: int, slots: Ints, newest: int) -> tuple[Floats, Floats]:
        """Return the lowest floor of a level and the highest of its newest blocks; shape (slots,).

        It costs a fraction of a window: of a series that rests both are what it is.
        """
        columns = self._column[slots]
        moves = columns != RESTS
        lowest, highest = (self._rest[slots].astype(np.float64) for _ in range(2))
        if moves.any():
            lowest[moves], highest[moves] = self._levels[level].range(
                self._ids(level)[-newest:], columns[moves]
            )
        return lowest, highest

    def floors(self, level: int, slots: Ints, newest: int = 0) -> Floats:
        """Return the floors of the newest complete blocks of a level, oldest first; shape (slots, blocks).

        0: of all blocks.
        """
        return self._read(level, slots, newest, self._levels[level].floors)

    def peaks(self, level: int, slots: Ints, newest: int = 0) -> Floats:
        """Return their peaks."""
        return self._read(level, slots, newest, self._levels[level].peaks)

    def hold(self, slots: Ints, until_t_s: float) -> None:
        """Take it that those of these series that rest have had their value until then."""
        rests = slots[(self._column[slots] == RESTS) & (self._first[slots] != NEVER)]
        last = int(max(until_t_s, 0.0) // self.base_s) - 1
        self._last[rests] = np.maximum(self._last[rests], last)

    def at_base(self, base_s: float) -> Rings:
        """Return the same series, in the same slots, in blocks of another length; unfinished ones go."""
        other = Rings(base_s, levels=self.levels, blocks=self.blocks, capacity=self.capacity)
        other._free = list(self._free)
        slots = np.arange(self.capacity)
        for level in range(self.levels - 1, -1, -1):
            window = self.window(level)
            until_t_s = self._reaches_back_to(level - 1) if level else np.inf
            for at in np.flatnonzero(np.isfinite(window.floors).any(axis=0)):
                start_t_s = window.end_t_s - (window.floors.shape[1] - at) * window.block_s
                if start_t_s < until_t_s:
                    floors, peaks = window.floors[:, at], window.peaks[:, at]
                    other.add_block(start_t_s, slots, floors, peaks, window.block_s)
        return other

    def past(self, slots: Ints, finest: int = 0, coarsest: int | None = None) -> Past:
        """Return the complete blocks of some series at a level and every coarser one, up to a last one."""
        levels = range(finest, self.levels if coarsest is None else coarsest + 1)
        ids = np.stack([self._ids(level) for level in levels])
        block_s = self.base_s * 2.0 ** np.array(levels)[:, None]
        floors, peaks = (np.empty((len(slots), len(levels), self.blocks - 1)) for _ in range(2))
        for at, level in enumerate(levels):
            floors[:, at], peaks[:, at] = self.floors(level, slots), self.peaks(level, slots)
        return Past(ids * block_s, (ids + 1) * block_s, floors, peaks)

    def _ids(self, level: int) -> Ints:
        """Return the complete blocks of a level, oldest first."""
        newest = self.newest(level)
        return np.arange(newest - self.blocks + 1, newest, dtype=np.intp)

    def _read(self, level: int, slots: Ints, newest: int, read: Callable[[Ints, Ints], Floats]) -> Floats:
        """Return what is read of the newest blocks, 0 for all of them; shape (slots, blocks)."""
        ids, columns = self._ids(level)[-newest:], self._column[slots]
        moves = columns != RESTS
        if moves.all():
            return read(ids, columns)
        first, last = self._first[slots] >> level, self._last[slots] >> level
        seen = (ids >= first[:, None]) & (ids <= last[:, None]) & ~moves[:, None]
        values = np.where(seen, self._rest[slots][:, None].astype(np.float64), np.nan)
        values[moves] = read(ids, columns[moves])
        return values

    def _reaches_back_to(self, level: int) -> float:
        """Return when the oldest block of a level began in which anything was seen; infinity for none."""
        window = self.window(level)
        seen = np.flatnonzero(np.isfinite(window.floors).any(axis=0))
        blocks = window.floors.shape[1]
        return window.end_t_s - (blocks - int(seen[0])) * window.block_s if len(seen) else np.inf

    def _advance(self, block: int, finest: int) -> list[int]:
        """Begin a block; return the levels at which one is over: each is counted into the next level's."""
        before, self._block = self._block, block
        if before < 0:
            return []
        completed = []
        for number, level in enumerate(self._levels[finest:], finest):
            over, following = before >> number, block >> number
            if over == following:
                break
            if number + 1 < self.levels:
                self._levels[number + 1].merge(slice(None), level.floor, level.peak)
            level.complete(over, following)
            completed.append(number)
        return completed

    def _rested(self, slots: Ints, floors: Singles, peaks: Singles, lasted_s: float, level: int) -> Ints:
        """Take over what was seen of resting series; return those that do not rest any more."""
        seen = floors == floors  # noqa: PLR0124 - NaN is not itself, and isfinite costs a copy
        fresh = seen & (self._first[slots] == NEVER)
        if fresh.any():
            self._rest[slots[fresh]] = floors[fresh]
            self._first[slots[fresh]] = self._last[slots[fresh]] = self._block
        same = (
            (floors == self._rest[slots])
            & (floors == peaks)
            & (self._last[slots] >= self._block - 1 - STILL_BLOCKS)
        )
        until = self._block + max(0, int(lasted_s // self.base_s) - 1)
        self._last[slots[same]] = np.maximum(self._last[slots[same]], until)
        woken: Ints = slots[seen & ~same]
        if len(woken):
            self._wake(woken, level)
        return woken

    def _wake(self, slots: Ints, finest: int) -> None:
        """Give series a column each, filled with the value that they have had."""
        while len(self._free_columns) < len(slots):
            self._widen()
        self.woken += len(slots)
        columns = np.array([self._free_columns.pop() for _ in range(len(slots))], dtype=np.intp)
        self._column[slots] = columns
        first, last, values = self._first[slots], self._last[slots], self._rest[slots]
        for number, level in enumerate(self._levels[finest:], finest):
            newest, finer = self.newest(number), max(finest, number - 1)
            oldest = np.maximum(first >> number, newest - self.blocks + 1)
            level.fill(columns, oldest, np.minimum(last >> number, newest - 1), values)
            # Of its own block that is not over, a level has seen what the finer level has completed.
            begun = newest << (number - finer)
            over = self.newest(finer) - (1 if number > finest else 0)
            seen = np.maximum(first >> finer, begun) <= np.minimum(last >> finer, over)
            level.floor[columns[seen]] = level.peak[columns[seen]] = values[seen]

    def _widen(self) -> None:
        old = len(self._levels[0].floor)
        more = max(16, old // 2)
        for level in self._levels:
            level.grow(more)
        self._free_columns.extend(range(old + more - 1, old - 1, -1))

    def _grow(self) -> None:
        old = self.capacity
        self._rest = wider(self._rest, old)
        self._first, self._last, self._column = (
            np.concatenate([one, np.full(old, empty, dtype=one.dtype)])
            for one, empty in ((self._first, NEVER), (self._last, NEVER), (self._column, RESTS))
        )
        self._free.extend(range(2 * old - 1, old - 1, -1))
