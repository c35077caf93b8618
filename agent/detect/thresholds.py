"""Plain limits that hold whatever the detector thinks: fast growth, memory near its limit, collections."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.detect import floors, growth, rules, shape
from agent.detect.series import Series
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
"""The critical limit is short, so before this age it makes a suspect only: start-up is fast growth."""
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


class _Rule(NamedTuple):
    """One plain limit of growth."""

    state: State
    for_s: float
    bytes_per_hour: float


def _rules_of(limits: Thresholds) -> tuple[_Rule, ...]:
    """Return the limits of growth."""
    if not limits.enabled:
        return ()
    warn, critical = limits.growth_bytes_per_hour, limits.growth_critical_bytes_per_hour
    return (
        _Rule(State.WARNING, limits.growth_for_s, warn),
        _Rule(State.CRITICAL, limits.growth_critical_for_s, critical),
    )


def levels_of(rings: Rings, limits: Iterable[Thresholds]) -> set[int]:
    """Return the levels at which `fast_growth` looks: between two of their blocks it says the same."""
    return {_level(rings, rule.for_s) for one in limits for rule in _rules_of(one)}


def _level(rings: Rings, for_s: float) -> int:
    """Return the level at which a length of time is some ten blocks."""
    return min(rings.levels - 1, math.floor(math.log2(max(1.0, for_s / 10 / rings.base_s))))


def fast_growth(
    rings: Rings, series: Sequence[Series], limits: Sequence[Thresholds], t_s: float
) -> dict[int, Breach]:
    """Return by slot which series' floors grow faster than their limit, the gravest breach of each."""
    rules_of = {one: _rules_of(one) for one in set(limits)}
    breaches: dict[int, Breach] = {}
    for for_s in {rule.for_s for several in rules_of.values() for rule in several}:
        concerned = [
            (one, [rule for rule in rules_of[limit] if rule.for_s == for_s])
            for one, limit in zip(series, limits, strict=True)
        ]
        judged = [(one, several) for one, several in concerned if several]
        look = _Look.at(rings, [one for one, _ in judged], for_s, t_s)
        least = np.array([min(rule.bytes_per_hour for rule in several) for _, several in judged])
        for row in look.risen(least):
            one, several = judged[row]
            found = [b for rule in several if (b := look.breach(row, rule)) is not None]
            worst = max([*found, *filter(None, [breaches.get(one.slot)])], key=_grave, default=None)
            if worst is not None:
                breaches[one.slot] = worst
    return breaches


def _grave(breach: Breach) -> State:
    return breach.state


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
        level = _level(rings, for_s)
        block_s = rings.block_s(level)
        blocks = max(growth.MIN_RISE_BLOCKS, math.ceil(for_s / block_s) + 1)
        rows = rings.floors(level, np.array([one.slot for one in series], dtype=np.intp), blocks)
        start = rings.end_t_s(level) - rows.shape[1] * block_s
        return cls(rings, series, t_s, for_s, block_s, start, rows, rows[:, -1] - rows[:, 0])

    def risen(self, limits: Floats) -> list[int]:
        """Return the rows that have risen as much as their limits (bytes an hour) allow, at least."""
        least = MEASURING_SHARE * limits * self._span_h
        return np.flatnonzero(self.end_to_end >= least).tolist()

    @property
    def _span_h(self) -> float:
        return float(self.block_s * (self.rows.shape[1] - 1) / 3600.0)

    def breach(self, row: int, rule: _Rule) -> Breach | None:
        """Return the breach of one series, None where it keeps the limit."""
        limit = rule.bytes_per_hour
        if not self.end_to_end[row] >= MEASURING_SHARE * limit * self._span_h:
            return None
        if not (self._lived(row, 0.0) and self._seen(row) and self._new_high(row)):
            return None
        slope = growth.theil_sen(self.rows[row])
        rate = Estimate(*(value * 3600.0 / self.block_s for value in slope))
        if rate.value < MEASURING_SHARE * limit or not self._steady(row):
            return None
        early = rule.state is State.CRITICAL and not self._lived(row, SETTLED_S)
        lasted = format_duration(self.rows.shape[1] * self.block_s)
        text = f"floor has grown {format_rate(rate.value)} for {lasted} ({format_rate(limit)} allowed)"
        reason = Reason("fast-growth", passed=True, text=text + (", right after the start" if early else ""))
        state = State.SUSPECT if early else rule.state
        return Breach(state, reason, rate, self.start_t_s, float(self.end_to_end[row]))

    def _lived(self, row: int, before_s: float) -> bool:
        """Whether the process had run for so long when the time judged began."""
        return self.start_t_s >= self.series[row].birth_t_s + before_s - self.block_s

    def _seen(self, row: int) -> bool:
        """Whether enough was seen to speak of a slope."""
        return bool(np.isfinite(self.rows[row]).mean() >= MIN_SEEN_SHARE)

    def _steady(self, row: int) -> bool:
        """Whether it grew all along: no jump, no levelling off, nothing given back."""
        rows = self.rows[row : row + 1]
        onset = np.zeros(1, dtype=np.intp)
        least, newest = shape.evenness(rows, onset)
        amount = float(self.end_to_end[row])
        return bool(
            least[0] >= rules.MIN_EVEN_STEP
            and newest[0] >= rules.MIN_NEWEST_STEP
            and shape.drawdown(rows, onset)[0] <= rules.MAX_DRAWDOWN * amount
            and shape.jumps_share(rows, onset, np.array([amount]))[0] <= rules.MAX_JUMPS_SHARE_SHORT
        )

    def _new_high(self, row: int) -> bool:
        one = self.series[row]
        judged = float(floors.judged_from_s(np.array([one.birth_t_s]), self.t_s)[0])
        since, until = np.array([max(judged, self.t_s - LOOK_BACK_S)]), np.array([self.start_t_s])
        past = self.rings.past(np.array([one.slot]))
        excess = float(self.rows[row, -1]) - float(floors.highest_sample(past, since, until)[0])
        if excess < PASS_MARGIN * self.end_to_end[row]:
            return False
        before = floors.floors_between(past, since, until)
        return excess >= FALL_MARGIN * float(floors.deepest_fall_at_any_level(before)[0])
