"""The growth as an SVG within the page: what was seen, when it began, the fit, the forecast and the limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent.alerts.chart_plan import Plan, Point, plan
from agent.alerts.phrases import amount, finite, hours
from agent.report.markup import Element, element

if TYPE_CHECKING:
    from agent.model import Alert

LEFT, RIGHT, TOP, BOTTOM = 64, 14, 26, 26
GAP = 6
_LATEST_AT = 1e12
"""Beyond any picture: an interval may be open."""


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Pixels for the units of a plan's scales."""

    plan: Plan
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.width - RIGHT

    @property
    def floor(self) -> float:
        return self.height - BOTTOM

    def x(self, at: float) -> float:
        share = (at - self.plan.from_at) / (self.plan.to_at - self.plan.from_at)
        return LEFT + min(1.0, max(0.0, share)) * (self.right - LEFT)

    def y(self, value: float) -> float:
        share = (value - self.plan.low) / (self.plan.high - self.plan.low)
        return self.floor - min(1.0, max(0.0, share)) * (self.floor - TOP)

    def places(self, points: tuple[Point, ...]) -> str:
        return " ".join(f"{self.x(point.at):.1f},{self.y(point.value):.1f}" for point in points)


def pictures(alert: Alert) -> tuple[Element, ...]:
    """Return the picture for a desk and the one for a phone; none where there is too little to draw."""
    drawn = plan(alert)
    if drawn is None:
        return ()
    return tuple(
        _picture(alert, _Canvas(drawn, width, height), name)
        for name, width, height in (("wide", 900.0, 320.0), ("narrow", 360.0, 250.0))
    )


def caption(alert: Alert) -> str:
    """Return what the picture shows, for those who do not see it."""
    told = [f"{len(alert.course)} readings of {alert.process or alert.service}"]
    if alert.rate is not None and finite(alert.rate.value) is not None:
        told.append(f"growing by {amount(alert.subject, alert.rate.value)}/h")
    if alert.exhaustion_hours is not None:
        told.append(f"full in about {hours(alert.exhaustion_hours.value)}")
    return ", ".join(told)


def _picture(alert: Alert, canvas: _Canvas, name: str) -> Element:
    drawn = canvas.plan
    seen = canvas.places(drawn.points)
    first, last = drawn.points[0], drawn.points[-1]
    below = f"{canvas.x(first.at):.1f},{canvas.floor:.1f} {seen} {canvas.x(last.at):.1f},{canvas.floor:.1f}"
    return element(
        "svg",
        element("title", caption(alert)),
        *_scales(canvas, sparse=name == "narrow"),
        element("polygon", points=below, class_="area"),
        *_onset(canvas),
        *_forecast(alert, canvas),
        element("polyline", points=seen, class_="seen"),
        *_fit(alert, canvas),
        *_limit(alert, canvas),
        viewBox=f"0 0 {canvas.width:.0f} {canvas.height:.0f}",
        role="img",
        class_=name,
    )


def _scales(canvas: _Canvas, *, sparse: bool) -> list[Element]:
    found = []
    for tick in canvas.plan.amounts:
        y = canvas.y(tick.place)
        found.append(_line(LEFT, y, canvas.right, y, "grid"))
        found.append(_text(LEFT - GAP, y + 4, tick.label, "end"))
    for tick in canvas.plan.times[:: 2 if sparse else 1]:
        x = canvas.x(tick.place)
        found.append(_line(x, canvas.floor, x, canvas.floor + 4, "grid"))
        found.append(_text(x, canvas.height - GAP, tick.label, "middle"))
    return found


def _onset(canvas: _Canvas) -> list[Element]:
    at = canvas.plan.onset_at
    if at is None:
        return []
    x = canvas.x(at)
    left = x > (LEFT + canvas.right) / 2
    label = f"since {datetime.fromtimestamp(at, UTC):%H:%M} UTC"
    text = _text(x - GAP if left else x + GAP, canvas.floor - GAP, label, "end" if left else "start")
    return [_line(x, TOP, x, canvas.floor, "onset"), text]


def _forecast(alert: Alert, canvas: _Canvas) -> list[Element]:
    ends = canvas.plan.forecast
    if ends is None or alert.exhaustion_hours is None:
        return []
    begin, end = ends
    full = alert.exhaustion_hours
    found = [_line(*_pair(canvas, begin, end), "forecast")]
    if finite(full.low) is not None and full.low > 0.0:
        soonest = _reaching(begin, end, begin.at + full.low * 3600.0, canvas)
        latest = _reaching(begin, end, min(_LATEST_AT, begin.at + full.high * 3600.0), canvas)
        found.insert(
            0, element("polygon", points=canvas.places((begin, soonest, end, latest)), class_="cone")
        )
    label = f"full in about {hours(full.value)}"
    return [*found, _text(canvas.right, TOP - 10, label, "end", "of-fit")]


def _reaching(begin: Point, end: Point, at: float, canvas: _Canvas) -> Point:
    """Return where a line that reaches the limit at another time ends within the picture."""
    shown_at = min(canvas.plan.to_at, at)
    value = begin.value + (end.value - begin.value) * (shown_at - begin.at) / max(1.0, at - begin.at)
    return Point(shown_at, value)


def _fit(alert: Alert, canvas: _Canvas) -> list[Element]:
    ends = canvas.plan.fit
    if ends is None or alert.rate is None:
        return []
    label = f"{amount(alert.subject, alert.rate.value)}/h"
    return [_line(*_pair(canvas, *ends), "fit"), _text(LEFT, TOP - 10, label, "start", "of-fit")]


def _limit(alert: Alert, canvas: _Canvas) -> list[Element]:
    limit = canvas.plan.limit
    if limit is None:
        return []
    y = canvas.y(limit)
    label = f"limit {amount(alert.subject, limit)}"
    return [_line(LEFT, y, canvas.right, y, "limit"), _text(LEFT + GAP, y + 15, label, "start", "of-limit")]


def _pair(canvas: _Canvas, begin: Point, end: Point) -> tuple[float, float, float, float]:
    return canvas.x(begin.at), canvas.y(begin.value), canvas.x(end.at), canvas.y(end.value)


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Element:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=name)


def _text(x: float, y: float, text: str, anchor: str, name: str = "") -> Element:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=name)
