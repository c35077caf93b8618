"""What the rings say about one series: its judged blocks, how high it has been, how long it was quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules
from agent.detect.growth import drawdown, quiet_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.history.rings import Past, Rings, Window

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

TOLERANCE_S = 1e-6
"""Block borders are sums of binary fractions; they may miss each other by so much."""


def starts_s(window: Window) -> Floats:
    """Return when each block of the window began, on the boot clock."""
    blocks = window.floors.shape[1]
    starts: Floats = window.end_t_s - np.arange(blocks, 0, -1, dtype=np.float64) * window.block_s
    return starts


def judged_from_s(birth_t_s: Floats, t_s: float) -> Floats:
    """Return since when each life is judged: its first tenth is start-up, at most an hour of it."""
    age_s = np.maximum(0.0, t_s - birth_t_s)
    return birth_t_s + np.minimum(rules.STARTUP_SHARE * age_s, rules.MAX_STARTUP_S)


def judged_floors(window: Window, birth_t_s: Floats, t_s: float) -> Floats:
    """Return the floors of the window with the blocks of each life's start-up taken out (NaN)."""
    judged = starts_s(window)[None, :] >= judged_from_s(birth_t_s, t_s)[:, None]
    return np.where(judged, window.floors, np.nan)


def highest_sample_before(rings: Rings, slot: int, until_t_s: float, since_t_s: float) -> float:
    """Return the highest sample of the blocks between two moments; minus infinity if there are none."""
    past = rings.past(slot)
    return float(np.fmax.reduce(past.peaks[_inside(past, since_t_s, until_t_s)], initial=-np.inf))


def deepest_fall_before(rings: Rings, slot: int, until_t_s: float, since_t_s: float) -> float:
    """Return by how much the floors between two moments once fell below an earlier floor, at any scale."""
    past = rings.past(slot)
    rows = np.where(_inside(past, since_t_s, until_t_s), past.floors, np.nan)
    return float(drawdown(rows, np.zeros(len(rows), dtype=np.intp)).max())


def _inside(past: Past, since_t_s: float, until_t_s: float) -> Bools:
    """Return which blocks lie between two moments."""
    return (past.starts_s >= since_t_s) & (past.ends_s <= until_t_s + TOLERANCE_S)


def quiet_s(  # noqa: PLR0913 - the series, its rise and the life it belongs to
    rings: Rings,
    slot: int,
    level: int,
    *,
    onset_t_s: float,
    since_t_s: float,
    base: float,
    rate_per_s: float,
    growth: float,
) -> float:
    """Return how long the series was quiet before its rise began, in seconds.

    Looked for at the level of the rise and at every coarser one, which reach further back; the longest
    counts.
    """
    longest = 0.0
    past = rings.past(slot)
    rows = np.where(_inside(past, since_t_s, onset_t_s), past.floors, np.nan)
    for coarser in level + np.flatnonzero(np.isfinite(rows[level:]).any(axis=1))[::-1]:
        row, block_s = rows[coarser], rings.block_s(int(coarser))
        until = int(np.searchsorted(past.ends_s[coarser], onset_t_s + TOLERANCE_S, side="right"))
        count = quiet_blocks(row, until, base - rules.QUIET_BELOW * growth, base + rules.QUIET_ABOVE * growth)
        stretch_s = count * block_s
        if count < rules.MIN_QUIET_BLOCKS or stretch_s <= longest:
            continue
        if not _rises(row[:until], count, rate_per_s * block_s):
            longest = stretch_s
    return longest


def _rises(before: Floats, count: int, slope: float) -> bool:
    """Whether the newest `count` floors rise by a notable share of the slope that follows them."""
    quiet = before[np.isfinite(before)][-count:]
    half = count // 2
    rise = 2 * (np.median(quiet[half:]) - np.median(quiet[:half]))
    return bool(rise > rules.QUIET_SLOPE * slope * count)
