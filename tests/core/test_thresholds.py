"""Plain limits: how soon a fast leak is told, and what must never be told as one."""

from __future__ import annotations

import numpy as np
import pytest
from series import (
    BASE,
    BIRTH_T_S,
    HOUR_S,
    MB,
    MINUTE_S,
    NEVER,
    POLL_S,
    Told,
    polls,
    ramp,
    sawtooth,
    shaken,
    step,
    tell,
    unseen,
    white,
)

from agent.detect.options import Thresholds
from agent.detect.series import Series
from agent.detect.thresholds import Breach, fast_growth, near_limit, often_collected
from agent.history.rings import Rings
from agent.model import State

LIMITS = Thresholds()


def watched(*series: np.ndarray, seeds: tuple[int, ...] = (1, 2)) -> Told:
    """Tell each series with and without small noise, by the fast limit alone."""
    return tell([one for s in series for one in shaken(BASE + s, seeds)], finest=NEVER)


def test_100_mb_an_hour_warns_within_10_to_15_minutes_of_its_onset() -> None:
    age_s = polls(1.0)
    onsets_s = np.array([20 * MINUTE_S, 30 * MINUTE_S])
    told = watched(*(ramp(age_s, 100, onset_s=onset_s) for onset_s in onsets_s))
    delay_s = np.array(told.first_s(told.fast, State.WARNING)) - np.repeat(onsets_s, 3)

    assert ((delay_s >= 10 * MINUTE_S) & (delay_s <= 15 * MINUTE_S)).all(), delay_s
    assert told.fast.max() == State.WARNING


def test_100_mb_an_hour_warns_within_15_minutes_after_two_steady_hours() -> None:
    age_s = polls(2.5)
    told = watched(ramp(age_s, 100, onset_s=2 * HOUR_S))
    delay_s = np.array(told.first_s(told.fast, State.WARNING)) - 2 * HOUR_S

    assert ((delay_s >= 10 * MINUTE_S) & (delay_s <= 15 * MINUTE_S)).all(), delay_s
    assert told.fast.max() == State.WARNING


@pytest.mark.parametrize("jump_at_s", [10.0, 20.0, 40.0])
def test_100_mb_an_hour_from_the_start_warns_within_15_minutes_despite_a_start_up_jump(
    jump_at_s: float,
) -> None:
    age_s = polls(0.6)
    told = watched(ramp(age_s, 100) + step(age_s, 40 * MB, at_s=jump_at_s))
    warned_s = np.array(told.first_s(told.fast, State.WARNING))

    assert ((warned_s >= 10 * MINUTE_S) & (warned_s <= 15 * MINUTE_S)).all(), warned_s
    assert told.fast.max() == State.WARNING


def test_500_mb_an_hour_after_half_a_steady_hour_is_critical_within_three_minutes() -> None:
    age_s = polls(0.7)
    told = watched(ramp(age_s, 500, onset_s=30 * MINUTE_S), seeds=(1, 2, 3, 4))
    delay_s = np.array(told.first_s(told.fast, State.CRITICAL)) - 30 * MINUTE_S

    assert ((delay_s > 0) & (delay_s <= 3 * MINUTE_S)).all(), delay_s


def test_the_first_ten_minutes_of_a_life_are_never_critical() -> None:
    age_s = polls(0.3)
    told = watched(ramp(age_s, 500), ramp(age_s, 5000))

    assert min(told.first_s(told.fast, State.CRITICAL)) > 10 * MINUTE_S
    assert max(told.first_s(told.fast, State.CRITICAL)) <= 13 * MINUTE_S
    assert max(told.first_s(told.fast, State.SUSPECT)) <= 3 * MINUTE_S


def test_growth_below_the_limit_is_kept() -> None:
    age_s = polls(1.0)
    told = watched(ramp(age_s, 90), ramp(age_s, 40, onset_s=20 * MINUTE_S))

    assert told.fast.max() <= State.SUSPECT


def test_a_sawtooth_is_never_fast_growth() -> None:
    age_s = polls(3.0)
    shapes = ((0.0, 2), (0.1, 1), (0.1, 2), (0.3, 2))
    cases = [(period_s, *shape) for period_s in (90.0, 240.0, 420.0) for shape in shapes]
    rows = [
        BASE + sawtooth(age_s, 80 * MB, period_s, jitter=jitter, seed=seed) + noise
        for period_s, jitter, seed in cases
        for noise in (white(len(age_s), 0.3 * MB if seed == 2 else 0.0, seed=seed),)
    ]
    told = tell(rows, finest=NEVER)

    assert [case for case, worst in zip(cases, told.worst, strict=True) if worst > State.SUSPECT] == []


def test_a_first_tooth_longer_than_the_limit_asks_for_is_told_and_the_next_ones_are_not() -> None:
    """Twelve minutes of 400 MB an hour are growth to anyone until they are freed."""
    age_s = polls(1.2)
    told = tell([BASE + sawtooth(age_s, 80 * MB, 12 * MINUTE_S)], finest=NEVER)

    assert told.first_s(told.fast, State.WARNING)[0] < 13 * MINUTE_S
    assert told.fast[0, 14 * 6 :].max() <= State.SUSPECT


def test_a_step_a_decline_and_what_was_seen_before_are_no_fast_growth() -> None:
    age_s = polls(1.5)
    came_back = np.where(age_s < 40 * MINUTE_S, 60 * MB, ramp(age_s, 200, onset_s=60 * MINUTE_S))
    told = watched(
        step(age_s, 200 * MB, at_s=30 * MINUTE_S),
        -ramp(age_s, 30),
        np.where(age_s < 75 * MINUTE_S, came_back, 50 * MB),
    )

    assert told.fast.max() <= State.SUSPECT


@pytest.mark.parametrize("gap_s", [60.0, 110.0, 120.0, 590.0, 600.0, 20 * MINUTE_S])
def test_growth_across_a_gap_is_not_told_and_breaks_nothing(gap_s: float) -> None:
    age_s = polls(1.0)
    jump = step(age_s, 300 * MB, at_s=40 * MINUTE_S)
    rows = [
        unseen(BASE + jump, age_s, from_s=40 * MINUTE_S - begin_s, to_s=40 * MINUTE_S - begin_s + gap_s)
        for begin_s in (0.0, 10.0, 30.0, gap_s)
    ]

    assert tell(rows, finest=NEVER).fast.max() <= State.SUSPECT


def test_a_window_with_only_its_two_ends_seen_is_no_growth() -> None:
    age_s = polls(0.5)
    told = tell([np.where(np.arange(len(age_s)) % 12 == 0, BASE + ramp(age_s, 900), np.nan)], finest=NEVER)

    assert told.fast.max() <= State.SUSPECT


def test_the_longest_growth_that_can_be_asked_for_is_looked_at_in_the_coarsest_blocks() -> None:
    rings = Rings(POLL_S, levels=3)
    slots = np.array([rings.open()])
    limits = Thresholds(growth_for_s=60 * 24 * HOUR_S)
    for i in range(700):
        rings.add(i * POLL_S, slots, np.array([BASE]))

    assert fast_growth(rings, [Series(0, 0.0)], [limits], 7000.0) == {}


def test_limits_are_each_processs_own_and_can_be_off() -> None:
    rings = Rings(POLL_S)
    slots = np.array([rings.open() for _ in range(3)])
    series = [Series(int(slot), BIRTH_T_S) for slot in slots]
    limits = [LIMITS, Thresholds(growth_bytes_per_hour=3e8), Thresholds(enabled=False)]
    age_s = polls(0.5)
    for age, amount in zip(age_s, BASE + ramp(age_s, 200), strict=True):
        rings.add(BIRTH_T_S + age, slots, np.full(3, amount))
    found = fast_growth(rings, series, limits, BIRTH_T_S + age_s[-1])

    assert list(found) == [slots[0]]
    breach = found[int(slots[0])]
    assert breach.state is State.WARNING
    assert breach.rate is not None
    assert breach.rate.value == pytest.approx(200e6, rel=1e-3)
    assert breach.reason.text == "floor has grown 200MB/h for 11m (100MB/h allowed)"
    assert breach.growth == pytest.approx(200e6 * 600 / 3600, rel=0.01)


def near(percents: list[float], limit_bytes: float = 1e9, limits: Thresholds = LIMITS) -> Breach | None:
    rings = Rings(POLL_S)
    slots = np.array([rings.open()])
    for i, percent in enumerate([*percents, 0.0]):
        rings.add(i * POLL_S, slots, np.array([percent * 1e7]))
    return near_limit(rings, 0, limit_bytes, limits)


@pytest.mark.parametrize(
    ("percents", "expected"),
    [
        ([79.9] * 6, None),
        ([80.0] * 6, State.WARNING),
        ([91.9] * 6, State.WARNING),
        ([92.0] * 6, State.CRITICAL),
        ([120.0] * 6, State.CRITICAL),
        ([95.0] * 5, None),
        ([95.0] * 3 + [70.0] + [95.0] * 3, None),
        ([95.0] * 3 + [85.0] + [95.0] * 3, State.WARNING),
        ([95.0] * 3 + [float("nan")] + [96.0] * 3, None),
        ([70.0] + [95.0] * 6, State.CRITICAL),
    ],
    ids=[
        "below", "at", "just below critical", "critical", "over the limit", "not long enough",
        "came down", "critical not all the time", "not always seen", "long enough",
    ],
)  # fmt: skip
def test_near_limit(percents: list[float], expected: State | None) -> None:
    breach = near(percents)

    assert (breach and breach.state) == expected


def test_near_limit_says_what_is_allowed() -> None:
    warning, critical = near([85.0] * 6), near([95.0] * 6)

    assert warning is not None
    assert critical is not None
    assert warning.reason.text == "memory is at 85 % of 1GB (80 % allowed)"
    assert critical.reason.text == "memory is at 95 % of 1GB (92 % allowed)"


def test_near_limit_is_silent_without_a_limit_and_when_off() -> None:
    assert near([95.0] * 6, limit_bytes=0.0) is None
    assert near([95.0] * 6, limits=Thresholds(enabled=False)) is None


@pytest.mark.parametrize(
    ("times", "limits", "expected"),
    [
        (0.0, LIMITS, None),
        (10.0, LIMITS, None),
        (10.1, LIMITS, "the collector ran 10 times a minute (10 allowed)"),
        (45.0, LIMITS, "the collector ran 45 times a minute (10 allowed)"),
        (45.0, Thresholds(collections_per_minute=50.0), None),
        (45.0, Thresholds(enabled=False), None),
    ],
)
def test_often_collected(times: float, limits: Thresholds, expected: str | None) -> None:
    breach = often_collected(times, limits)

    assert (breach and breach.reason.text) == expected
    assert breach is None or breach.state is State.WARNING
