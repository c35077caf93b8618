"""When a growing amount reaches its limit, with an interval, and only as far as the evidence carries."""

from __future__ import annotations

import math

from agent.detect import rules
from agent.model import Estimate


def exhaustion_hours(
    current: float, limit: float | None, rate: Estimate, observed_s: float
) -> Estimate | None:
    """Return the hours until `current` reaches `limit` at `rate` an hour.

    None without a limit, without growth, and where the time is more than `FORECAST_REACH` times what was
    observed.
    An interval whose slow end does not grow is open: its high end is infinite.
    """
    if limit is None or rate.value <= 0:
        return None
    room = max(0.0, limit - current)
    hours = room / rate.value
    if hours > rules.FORECAST_REACH * observed_s / 3600.0:
        return None
    high = room / rate.low if rate.low > 0 else math.inf
    return Estimate(hours, room / max(rate.high, rate.value), high)
