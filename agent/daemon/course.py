"""What the history tells of a change: the course that its alert draws, and what the heap held before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.model import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.daemon.judge import Judge
    from agent.history.rings import Rings
    from agent.incidents import Change
    from agent.model import Instant

Course = tuple[tuple[float, float], ...]

MAX_BLOCKS = 96
"""Blocks of one length; the finer ones that follow them are fewer than the levels."""
BEFORE_SHARE = 0.5
"""So much of the growth's length is shown before it: a quiet time makes the onset plain."""
LEAST_SHOWN_S = 900.0

_SERIES_OF = {
    Subject.HEAP: "heap",
    Subject.HEAP_PERCENT: "heap",
    Subject.SHARED: "shared",
    Subject.THREADS: "threads",
    Subject.FDS: "fds",
    Subject.CHILDREN: "children",
}


class History(NamedTuple):
    """What is known of the time before a change."""

    course: Course = ()
    """The growth to draw."""
    heap_before: float | None = None
    """What the runtime's own heap held when the growth began; None where it does not tell."""


def history_of_change(judge: Judge, change: Change) -> History:
    """Return what the history tells of the process that a change is told by."""
    return History(course_of_change(judge, change), heap_before(judge, change))


def heap_before(judge: Judge, change: Change) -> float | None:
    """Return the lowest that the runtime's own heap was since its process began to grow."""
    key, onset_t_s = change.lead.key, change.lead.verdict.onset_t_s
    if change.incident.subject is not Subject.HEAP or onset_t_s is None or not judge.knows(key):
        return None
    past = judge.rings.past(np.array([judge.tracked(key).series["runtime"].slot]))
    since = past.floors[0][(past.starts_s >= onset_t_s) & np.isfinite(past.floors[0])]
    return float(since.min()) if len(since) else None


def course_of_change(judge: Judge, change: Change) -> Course:
    """Return the course of the process that a change is told by; empty where its history is gone."""
    name, key = _SERIES_OF.get(change.incident.subject), change.lead.key
    if name is None or not judge.knows(key):
        return ()
    grew_s = max(0.0, change.at.wall_s - change.incident.onset_wall_s)
    return course_of(judge.rings, judge.tracked(key).series[name].slot, grew_s, change.at)


def course_of(rings: Rings, slot: int, grew_s: float, now: Instant) -> Course:
    """Return wall times and floors of one series, oldest first: the last `grew_s` seconds and some before.

    Blocks of one length, and after the last complete one of these ever finer ones, so that the newest
    minutes are there too; at most `MAX_BLOCKS` and one for each level of the rings.
    """
    shown_s = max(LEAST_SHOWN_S, grew_s * (1.0 + BEFORE_SHARE))
    coarsest = min(rings.levels - 1, _level(rings, shown_s))
    return tuple(
        (round(now.wall_at(t_s)), round(floor))
        for t_s, floor in _floors(rings, slot, coarsest, now.t_s - shown_s)
    )


def _level(rings: Rings, shown_s: float) -> int:
    blocks = shown_s / (MAX_BLOCKS * rings.base_s)
    return max(0, int(np.ceil(np.log2(max(blocks, 1.0)))))


def _floors(rings: Rings, slot: int, coarsest: int, from_t_s: float) -> Iterator[tuple[float, float]]:
    """Yield the middle and the floor of each block in which anything was seen."""
    for level in range(coarsest, -1, -1):
        window = rings.window(level, np.array([slot]))
        floors = window.floors[0]
        starts_t_s = window.end_t_s - np.arange(len(floors), 0, -1) * window.block_s
        for at in np.flatnonzero((starts_t_s >= from_t_s) & np.isfinite(floors)):
            yield float(starts_t_s[at] + window.block_s / 2), float(floors[at])
        from_t_s = max(from_t_s, window.end_t_s)
