"""Whose turn it is to be looked at: a rise again when it may be an eighth longer, a suspect sooner.

What does not rise is looked at as seldom as a leak is sure to be seen in time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.series import Cohort
    from agent.history.rings import Rings

    Ints = NDArray[np.intp]
    Blocks = NDArray[np.int64]
    Bools = NDArray[np.bool_]

LEVELS_IN_TURN = 4
"""Of what rests, so many levels are looked at one after the other: each sees nearly what the next does."""
SHARE = 8
"""What is no leak yet can be one when it has lasted an eighth longer, hardly sooner."""
MOST_FINE = 16
"""No rise waits for more blocks than this ..."""
FINE_S = rules.MIN_RISE_S / SHARE
"""... that are so short: in a long one, a rise of few blocks may be all that a collector lets be seen, ..."""
MOST = 4
"""... so there none waits for more than this."""
SUSPECT_SHARE = 32
"""A suspect is looked at when its rise has lasted by this part longer, ..."""
MOST_SUSPECT = 4
"""... and waits for no more blocks than these."""


class Turns:
    """By level and slot: the first block (of those not over) at which the series is looked at again."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self._resting = 2 ** max(0, round(math.log2(rules.MIN_RISE_S / rings.base_s)))
        """Finest blocks between two looks: a power of two, so that levels keep their distance."""
        self._from: dict[int, Blocks] = {}

    def due(self, level: int, cohort: Cohort) -> Cohort:
        """Return those whose turn it is."""
        due = self._of(level)[cohort.slots] <= self._rings.newest(level)
        return cohort if due.all() else cohort.of(np.flatnonzero(due))

    def rest(self, level: int, slots: Ints) -> None:
        """Let series wait that do not rise, for about as long as the shortest rise of a leak lasts.

        A rise that one level just missed is seen by the next ones sooner, as they take turns.
        """
        blocks = max(1, self._resting >> level)
        newest, phase = self._rings.newest(level), level % LEVELS_IN_TURN * blocks // LEVELS_IN_TURN
        self._of(level)[slots] = newest + blocks - (newest - phase) % blocks

    def wait(self, level: int, slots: Ints, blocks: Ints) -> None:
        """Let series wait whose rise has lasted so many blocks and is no leak."""
        block_s = self._rings.block_s(level)
        eighth = np.maximum(blocks, rules.MIN_RISE_S / block_s) / SHARE
        most = MOST_FINE if block_s <= FINE_S else MOST
        self._of(level)[slots] = self._rings.newest(level) + np.clip(np.rint(eighth), 1, most)

    def soon(self, level: int, slots: Ints, blocks: Ints) -> None:
        """Look at these suspects soon, whose rises have lasted so many blocks."""
        part = np.clip(blocks // SUSPECT_SHARE, 1, MOST_SUSPECT)
        self._of(level)[slots] = self._rings.newest(level) + part

    def looked(self, level: int, slots: Ints) -> Bools:
        """Return which of these series were looked at before."""
        return np.asarray(self._of(level)[slots] > 0)

    def forget(self, slot: int) -> None:
        """Let go of a slot that is closed."""
        for blocks in self._from.values():
            if slot < len(blocks):
                blocks[slot] = 0

    def clear(self) -> None:
        """Look at everybody anew."""
        self._from.clear()

    def _of(self, level: int) -> Blocks:
        known, capacity = self._from.get(level), self._rings.capacity
        if known is None or len(known) < capacity:
            grown = np.zeros(capacity, dtype=np.int64)
            if known is not None:
                grown[: len(known)] = known
            self._from[level] = known = grown
        return known
