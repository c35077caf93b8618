"""How much more a process had to do, from the CPU time that it has used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import HOUR_S

from agent.detect import work
from agent.history.rings import Rings

POLL_S = 60.0
SLOT = np.array([0])
PACE = 0.05
"""CPU seconds a second, where nothing is said of it."""


def done(paces: np.ndarray, *, quiet_h: float, onset_h: float, since_h: float = 0.0) -> tuple[float, float]:
    """Return how much more was done than before, and than earlier, of CPU seconds a second at each poll."""
    rings = Rings(POLL_S, levels=12, capacity=1)
    rings.open()
    for i, used_s in enumerate(np.cumsum(np.concatenate([[0.0], paces * POLL_S]))):
        rings.add(i * POLL_S, SLOT, np.array([used_s]))
    moments = work.Moments(
        np.array([since_h * HOUR_S]),
        np.array([quiet_h * HOUR_S]),
        np.array([onset_h * HOUR_S]),
        rings.end_t_s(0),
    )
    found = work.done(rings.past(SLOT), moments)
    return float(found.than_before[0]), float(found.than_earlier[0])


def paces(hours: float) -> np.ndarray:
    return np.full(round(hours * HOUR_S / POLL_S), PACE)


def hours_of(values: np.ndarray) -> np.ndarray:
    return np.arange(len(values)) * POLL_S / HOUR_S


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0, 5.0])
def test_a_rise_is_held_against_the_quiet_time_before_it(times: float) -> None:
    several = paces(6)
    several[hours_of(several) >= 4] *= times

    than_before, _ = done(several, quiet_h=1, onset_h=4)

    assert than_before == pytest.approx(times, rel=0.03)


def test_what_was_done_before_the_quiet_time_does_not_count() -> None:
    several = paces(6)
    several[hours_of(several) < 1] *= 20

    assert done(several, quiet_h=1.1, onset_h=4)[0] == pytest.approx(1.0, rel=0.03)


def test_what_costs_ever_more_since_it_began_is_not_more_work_from_the_beginning() -> None:
    several = paces(6)
    several[hours_of(several) >= 5] *= 4

    assert done(several, quiet_h=1, onset_h=4)[0] == pytest.approx(1.0, rel=0.03)


def test_after_a_day_of_quiet_the_same_time_of_the_day_before_is_what_counts() -> None:
    hours = hours_of(paces(60))
    daily = PACE * (1 - 0.8 * np.cos(2 * np.pi * hours / 24))
    busier = np.where(hours >= 57, 2 * daily, daily)

    assert done(daily, quiet_h=40, onset_h=57)[0] > 1.6
    assert done(daily, quiet_h=32, onset_h=57)[0] == pytest.approx(1.0, rel=0.03)
    assert done(busier, quiet_h=32, onset_h=57)[0] == pytest.approx(1.9, rel=0.1)


def test_a_day_has_more_work_than_its_night_and_ten_days_are_all_alike() -> None:
    hours = hours_of(paces(240))
    daily = PACE * (1 - 0.8 * np.cos(2 * np.pi * hours / 24))

    assert done(daily[hours < 10], quiet_h=1, onset_h=4)[1] > 3
    assert done(daily[hours < 20], quiet_h=1, onset_h=4)[1] > 3
    assert done(daily, quiet_h=1, onset_h=4)[1] < 1.3


@pytest.mark.parametrize("drawn", range(5))
def test_work_that_only_comes_in_bursts_does_not_rise(drawn: int) -> None:
    bursts = np.random.default_rng(drawn).exponential(PACE, 600)

    assert done(bursts, quiet_h=1, onset_h=4)[1] < 1.4


def test_work_that_falls_does_not_rise() -> None:
    falling = np.linspace(3 * PACE, PACE, 600)

    assert done(falling, quiet_h=1, onset_h=4)[1] == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(("times", "expected"), [(0.5, [False, False]), (2.0, [True, True])])
def test_what_is_hardly_any_work_is_no_load(times: float, expected: list[bool]) -> None:
    idle = np.zeros(600)
    idle[hours_of(idle) >= 4] = times * work.LEAST_PACE

    assert [more > 2 for more in done(idle, quiet_h=1, onset_h=4)] == expected


def test_before_the_start_of_a_life_its_work_is_judged_from_there() -> None:
    several = paces(6)
    several[hours_of(several) < 0.5] *= 0.01

    assert done(several, quiet_h=1, onset_h=4)[1] > 1.5
    assert done(several, quiet_h=1, onset_h=4, since_h=0.6)[1] == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("values", [[np.nan] * 100, [], [0.0]], ids=["never seen", "no polls", "one poll"])
def test_where_nothing_is_known_nothing_more_was_done(values: list[float]) -> None:
    assert done(np.array(values), quiet_h=0, onset_h=0.5) == (0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=80),
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0, 2),
)
def test_anything_is_some_amount(values: list[float], quiet_h: float, onset_h: float, since_h: float) -> None:
    """Warnings of numpy are errors here; a counter that falls or is missing is nobody's fault."""
    assert np.isfinite(done(np.array(values), quiet_h=quiet_h, onset_h=onset_h, since_h=since_h)).all()
