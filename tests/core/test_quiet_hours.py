from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.quiet import quiet_hours, read_days, shown_time

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-07-01T21:59:59", None),
        ("2026-07-01T22:00", "2026-07-02T07:00"),
        ("2026-07-02T00:30", "2026-07-02T07:00"),
        ("2026-07-02T06:59:59", "2026-07-02T07:00"),
        ("2026-07-02T07:00", None),
    ],
)
def test_hours_over_midnight_end_on_the_next_morning(at: str, end: str | None) -> None:
    until = quiet_hours("22:00-07:00", (), "Europe/Berlin").until(berlin(at))
    assert until == (end and berlin(end))


@pytest.mark.parametrize(
    ("at", "is_quiet"),
    [
        ("2026-07-03T23:00", True),  # a Friday
        ("2026-07-04T06:00", True),  # they began on Friday
        ("2026-07-04T23:00", False),
        ("2026-07-05T23:00", False),
        ("2026-07-06T06:00", False),  # they would have begun on Sunday
        ("2026-07-06T23:00", True),
    ],
)
def test_the_days_are_those_on_which_they_begin(at: str, *, is_quiet: bool) -> None:
    quiet = quiet_hours("22:00-07:00", ("mon-fri",), "Europe/Berlin")
    assert (quiet.until(berlin(at)) is not None) is is_quiet


def test_a_whole_day_ends_at_midnight() -> None:
    sunday = quiet_hours("00:00-24:00", ("sun",), "Europe/Berlin")
    assert sunday.until(berlin("2026-07-05T13:00")) == berlin("2026-07-06T00:00")
    assert sunday.until(berlin("2026-07-06T00:00")) is None


@pytest.mark.parametrize(("night", "hours"), [("2026-03-28", 8), ("2026-10-24", 10), ("2026-07-01", 9)])
def test_a_night_in_which_the_clocks_change_is_shorter_or_longer(night: str, hours: int) -> None:
    begin_s = berlin(f"{night}T22:00")
    assert quiet_hours("22:00-07:00", (), "Europe/Berlin").until(begin_s) == begin_s + hours * 3600


def test_the_hour_is_that_of_the_time_zone() -> None:
    at_s = berlin("2026-07-01T23:00")
    assert quiet_hours("22:00-22:30", (), "UTC").until(at_s) is None
    assert quiet_hours("22:30-23:30", (), "Europe/Berlin").until(at_s) == at_s + 1800
    assert shown_time(at_s, BERLIN) == "Wed 23:00 CEST"


def test_a_span_of_days_goes_over_the_end_of_the_week() -> None:
    assert read_days(("sat-mon",)) == {5, 6, 0}
    assert read_days(()) == set(range(7))


@given(at_s=st.floats(0, 4e9), hour=st.integers(0, 23), length=st.integers(1, 23))
def test_what_waits_waits_for_less_than_a_day_and_is_free_at_the_end(
    at_s: float, hour: int, length: int
) -> None:
    quiet = quiet_hours(f"{hour:02}:00-{(hour + length) % 24:02}:00", (), "America/New_York")
    end_s = quiet.until(at_s)

    if end_s is not None:
        assert at_s < end_s <= at_s + 25 * 3600
        assert quiet.until(end_s) is None
