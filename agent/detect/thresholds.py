"""Plain limits that hold whatever the detector thinks: fast growth, memory near its limit, collections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import floors, growth, rules
from agent.detect.leak import Series
from agent.history.rings import Rings
from agent.model import Estimate, Reason, State
from agent.units import format_bytes, format_duration, format_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.options import Thresholds

    Floats = NDArray[np.float64]

MEASURING_SHARE = 0.97
"""A floor that grows at just the limit is over it: slopes are measured to a few percent."""
MIN_SEEN_SHARE = 0.8
"""Of the blocks of the time judged so many must have been seen."""
LOOK_BACK_S = 6 * 3600.0
"""Growth must pass what was seen within this time: what has come back down since is no growth."""
PASS_MARGIN = 0.2
"""... by this share of itself, ..."""
FALL_MARGIN = 0.5
"""... and by this share of the deepest fall of that time: a collector that runs late is no growth."""
SETTLED_S = 600.0
"""The critical limit is short, so it holds from this age on: start-up is fast growth."""
STAY_S = 60.0
"""Memory is near its limit when it has been so for this long."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A plain limit that is exceeded."""

    state: State
    reason: Reason
    rate: Estimate | None = None
    onset_t_s: float | None = None
    growth: float = 0.0


def fast_growth(
    rings: Rings, series: Sequence[Series], limits: Sequence[Thresholds], t_s: float
) -> dict[int, Breach]:
    """Return by slot which series' floors have grown faster than their limit for as long as it says."""
    breaches: dict[int, Breach] = {}
    for critical in (False, True):
        for for_s in {_for_s(one, critical=critical) for one in limits if one.enabled}:
            row = [
                i for i, one in enumerate(limits) if one.enabled and _for_s(one, critical=critical) == for_s
            ]
            look = _Look.at(rings, [series[i] for i in row], for_s, t_s)
            for k, i in enumerate(row):
                limit = (
                    limits[i].growth_critical_bytes_per_hour if critical else limits[i].growth_bytes_per_hour
                )
                breach = look.breach(k, limit, critical=critical)
                if breach is not None:
                    breaches[series[i].slot] = breach
    return breaches


def near_limit(rings: Rings, slot: int, limit_bytes: float, limits: Thresholds) -> Breach | None:
    """Return whether memory has stayed above the share of its limit that people set."""
    window = rings.window(0, np.array([slot]))
    blocks = max(1, math.ceil(STAY_S / window.block_s))
    recent = window.floors[0, -blocks:]
    if not limits.enabled or limit_bytes <= 0 or not np.isfinite(recent).all():
        return None
    percent = 100.0 * float(recent.min()) / limit_bytes
    if percent < limits.heap_percent:
        return None
    critical = percent >= limits.heap_percent_critical
    allowed = limits.heap_percent_critical if critical else limits.heap_percent
    text = f"memory is at {percent:.0f} % of {format_bytes(limit_bytes)} ({allowed:.0f} % allowed)"
    state = State.CRITICAL if critical else State.WARNING
    return Breach(state, Reason("near-limit", passed=True, text=text))


def often_collected(collections_per_minute: float, limits: Thresholds) -> Breach | None:
    """Return whether the runtime's collector runs more often than people set."""
    if not limits.enabled or collections_per_minute <= limits.collections_per_minute:
        return None
    allowed = limits.collections_per_minute
    text = f"the collector ran {collections_per_minute:.0f} times a minute ({allowed:.0f} allowed)"
    return Breach(State.WARNING, Reason("often-collected", passed=True, text=text))


def _for_s(limits: Thresholds, *, critical: bool) -> float:
    return limits.growth_critical_for_s if critical else limits.growth_for_s


@dataclass(frozen=True, slots=True)
class _Look:
    """The newest floors of many series over one length of time."""

    rings: Rings
    series: Sequence[Series]
    t_s: float
    for_s: float
    block_s: float
    start_t_s: float
    rows: Floats
    end_to_end: Floats
    """Growth of the row's floors from the oldest to the newest."""

    @classmethod
    def at(cls, rings: Rings, series: Sequence[Series], for_s: float, t_s: float) -> _Look:
        level = min(rings.levels - 1, math.floor(math.log2(max(1.0, for_s / 10 / rings.base_s))))
        window = rings.window(level, np.array([one.slot for one in series]))
        blocks = max(growth.MIN_RISE_BLOCKS, math.ceil(for_s / window.block_s) + 1)
        rows = window.floors[:, -blocks:]
        start = window.end_t_s - rows.shape[1] * window.block_s
        return cls(rings, series, t_s, for_s, window.block_s, start, rows, rows[:, -1] - rows[:, 0])

    def breach(self, row: int, limit: float, *, critical: bool) -> Breach | None:
        """Return the breach of one series, None where it keeps the limit."""
        span_h = self.block_s * (self.rows.shape[1] - 1) / 3600.0
        if not self.end_to_end[row] >= MEASURING_SHARE * limit * span_h:
            return None
        if not (self._old_enough(row, critical=critical) and self._seen(row) and self._new_high(row)):
            return None
        slope = growth.theil_sen(self.rows[row])
        rate = Estimate(*(value * 3600.0 / self.block_s for value in slope))
        if rate.value < MEASURING_SHARE * limit or not self._steady(row):
            return None
        lasted = format_duration(self.rows.shape[1] * self.block_s)
        text = f"floor has grown {format_rate(rate.value)} for {lasted} ({format_rate(limit)} allowed)"
        state = State.CRITICAL if critical else State.WARNING
        reason = Reason("fast-growth", passed=True, text=text)
        return Breach(state, reason, rate, self.start_t_s, float(self.end_to_end[row]))

    def _old_enough(self, row: int, *, critical: bool) -> bool:
        born = self.series[row].birth_t_s
        return self.start_t_s >= born + (SETTLED_S if critical else 0.0) - self.block_s

    def _seen(self, row: int) -> bool:
        """Whether enough was seen to speak of a slope."""
        return bool(np.isfinite(self.rows[row]).mean() >= MIN_SEEN_SHARE)

    def _steady(self, row: int) -> bool:
        """Whether it grew all along: no jump, no levelling off, nothing given back."""
        rows = self.rows[row : row + 1]
        onset = np.zeros(1, dtype=np.intp)
        least, newest = growth.evenness(rows, onset)
        amount = float(self.end_to_end[row])
        return bool(
            least[0] >= rules.MIN_EVEN_STEP
            and newest[0] >= rules.MIN_NEWEST_STEP
            and growth.drawdown(rows, onset)[0] <= rules.MAX_DRAWDOWN * amount
            and growth.jumps_share(rows[0], amount) <= rules.MAX_JUMPS_SHARE_SHORT
        )

    def _new_high(self, row: int) -> bool:
        one = self.series[row]
        judged = float(floors.judged_from_s(np.array([one.birth_t_s]), self.t_s)[0])
        since = max(judged, self.t_s - LOOK_BACK_S)
        peak = floors.highest_sample_before(self.rings, one.slot, self.start_t_s, since)
        excess = float(self.rows[row, -1]) - peak
        if excess < PASS_MARGIN * self.end_to_end[row]:
            return False
        return excess >= FALL_MARGIN * floors.deepest_fall_before(self.rings, one.slot, self.start_t_s, since)
