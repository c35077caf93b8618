"""What a picture of growth shows and on which scales; pure, the drawing is elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from agent.alerts.phrases import amount, finite
from agent.model import Subject

if TYPE_CHECKING:
    from agent.model import Alert

MAX_POINTS = 1000
FORECAST_REACH = 4.0
"""A forecast is drawn when its end is within so many times the length of what was seen."""
LIMIT_REACH = 2.0
"""Without a forecast, the limit is shown when it is at most so many times the largest value."""
MOST_TICKS = 6
HEADROOM = 0.06
"""Of the height left free above what is shown."""
FROM_ZERO_BELOW = 0.4
"""The scale begins at zero where it would begin below this share of its top."""

_STEPS_S = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600, 604800, 1209600,
)  # fmt: skip
_DAY_S = 86400
_LATEST_S = 4e9
"""In the year 2096: no clock of ours says more, and every date library still follows."""


class Point(NamedTuple):
    """Wall seconds and an amount."""

    at: float
    value: float


class Tick(NamedTuple):
    """One mark of a scale."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A picture in the units of its scales."""

    points: tuple[Point, ...]
    """What was seen, oldest first; two at least."""
    from_at: float
    to_at: float
    low: float
    high: float
    times: tuple[Tick, ...]
    amounts: tuple[Tick, ...]
    onset_at: float | None
    """When the growth began, where that is shown."""
    fit: tuple[Point, Point] | None
    """The rate as a line from the onset to the newest point."""
    forecast: tuple[Point, Point] | None
    """From the newest point to the limit."""
    limit: float | None
    """The limit, where it is shown."""


def plan(alert: Alert) -> Plan | None:
    """Return what to draw of an alert; None where it carries too little to draw."""
    points = _points(alert)
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    forecast = _forecast(alert, points)
    limit = _limit(alert, points, forecast)
    low, high = _range([*points, *(forecast or ())], limit)
    to_at = forecast[1].at if forecast else points[-1].at
    onset_at = alert.since_wall_s if points[0].at <= alert.since_wall_s < points[-1].at else None
    return Plan(
        points=points,
        from_at=points[0].at,
        to_at=to_at,
        low=low,
        high=high,
        times=_times(points[0].at, to_at),
        amounts=_amounts(alert.subject, low, high),
        onset_at=onset_at,
        fit=_fit(alert, points),
        forecast=forecast,
        limit=limit,
    )


def _points(alert: Alert) -> tuple[Point, ...]:
    """Return the course without what cannot be drawn: times that do not rise, values that are none."""
    found: list[Point] = []
    for at, value in alert.course[-MAX_POINTS:]:
        sound = 0.0 <= at < _LATEST_S and finite(value) is not None
        if sound and (not found or at > found[-1].at):
            found.append(Point(at, max(0.0, value)))
    return tuple(found)


def _forecast(alert: Alert, points: tuple[Point, ...]) -> tuple[Point, Point] | None:
    full, limit, newest = alert.exhaustion_hours, finite(alert.limit), points[-1]
    if alert.transition.ends or full is None or not limit or limit <= newest.value:
        return None
    within_s = FORECAST_REACH * (newest.at - points[0].at)
    if finite(full.value) is None or not 0.0 < full.value * 3600.0 <= within_s:
        return None
    return newest, Point(min(_LATEST_S, newest.at + full.value * 3600.0), limit)


def _limit(alert: Alert, points: tuple[Point, ...], forecast: tuple[Point, Point] | None) -> float | None:
    limit = finite(alert.limit)
    if not limit or alert.subject is Subject.COLLECTIONS:
        return None
    near = limit <= LIMIT_REACH * max(point.value for point in points)
    return limit if forecast or near else None


def _fit(alert: Alert, points: tuple[Point, ...]) -> tuple[Point, Point] | None:
    rate = finite(alert.rate and alert.rate.value)
    if alert.transition.ends or not rate:
        return None
    newest, from_at = points[-1], max(points[0].at, min(points[-1].at, alert.since_wall_s))
    begun = newest.value - rate * (newest.at - from_at) / 3600.0
    return (Point(from_at, begun), newest) if begun >= 0.0 and from_at < newest.at else None


def _range(shown: list[Point], limit: float | None) -> tuple[float, float]:
    values = [point.value for point in shown] + ([limit] if limit else [])
    least, most = min(values), max(values)
    margin = HEADROOM * (most - least) or 0.1 * most or 1.0
    low = least - 4 * margin
    return (0.0 if low < FROM_ZERO_BELOW * most else low), most + margin


def _times(from_at: float, to_at: float) -> tuple[Tick, ...]:
    step = next((s for s in _STEPS_S if (to_at - from_at) / s <= MOST_TICKS), None)
    step = step or math.ceil((to_at - from_at) / MOST_TICKS / _DAY_S) * _DAY_S
    first = math.ceil(from_at / step) * step
    places = range(first, math.floor(to_at) + 1, step)
    return tuple(Tick(at, _clock(at, step)) for at in places)


def _clock(at: float, step: int) -> str:
    """Return "05:30"; at midnight, and where ticks are days apart, "15 Jan"."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%d %b" if step >= _DAY_S or at % _DAY_S == 0 else "%H:%M")


def _amounts(subject: Subject, low: float, high: float) -> tuple[Tick, ...]:
    step = _nice((high - low) / MOST_TICKS)
    first = math.ceil(low / step)
    places = [n * step for n in range(first, first + 2 * MOST_TICKS) if n * step <= high]
    return tuple(Tick(place, amount(subject, place).split(" child")[0]) for place in places)


def _nice(step: float) -> float:
    """Return the next of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)
