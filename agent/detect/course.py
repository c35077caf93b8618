"""Sums up the floors of one run: how long it warmed up, how fast it grew then, whether it came to rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules
from agent.detect.growth import theil_sen
from agent.detect.least_squares import beside, orthogonal, share_of
from agent.median import median

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.history.rings import Rings

    Floats = NDArray[np.float64]

MOST_BLOCKS = 64
"""A run is looked at in the finest blocks of which so many hold it: what is faster is no course of a run."""
FEWEST_BLOCKS = 8
HALF_BLOCKS = 3
"""A slope needs so many floors."""
KNEE = 2.0
"""Warm-up ends at a knee: where growth was at least this many times as fast before as after, ..."""
KNEE_GAIN = 0.5
"""... and a line with a knee leaves less than this share of a straight line's squared error."""
QUIET_SHARE = 0.1
"""Floors within this share of all that was built up are level, ..."""
LEVEL_SHARE = 0.03
"""... and those within this share of where they are."""


@dataclass(frozen=True, slots=True)
class Course:
    """The figures of a run; amounts in bytes, rates in bytes an hour."""

    warmup_s: float
    base: float
    last: float
    peak: float
    level: float
    rate: float
    late_rate: float
    quiet_s: float


def floors_of_life(rings: Rings, slot: int, birth_t_s: float, t_s: float) -> tuple[Floats, float]:
    """Return the floors of a series since its birth, and how long their blocks are in seconds."""
    for level in range(rings.levels):
        blocks = (t_s - birth_t_s) / rings.block_s(level)
        if blocks <= MOST_BLOCKS or level == rings.levels - 1:
            break
    window = rings.window(level, np.array([slot]))
    starts = window.end_t_s - np.arange(window.floors.shape[1], 0, -1) * window.block_s
    return window.floors[0, starts > birth_t_s - window.block_s], window.block_s


def sum_up(floors: Floats, block_s: float, min_rate_bytes_per_hour: float) -> Course | None:
    """Return the course of a run from its floors (NaN: not seen); None while it is too short to have one.

    Growth slower than `min_rate_bytes_per_hour` counts as level.
    """
    seen = np.isfinite(floors)
    warm = _warmup_blocks(floors, block_s)
    after = floors[warm:]
    half = after[len(after) // 2 :]
    if seen.sum() < FEWEST_BLOCKS or min(np.isfinite(after).sum(), np.isfinite(half).sum()) < HALF_BLOCKS:
        return None
    per_hour = 3600.0 / block_s
    quiet = _quiet_blocks(floors, min_rate_bytes_per_hour / per_hour)
    last = float(after[np.isfinite(after)][-1])
    slope = theil_sen(after)
    base = median(after - slope.value * np.arange(len(after)))
    return Course(
        warmup_s=warm * block_s,
        base=base,
        last=last,
        peak=float(np.nanmax(after)),
        level=float(np.nanmax(floors[len(floors) - quiet :])) if quiet else last,
        rate=slope.value * per_hour,
        late_rate=theil_sen(half).value * per_hour,
        quiet_s=quiet * block_s,
    )


def _warmup_blocks(floors: Floats, block_s: float) -> int:
    """Return at which block warm-up was over: after the start-up, or at the knee of the course."""
    startup = math.ceil(min(rules.STARTUP_SHARE * len(floors), rules.MAX_STARTUP_S / block_s))
    at = np.flatnonzero(np.isfinite(floors)).astype(np.float64)
    values = floors[np.isfinite(floors)]
    if len(values) < FEWEST_BLOCKS:
        return startup
    knees = at[1:-HALF_BLOCKS]
    bent = np.maximum(0.0, at[None, :] - knees[:, None])
    straight = orthogonal([np.ones_like(at), at])
    left, bends = beside(values, straight), beside(bent, straight)
    changes = share_of(left, bends)
    gain = changes**2 * (bends**2).sum(axis=1)
    best = int(np.argmax(gain))
    total = float((left**2).sum())
    if total <= 0 or total - gain[best] > KNEE_GAIN * total:
        return startup
    change = float(changes[best])
    before = float(share_of(values - change * bent[best], straight[1]))
    after = before + change
    if before > 0 and before >= KNEE * after and change < 0:
        return max(startup, int(knees[best]))
    return startup


def _quiet_blocks(floors: Floats, min_slope: float) -> int:
    """Return how many of the newest blocks were level: near the end's level and not rising."""
    seen = floors[np.isfinite(floors)]
    if len(seen) < FEWEST_BLOCKS:
        return 0
    end = median(seen[-max(HALF_BLOCKS, len(seen) // 8) :])
    built_up = float(np.ptp(seen))
    band = max(rules.MIN_GROWTH_BYTES, LEVEL_SHARE * end, QUIET_SHARE * built_up)
    outside = np.flatnonzero(np.isfinite(floors) & (np.abs(floors - end) > band))
    quiet = floors[int(outside[-1]) + 1 if len(outside) else 0 :]
    while np.isfinite(quiet).sum() >= FEWEST_BLOCKS:
        if theil_sen(quiet).low <= min_slope:
            return len(quiet)
        quiet = quiet[len(quiet) // 4 :]  # the end of a warm-up may lie within the band
    return 0
