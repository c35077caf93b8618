"""What the rings say about many series at once: judged blocks, how high they have been, how long quiet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules
from agent.detect.shape import deepest_fall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.series import Cohort
    from agent.history.past import Past
    from agent.history.rings import Rings

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

TOLERANCE_S = 1e-6
"""Block borders are sums of binary fractions; they may miss each other by so much."""


def starts_s(end_t_s: float, block_s: float, blocks: int) -> Floats:
    """Return when each of some blocks began, oldest first, on the boot clock."""
    starts: Floats = end_t_s - np.arange(blocks, 0, -1, dtype=np.float64) * block_s
    return starts


def judged_from_s(birth_t_s: Floats, t_s: float) -> Floats:
    """Return since when each life is judged: its first tenth is start-up, at most an hour of it."""
    age_s = np.maximum(0.0, t_s - birth_t_s)
    return birth_t_s + np.minimum(rules.STARTUP_SHARE * age_s, rules.MAX_STARTUP_S)


def judged_floors(rings: Rings, level: int, cohort: Cohort, t_s: float) -> Floats:
    """Return the floors of a level with the blocks of each life's start-up taken out (NaN).

    So are those until which growth was shown to be no leak.
    """
    rows = rings.floors(level, cohort.slots)
    from_s = np.maximum(judged_from_s(cohort.births_t_s, t_s), cohort.collected_t_s)
    begun_s = starts_s(rings.end_t_s(level), rings.block_s(level), rows.shape[1])
    return np.where(begun_s >= from_s[:, None], rows, np.nan)


def without(past: Past, since_t_s: Floats, until_t_s: Floats) -> Past:
    """Return the past as if nothing had been seen between two moments."""
    begun = past.starts_s[None] < until_t_s[:, None, None]
    within = begun & (past.ends_s[None] > since_t_s[:, None, None])
    floors, peaks = (np.where(within, np.nan, rows) for rows in (past.floors, past.peaks))
    return replace(past, floors=floors, peaks=peaks)


def highest_sample(past: Past, since_t_s: Floats, until_t_s: Floats) -> Floats:
    """Return the highest sample of the blocks between two moments; minus infinity if there are none."""
    peaks = np.where(_inside(past, since_t_s, until_t_s), past.peaks, np.nan)
    return np.asarray(np.fmax.reduce(peaks, axis=(1, 2), initial=-np.inf))


def floors_between(past: Past, since_t_s: Floats, until_t_s: Floats) -> Floats:
    """Return the floors of the blocks between two moments, NaN for all others; (series, levels, blocks)."""
    return np.where(_inside(past, since_t_s, until_t_s), past.floors, np.nan)


def deepest_fall_at_any_level(rows: Floats) -> Floats:
    """Return by how much each series' floors, shape (series, levels, blocks), fell below an earlier one."""
    return np.asarray(deepest_fall(rows).max(axis=1))


def _inside(past: Past, since_t_s: Floats, until_t_s: Floats) -> Bools:
    """Return which blocks lie between two moments, shape (series, levels, blocks)."""
    begun = past.starts_s[None] >= since_t_s[:, None, None]
    over = past.ends_s[None] <= until_t_s[:, None, None] + TOLERANCE_S
    return np.asarray(begun & over)


def quiet_s(rows: Floats, block_s: Floats, *, base: Floats, rate_per_s: Floats, growth: Floats) -> Floats:
    """Return how long each series was quiet before its rise began, in seconds.

    `rows` are its floors before the rise, shape (series, levels, blocks), in blocks of a length for each
    level. Looked for at every level, of which the coarser reach further back; the longest counts.
    """
    low, high = base - rules.QUIET_BELOW * growth, base + rules.QUIET_ABOVE * growth
    outside = (rows < low[:, None, None]) | (rows > high[:, None, None])
    seen = np.isfinite(rows)
    place = np.arange(rows.shape[2], dtype=np.int16)
    from_place = np.where(outside, place + 1, 0).max(axis=2)
    quiet = seen & (place >= from_place[:, :, None])
    count = quiet.sum(axis=2)
    stretch = np.where(count >= rules.MIN_QUIET_BLOCKS, count * block_s, 0.0)
    slope = rules.QUIET_SLOPE * rate_per_s[:, None] * block_s
    return _longest_even(stretch, slope * count, rows, quiet)


def _longest_even(stretch: Floats, most: Floats, rows: Floats, quiet: Bools) -> Floats:
    """Return the longest stretch of each series in which the quiet floors rise by no more than allowed.

    `stretch` and `most` by series and level; 0 for no such stretch.
    """
    left = stretch.copy()
    found = np.zeros(len(left))
    series = np.flatnonzero(left.any(axis=1))
    while len(series):
        at = series, left[series].argmax(axis=1)
        even = _halves_rise(rows[at], quiet[at]) <= most[at]
        found[series[even]] = left[at][even]
        left[at] = 0.0
        series = series[~even & left[series].any(axis=1)]
    return found


def _halves_rise(rows: Floats, quiet: Bools) -> Floats:
    """Return by how much the quiet floors rise from end to end: twice the way between their halves' means."""
    place = np.cumsum(quiet, axis=1, dtype=np.int16)
    older = quiet & (place <= place[:, -1:] // 2)
    newer = quiet & ~older
    value = np.where(quiet, rows, 0.0)
    means = [(value * part).sum(axis=1) / np.maximum(1, part.sum(axis=1)) for part in (older, newer)]
    return np.asarray(2 * (means[1] - means[0]))
