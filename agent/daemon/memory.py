"""Carries history over a restart of the agent: blocks go to the store, and come back for who still runs."""

from __future__ import annotations

import logging
import math
import sqlite3
from typing import TYPE_CHECKING

import numpy as np

from agent.daemon.judge import SERIES
from agent.history.store import Row
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.daemon.judge import Judge
    from agent.daemon.watched import Watched
    from agent.history.store import HistoryStore, HistoryWriter
    from agent.model import ProcessKey

logger = logging.getLogger(__name__)

FINE_S = 60.0
COARSE_S = 2400.0
RECENT_S = 7200.0
"""Limits that look at minutes need fine blocks without holes; what is older is only seen in coarse ones."""


class Memory:
    """Writes the newest complete blocks of two levels as they complete, and restores them at the start."""

    def __init__(self, judge: Judge, store: HistoryStore, writer: HistoryWriter[Row]) -> None:
        self._judge = judge
        self._store = store
        self._writer = writer
        self._births = store.births()
        self._written: set[ProcessKey] = set()
        """Of whom a row holds what rests, too."""

    def birth(self, watched: Watched) -> float:
        """Return since when the process was watched, by an earlier run of the agent if there was one."""
        return min(self._births.get(watched.key, math.inf), watched.birth_t_s)

    def restore(self, watched: Sequence[Watched], t_s: float) -> int:
        """Fill the rings with what is stored of these processes; return how many were known."""
        known = [w for w in watched if w.key in self._births]
        if not known:
            return 0
        try:
            self._fill(known, t_s)
        except sqlite3.Error as error:
            log_event(logger, "history", level=logging.ERROR, why=f"cannot be read to its end: {error}")
        return len(known)

    def _fill(self, known: Sequence[Watched], t_s: float) -> None:
        """Add every stored block; a recent one stands for each of the finer blocks that it covers.

        What a row leaves out of a process rested from the row before to this one.
        """
        rings = self._judge.rings
        slots = np.stack([self._judge.tracked(w.key).slots for w in known])
        until_t_s = 0.0
        for coarse, began_s, floors, peaks in self._store.rows([w.key for w in known], len(SERIES)):
            rings.hold(slots.ravel(), until_t_s)
            stored = rings.level_of(COARSE_S if coarse else FINE_S)
            until_t_s = min(began_s + rings.block_s(stored), t_s)
            level = 0 if not coarse and t_s - began_s <= RECENT_S else stored
            block_s = rings.block_s(level)
            seen = np.isfinite(floors).any(axis=1)
            at = (slots[seen].ravel(), floors[seen].ravel(), peaks[seen].ravel(), block_s, level)
            for at_s in np.arange(began_s, until_t_s, block_s).tolist() if seen.any() else ():
                rings.add_block(at_s, *at)
        rings.hold(slots.ravel(), until_t_s)

    def keep(self, completed: Sequence[int], watched: Sequence[Watched]) -> None:
        """Hand the blocks that have just been completed to the writer."""
        for coarse, least_s in ((False, FINE_S), (True, COARSE_S)):
            level = self._judge.rings.level_of(least_s)
            if level in completed and watched:
                self._writer.put(self._row(level, watched, coarse=coarse))

    def _row(self, level: int, watched: Sequence[Watched], *, coarse: bool) -> Row:
        """Return the newest block of a level; of series that rest only in coarse rows, and in the first."""
        rings = self._judge.rings
        slots = np.stack([self._judge.tracked(w.key).slots for w in watched])
        floors, peaks = (one.reshape(slots.shape) for one in rings.latest(level, slots.ravel()))
        if not coarse:
            known = np.array([w.key in self._written for w in watched])
            floors = np.where(known[:, None] & ~rings.moving(slots), np.nan, floors)
        self._written = {w.key for w in watched}
        return Row(
            coarse,
            (rings.now_t_s // rings.block_s(level) - 1) * rings.block_s(level),
            tuple(w.key for w in watched),
            tuple(self._judge.tracked(w.key).series["heap"].birth_t_s for w in watched),
            floors,
            peaks,
        )
