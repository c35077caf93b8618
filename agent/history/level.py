"""One level of the rings: the newest blocks of the series that move, as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]
    Ints = NDArray[np.intp]


class Level:
    """The blocks of the moving series at one level, as columns; their memory is taken when it is needed."""

    def __init__(self, kept: int, columns: int) -> None:
        self._kept = kept
        self._floors: Singles | None = None
        self._peaks: Singles | None = None
        self.floor = np.full(columns, np.nan, dtype=np.float32)
        """The block that is not over."""
        self.peak = self.floor.copy()

    def merge(self, columns: Ints | slice, floors: Singles, peaks: Singles) -> None:
        """Count values into the block that is not over."""
        self.floor[columns] = np.fmin(self.floor[columns], floors)
        self.peak[columns] = np.fmax(self.peak[columns], peaks)

    def complete(self, block: int, following: int) -> None:
        """Keep the block that is over now; nothing was seen of those up to the one that begins."""
        if self._floors is not None or np.isfinite(self.floor).any():
            floors, peaks = self._blocks()
            stale = np.arange(max(block + 1, following - self._kept), following) % self._kept
            floors[stale] = peaks[stale] = np.nan
            if following - block <= self._kept:
                floors[block % self._kept], peaks[block % self._kept] = self.floor, self.peak
        self.floor[:] = self.peak[:] = np.nan

    def fill(self, columns: Ints, first: Ints, last: Ints, values: Singles) -> None:
        """Write that each series had one value in all blocks from its first to its last."""
        some = first <= last
        if not some.any():
            return
        columns, first, last, values = columns[some], first[some], last[some], values[some]
        floors, peaks = self._blocks()
        ids = np.arange(first.min(), last.max() + 1)
        inside = (ids[:, None] >= first) & (ids[:, None] <= last)
        where = np.ix_(ids % self._kept, columns)
        floors[where] = np.where(inside, values, floors[where])
        peaks[where] = np.where(inside, values, peaks[where])

    def forget(self, column: int) -> None:
        """Clear a column."""
        self.floor[column] = self.peak[column] = np.nan
        if self._floors is not None and self._peaks is not None:
            self._floors[:, column] = self._peaks[:, column] = np.nan

    def grow(self, more: int) -> None:
        """Make room for so many more columns."""
        self.floor, self.peak = (wider(one, more) for one in (self.floor, self.peak))
        if self._floors is not None and self._peaks is not None:
            self._floors, self._peaks = (wider(one, more) for one in (self._floors, self._peaks))

    def floors(self, ids: Ints, columns: Ints) -> Floats:
        """Return the floors of these blocks and columns, shape (columns, blocks)."""
        return self._read(self._floors, ids, columns)

    def peaks(self, ids: Ints, columns: Ints) -> Floats:
        """Return their peaks."""
        return self._read(self._peaks, ids, columns)

    def range(self, newest: Ints, columns: Ints) -> tuple[Floats, Floats]:
        """Return the lowest floor of all blocks and the highest of the newest ones; shape (columns,)."""
        if self._floors is None:
            nothing = np.full(len(columns), np.nan)
            return nothing, nothing
        lowest = np.fmin.reduce(self._floors, axis=0)
        highest = np.fmax.reduce(self._floors[newest % self._kept], axis=0)
        return lowest[columns].astype(np.float64), highest[columns].astype(np.float64)

    def _read(self, blocks: Singles | None, ids: Ints, columns: Ints) -> Floats:
        if blocks is None:
            return np.full((len(columns), len(ids)), np.nan)
        return _picked(blocks, ids % self._kept, columns)

    def _blocks(self) -> tuple[Singles, Singles]:
        if self._floors is None or self._peaks is None:
            self._floors = np.full((self._kept, len(self.floor)), np.nan, dtype=np.float32)
            self._peaks = self._floors.copy()
        return self._floors, self._peaks


def wider(values: Singles, more: int) -> Singles:
    """Return the values with so many more columns of nothing."""
    pad = [(0, 0)] * (values.ndim - 1) + [(0, more)]
    return np.pad(values, pad, constant_values=np.nan)


def _picked(blocks: Singles, rows: Ints, columns: Ints) -> Floats:
    """Return some columns of some rows, turned round; the way that is shorter for so many columns."""
    if 4 * len(columns) < blocks.shape[1]:
        return blocks.take(columns, axis=1).take(rows, axis=0).T.astype(np.float64, order="C")
    return np.ascontiguousarray(blocks[rows][:, columns].T, dtype=np.float64)
