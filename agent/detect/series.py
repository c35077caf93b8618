"""One series that is judged: where it is kept, and what its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.lineage import Lent

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Uncollected:
    """Growth that a full collection took back: nobody had collected it yet, which is no leak."""

    since_t_s: float
    """When it began; what was before it is baseline as ever."""
    until_t_s: float
    """When it was collected: only what grows after it is a rise."""
    peak: float
    """The highest that was seen until then, which a rise must pass; minus infinity for nothing."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series that is judged: a slot of the rings and what its numbers mean."""

    slot: int
    birth_t_s: float
    """When the process started, or was first seen where that is not known; on the boot clock."""
    counts: bool = False
    """Threads, descriptors or children instead of bytes."""
    load_slot: int | None = None
    """The slot of the CPU seconds that the same process has used so far: the load of a block is what its
    floor adds to that of the block before. None where that is not known."""
    lent: Lent | None = None
    """What sound earlier runs of the service lend this one; None where they lend nothing."""
    limit: float | None = None
    """What it cannot pass; None where that is not known."""
    uncollected: Uncollected | None = None
    """Growth of it that was no leak; None where nothing has shown that."""


class Cohort:
    """Series that are judged together, and what is asked of all of them at every level, as arrays."""

    def __init__(self, series: Sequence[Series]) -> None:
        self.series = series

    def of(self, rows: NDArray[np.intp]) -> Cohort:
        """Return some of them."""
        some = Cohort([self.series[row] for row in rows.tolist()])
        some.slots, some.counts = self.slots[rows], self.counts[rows]
        some.births_t_s, some.collected_t_s = self.births_t_s[rows], self.collected_t_s[rows]
        return some

    @cached_property
    def slots(self) -> NDArray[np.intp]:
        """Where they are kept."""
        return np.array([one.slot for one in self.series], dtype=np.intp)

    @cached_property
    def counts(self) -> NDArray[np.bool_]:
        """Which are no bytes."""
        return np.array([one.counts for one in self.series], dtype=np.bool_)

    @cached_property
    def births_t_s(self) -> NDArray[np.float64]:
        """When each process started."""
        return np.array([one.birth_t_s for one in self.series], dtype=np.float64)

    @cached_property
    def collected_t_s(self) -> NDArray[np.float64]:
        """Until when growth was shown to be no leak; minus infinity where nothing has shown it."""
        known = [one.uncollected for one in self.series]
        return np.array([-np.inf if one is None else one.until_t_s for one in known])

    def among(self, slots: Collection[int]) -> list[int]:
        """Return which of these slots are theirs; it costs little where none are given."""
        if not slots:
            return []
        given = np.array(list(slots), dtype=np.intp)
        theirs = np.zeros(max(int(given.max()), int(self.slots.max(initial=0))) + 1, dtype=np.bool_)
        theirs[self.slots] = True
        found: list[int] = given[theirs[given]].tolist()
        return found
