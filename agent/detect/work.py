"""How much more a process had to do: while it grew than in the quiet before, and in the course of its life.

Work is CPU time. A rise while twice as much is done than before has no baseline: what was quiet was another
load. And within the first day of a life, load that rises and growth since the start are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.least_squares import orthonormal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.history.past import Past

    Floats = NDArray[np.float64]

DAY_S = 86400.0
LEAST_PACE = 0.001
"""Less than a thousandth of a core is no load: hardly more than what the growth itself costs, and an idle
process in which a leak begins has had a baseline. It is also far from a single tick of 10 ms, in which CPU
time is counted (proc_pid_stat(5), `utime`)."""
JUST_S = 1e-3
"""The newest block is over: it holds the moment just before its end."""
PARTS = 8
"""The course of the work is a parabola through the means of so many parts of the life."""


@dataclass(frozen=True, slots=True)
class Work:
    """How many times as much was done; 0 where that is not known. Shapes (series,)."""

    than_before: Floats
    """During the rise as in the quiet time before it, or as at the same time of the day before in that."""
    than_earlier: Floats
    """When most was done as when least was done earlier in the life, in its slow course."""


@dataclass(frozen=True, slots=True)
class Moments:
    """When some lives are judged from, were quiet from and began to rise, and when they were seen last.

    Shapes (series,), seconds on the boot clock.
    """

    since_t_s: Floats
    quiet_t_s: Floats
    onset_t_s: Floats
    end_t_s: float


def done(past: Past, moments: Moments) -> Work:
    """Return how much more was done, from the CPU seconds used by the beginning of each block.

    The first half of a rise has to bear it out as well as all of it: a leak may cost more and more time.
    """
    onset, life, end = moments.onset_t_s[:, None], moments.since_t_s[:, None], moments.end_t_s - JUST_S
    rise = onset + (end - onset) * np.array([0.0, 0.5, 1.0])
    parts = life + (end - life) * np.arange(PARTS + 1) / PARTS
    at_s, used_s = _used(past, np.concatenate([_like(moments), rise, parts], axis=1))
    than_before = np.minimum(*(_times(at_s, used_s, to) for to in (3, 4)))
    return Work(np.nan_to_num(than_before), np.nan_to_num(_course(at_s[:, 5:], used_s[:, 5:])))


def _like(moments: Moments) -> Floats:
    """Return from when until when it was quiet under what should be the same load; shape (series, 2)."""
    quiet_t_s, onset_t_s = moments.quiet_t_s, moments.onset_t_s
    day = onset_t_s - quiet_t_s >= DAY_S
    until_t_s = np.minimum(onset_t_s, moments.end_t_s - DAY_S)
    return np.stack(
        [np.where(day, onset_t_s - DAY_S, quiet_t_s), np.where(day, until_t_s, onset_t_s)], axis=1
    )


def _times(at_s: Floats, used_s: Floats, to: int) -> Floats:
    """Return how many times as much was used from the third moment to a later one as in the first two."""
    before_s = at_s[:, 1] - at_s[:, 0]
    share = np.divide(at_s[:, to] - at_s[:, 2], before_s, out=np.full(len(at_s), np.nan), where=before_s > 0)
    expected_s = (used_s[:, 1] - used_s[:, 0]) * share
    return _ratio(used_s[:, to] - used_s[:, 2], expected_s, at_s[:, to] - at_s[:, 2])


def _course(at_s: Floats, used_s: Floats) -> Floats:
    """Return the highest of a parabola through the work of each part, over the lowest before that."""
    apart_s = np.diff(at_s, axis=1)
    part_s = apart_s.mean(axis=1, keepdims=True)
    work_s = np.diff(used_s, axis=1) * part_s / np.where(apart_s > 0, apart_s, np.nan)
    course_s = (work_s[:, None, :] * _SMOOTH).sum(axis=2)
    highest = np.argmax(course_s, axis=1)[:, None]
    lowest_s = np.minimum.accumulate(course_s, axis=1)
    highest_s, lowest_s = (np.take_along_axis(one, highest, axis=1)[:, 0] for one in (course_s, lowest_s))
    return _ratio(highest_s, lowest_s, part_s[:, 0])


def _ratio(used_s: Floats, other_s: Floats, within_s: Floats) -> Floats:
    """Return how many times as much CPU time the first is, both used within so long; 0 for no load."""
    load = used_s >= LEAST_PACE * within_s
    return np.where(load, used_s / np.maximum(other_s, 1e-3 * LEAST_PACE * np.maximum(within_s, 1.0)), 0.0)


_PARABOLA = orthonormal(PARTS, 3)
_SMOOTH = (_PARABOLA[:, None, :] * _PARABOLA[None, :, :]).sum(axis=2)
"""Turns values of the parts into those of the parabola through them."""


def _used(past: Past, t_s: Floats) -> tuple[Floats, Floats]:
    """Return by series and moment when the shortest block kept that holds it began, and its floor.

    NaN where nothing was seen then.
    """
    blocks, levels = past.starts_s.shape[1], np.arange(len(past.starts_s))
    at = np.floor((t_s[:, :, None] - past.starts_s[:, 0]) / past.block_s).astype(np.intp)
    within = np.clip(at, 0, blocks - 1)
    floors = past.floors[np.arange(len(t_s))[:, None, None], levels, within]
    held = (at == within) & np.isfinite(floors)
    shortest, none = held.argmax(axis=2)[:, :, None], ~held.any(axis=2)
    start_s, floor = (
        np.take_along_axis(one, shortest, axis=2)[:, :, 0] for one in (past.starts_s[levels, within], floors)
    )
    start_s[none] = floor[none] = np.nan
    return start_s, floor
