"""When a growing amount reaches its limit, with an interval, and only as far as the evidence carries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agent.model import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.rate import Rates

    Floats = NDArray[np.float64]

REACH = 10.0
"""Nothing is foretold further ahead than this many times the observed growth: so far the interval's coverage
was measured (tests/bench/coverage.py), and a daily cycle is not foretold from two hours of it."""
AHEAD = 0.25
"""Over as long again as it was observed, growth goes on at a rate that differs by so much of itself, ..."""
MOST_AHEAD = 0.5
"""... over longer as a random walk does, with the root of the time, up to this."""


def standings(rates: Rates, peaks: Floats) -> list[Estimate]:
    """Return how high the samples of each rise stand at the newest block, from the least to the largest peak.

    That is the line of its rate plus the median (least, largest) of what the peaks of the blocks rise above
    it: a limit is reached by a peak and not by a floor. `peaks` has the shape of the rows that the rates are
    of; without any peak the line itself is returned.
    """
    back = np.arange(1 - peaks.shape[1], 1)
    line = rates.level[:, None] + rates.value[:, None] * back
    told = (-back < rates.blocks[:, None]) & np.isfinite(peaks)
    above = np.sort(np.where(told, peaks - line, np.inf), axis=1)
    count = told.sum(axis=1)
    rows = np.arange(len(peaks))
    picked = (above[rows, np.maximum(0, at)] for at in ((count - 1) // 2, np.zeros_like(count), count - 1))
    middle, least, largest = (rates.level + np.where(count > 0, one, 0.0) for one in picked)
    return [Estimate(*map(float, one)) for one in zip(middle, least, largest, strict=True)]


def exhaustion_hours(
    current: float,
    limit: float | None,
    rate: Estimate,
    observed_s: float,
    standing: Estimate | None = None,
) -> Estimate | None:
    """Return the hours until a sample first reaches `limit`, growing by `rate` an hour.

    The interval goes from the highest peaks at the fastest rate to the lowest ones at the slowest, of those
    that growth may go on at (`_to_come`); where that does not grow, its high end is infinite. None without a
    limit, without growth, and where the time is more than `REACH` times what was observed. `standing` is how
    high the samples stand now; without it they stand at `current`, the newest one.
    """
    if limit is None or rate.value <= 0:
        return None
    if current >= limit:
        return Estimate(0.0, 0.0, 0.0)
    stands = standing or Estimate(current, current, current)
    room = Estimate(*(max(0.0, limit - level) for level in stands))
    hours = room.value / rate.value
    if hours > REACH * observed_s / 3600.0:
        return None
    to_come = _to_come(rate, ahead=3600.0 * hours / observed_s if observed_s > 0 else 0.0)
    high = room.low / to_come.low if to_come.low > 0 else math.inf
    soonest = min(room.high, limit - current)
    return Estimate(hours, min(hours, soonest / to_come.high), max(hours, high))


def _to_come(rate: Estimate, ahead: float) -> Estimate:
    """Return the rate of the time to come: `ahead` times as long as it was observed."""
    other = min(MOST_AHEAD, AHEAD * math.sqrt(ahead)) * rate.value
    low, high = (math.hypot(max(0.0, one), other) for one in (rate.value - rate.low, rate.high - rate.value))
    return Estimate(rate.value, rate.value - low, rate.value + high)
