"""The figures of everybody who is watched as one table, of which a poll rewrites the rows that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from agent.daemon.watched import Watched
    from agent.model import ProcessKey

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]


class Line(NamedTuple):
    """What the table holds of one process."""

    slots: Ints
    values: Floats
    """What was seen, one for each slot; NaN for nothing."""
    near: float
    """The heap from which on memory is near its limit; infinity for no limit."""


class Table:
    """One row a process, in the order in which they are given."""

    def __init__(self) -> None:
        self.watched: tuple[Watched, ...] = ()
        self.slots: Ints = np.zeros((0, 1), dtype=np.intp)
        """Shape (processes, series)."""
        self.values: Floats = np.zeros((0, 1))
        """Shape (processes, series); the heap is first."""
        self.version = 0
        """Another number whenever rows came or went."""
        self._near: Floats = np.zeros(0)
        self._row: dict[ProcessKey, int] = {}

    def fill(self, watched: Sequence[Watched], line: Callable[[Watched], Line]) -> None:
        """Begin anew with these processes."""
        lines = [line(one) for one in watched]
        self.watched = tuple(watched)
        self.slots = np.stack([one.slots for one in lines])
        self.values = np.stack([one.values for one in lines])
        self.version += 1
        self._near = np.array([one.near for one in lines])
        self._row = {one.key: row for row, one in enumerate(watched)}

    def clear(self) -> None:
        """Forget everybody."""
        self.watched = ()
        self.version += 1

    def change(self, keys: Iterable[ProcessKey], line: Callable[[Watched], Line]) -> list[Watched]:
        """Write the rows of some processes anew, and return these; who has none is left out."""
        rows = [self._row[key] for key in keys if key in self._row]
        for row in rows:
            _, self.values[row], self._near[row] = line(self.watched[row])
        return [self.watched[row] for row in rows]

    def near_limit(self) -> list[Watched]:
        """Return whose heap is as large as the share of its limit that people set."""
        return [self.watched[row] for row in np.flatnonzero(self.values[:, 0] >= self._near)]

    def owners(self, slots: Iterable[int]) -> list[Watched]:
        """Return the processes of some slots."""
        rows = np.flatnonzero(np.isin(self.slots, np.fromiter(slots, dtype=np.intp)).any(axis=1))
        return [self.watched[row] for row in rows]
