"""The picture of the growth: true to the figures, small, and drawn for any alert that has a course."""

from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from alert_samples import HOUR_S, WALL_S, alert
from alert_strategies import ALERTS
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agent.alerts import chart
from agent.alerts.chart import png
from agent.alerts.chart_plan import Plan, Point, plan
from agent.model import Alert, Estimate, Subject, Transition

COURSE = tuple(
    (WALL_S + (i - 90) * 150.0, 400e6 + max(0, i - 30) * 150.0 * 124e6 / HOUR_S) for i in range(91)
)
"""Flat for an hour and a quarter, then 124 MB/h for two and a half hours."""
ANY = st.floats() | st.floats(0, 1e12)


def leak(**changes: Any) -> Alert:
    """An alert whose course reaches its limit two hours and a half later."""
    figures: dict[str, Any] = {
        "course": COURSE,
        "rate": Estimate(124e6, 110e6, 140e6),
        "exhaustion_hours": Estimate(2.34, 2.0, 3.0),
    }
    return alert(**figures | changes)


def planned(**changes: Any) -> Plan:
    found = plan(leak(**changes))
    assert found is not None
    return found


def picture(**changes: Any) -> Image.Image:
    data = png(leak(**changes))
    assert data is not None
    with Image.open(BytesIO(data)) as found:
        return found.convert("RGB")


def colour_at(drawn: Image.Image, place: tuple[float, float]) -> tuple[int, int, int]:
    found = drawn.getpixel((round(place[0]), round(place[1])))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def test_the_fit_ends_in_the_newest_point_and_begins_at_the_onset() -> None:
    fit = planned().fit

    assert fit is not None
    assert fit[0] == Point(WALL_S - 2.5 * HOUR_S, pytest.approx(400e6))
    assert fit[1] == Point(*COURSE[-1])


def test_the_forecast_leads_to_the_limit_at_the_time_that_is_told() -> None:
    drawn = planned()

    assert drawn.forecast == (Point(*COURSE[-1]), Point(WALL_S + 2.34 * HOUR_S, 1e9))
    assert (drawn.to_at, drawn.limit) == (WALL_S + 2.34 * HOUR_S, 1e9)
    assert drawn.high > 1e9


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exhaustion_hours": Estimate(15.1, 14, 16)}, "beyond four times what was seen"),
        ({"exhaustion_hours": Estimate(math.inf, 2, math.inf)}, "never full"),
        ({"exhaustion_hours": None}, "not predicted"),
        ({"limit": None}, "no limit"),
        ({"transition": Transition.RESOLVED}, "over"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_forecast_is_drawn_that_nobody_made(changes: dict[str, Any], why: str) -> None:
    assert planned(**changes).forecast is None, why


def test_a_limit_that_is_far_away_does_not_flatten_the_growth() -> None:
    drawn = planned(limit=64e9, exhaustion_hours=None)

    assert drawn.limit is None
    assert drawn.high < 800e6


def test_a_limit_within_twice_the_value_is_shown_without_a_forecast() -> None:
    assert planned(exhaustion_hours=None).limit == 1e9


def test_an_onset_before_the_picture_is_not_marked() -> None:
    drawn = planned(since_wall_s=WALL_S - 90 * HOUR_S)

    assert drawn.onset_at is None
    assert drawn.fit is not None
    assert drawn.fit[0].at == drawn.from_at


def test_the_scales_are_round_and_in_the_units_of_the_alert() -> None:
    memory, threads = (
        planned(),
        planned(
            subject=Subject.THREADS, course=((0.0, 100.0), (7200.0, 400.0)), limit=None, exhaustion_hours=None
        ),
    )

    assert [tick.label for tick in memory.amounts] == ["0 B", "200 MB", "400 MB", "600 MB", "800 MB", "1 GB"]
    assert [tick.label for tick in memory.times] == ["06:00", "08:00", "10:00"]
    assert [tick.label for tick in threads.amounts][1:3] == ["100 threads", "200 threads"]


def test_a_scale_of_days_names_the_days() -> None:
    days = tuple((WALL_S + (i - 90) * 8640.0, 400e6 + i) for i in range(91))

    assert [t.label for t in planned(course=days, exhaustion_hours=None).times][:2] == ["08 Jan", "10 Jan"]


@pytest.mark.parametrize("course", [(), ((WALL_S, 1.0),), ((WALL_S, 1.0), (WALL_S, 2.0))])
def test_less_than_two_points_are_no_picture(course: tuple[tuple[float, float], ...]) -> None:
    assert png(leak(course=course)) is None


def test_the_picture_is_small_and_shows_limit_growth_and_forecast_where_they_belong() -> None:
    drawn, shown = planned(), picture()

    assert shown.size == (900, 420)
    assert len(png(leak()) or b"") < 60_000
    begin, end = drawn.forecast or (None, None)
    assert begin is not None
    assert end is not None
    limit = chart.place(drawn, Point(drawn.from_at + 600, 1e9))
    flat = chart.place(drawn, drawn.points[15])
    red, blue = colour_at(shown, limit), colour_at(shown, flat)
    assert red[0] > 180
    assert max(red[1:]) < 60
    assert blue[2] > 180
    assert blue[0] < 60
    middle = Point((begin.at + end.at) / 2, (begin.value + end.value) / 2)
    x, y = chart.place(drawn, middle)
    near = [colour_at(shown, (x + dx, y + dy)) for dx in range(-12, 13) for dy in range(-6, 7)]
    assert any(r > 200 and 80 < g < 150 and b < 90 for r, g, b in near), "no dash of the forecast"


def test_what_is_not_known_is_not_drawn() -> None:
    plain = picture(rate=None, limit=None, exhaustion_hours=None)
    colours = {found for _, found in plain.getcolors(100_000) or []}

    assert not [c for c in colours if isinstance(c, tuple) and c[0] > 180 and c[2] < 90], "red or orange"


@given(ALERTS, st.lists(st.tuples(ANY, ANY), max_size=30).map(tuple))
@settings(max_examples=40, deadline=None)
def test_any_course_is_drawn_or_refused(any_alert: Alert, course: tuple[tuple[float, float], ...]) -> None:
    data = png(replace(any_alert, course=course))

    assert data is None or (data.startswith(b"\x89PNG") and len(data) < 60_000)


@given(ALERTS, st.lists(st.floats(0, 1e15), min_size=2, max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_values_at_rising_times_are_drawn(any_alert: Alert, values: list[float]) -> None:
    course = tuple((WALL_S + 10 * i, value) for i, value in enumerate(values))

    assert png(replace(any_alert, course=course)) is not None
