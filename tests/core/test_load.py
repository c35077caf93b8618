"""What of a rise its load explains, and what is left of the floors without it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import BASE, BIRTH_T_S, HOUR_S, MB

from agent.detect import load, rules
from agent.detect.leak import LeakDetector
from agent.detect.options import DetectOptions
from agent.detect.series import Series
from agent.history.rings import Rings
from agent.model import State

NAN = float("nan")
POLL_S = 600.0
HOURS = np.arange(0, 72, POLL_S / HOUR_S)
DAILY = 1.0 - 0.8 * np.cos(2 * np.pi * HOURS / 24)
"""CPU seconds a block, over three days from midnight on."""
MORNING = slice(0, 72)
"""Twelve hours in which the load rises."""


def test_a_load_that_rises_with_the_memory_explains_all_of_it() -> None:
    assert load.explained(BASE + 50 * MB * DAILY[MORNING], DAILY[MORNING]) > 0.99


def test_a_leak_under_a_daily_load_is_not_explained() -> None:
    leak = BASE + 5 * MB * HOURS

    assert load.explained(leak, DAILY) == 0.0
    assert load.explained(leak[: 72 + 36], DAILY[: 72 + 36]) < rules.LOAD_SHARE


@pytest.mark.parametrize(
    "loads",
    [np.ones(72), DAILY[72:144], 1.0 + 0.19 * np.arange(72) / 71, np.where(np.arange(72) < 67, NAN, 1.0)],
    ids=["flat", "falling", "rises too little", "seen too briefly"],
)
def test_such_a_load_explains_nothing(loads: np.ndarray) -> None:
    assert load.explained(BASE + MB * np.arange(72.0), loads) == 0.0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e12) | st.just(NAN), st.floats(0, 1e6) | st.just(NAN)), max_size=40))
def test_a_share_is_a_share(pairs: list[tuple[float, float]]) -> None:
    """Warnings of numpy are errors here."""
    floors, loads = np.array(pairs).reshape(-1, 2).T

    assert 0.0 <= load.explained(floors, loads) <= 1.0
    part = load.carried(floors, loads)
    assert part is None or np.isfinite(part).all()


def test_what_the_load_carries_is_taken_out_around_its_mean() -> None:
    part = load.carried(BASE + 50 * MB * DAILY + MB * HOURS, DAILY)

    assert part is not None
    assert part == pytest.approx(50 * MB * (DAILY - DAILY.mean()), rel=0.05, abs=0.5 * MB)


@pytest.mark.parametrize(
    "loads",
    [np.ones_like(HOURS), -DAILY, np.random.default_rng(1).uniform(0, 1, len(HOURS))],
    ids=["flat", "the other way round", "of no account"],
)
def test_nothing_is_taken_out_for_such_a_load(loads: np.ndarray) -> None:
    assert load.carried(BASE + 50 * MB * DAILY, loads) is None


def test_the_load_of_a_block_is_what_was_used_from_its_floor_to_the_next() -> None:
    used = np.array([[0.0, 10.0, 40.0]])

    assert load.loads_of(used, used + 5.0).tolist() == [[10.0, 30.0, 5.0]]


def watch(values: np.ndarray, used_s: np.ndarray) -> float:
    """Return after how many hours a warning is given; infinity for never."""
    rings = Rings(POLL_S, levels=8, capacity=2)
    slots = np.array([rings.open(), rings.open()])
    one = Series(0, BIRTH_T_S, load_slot=1)
    detector = LeakDetector(rings, DetectOptions())
    for i in range(len(values)):
        t_s = BIRTH_T_S + i * POLL_S
        detector.judge(rings.add(t_s, slots, np.array([values[i], used_s[i]])), [one], t_s)
        found = detector.finding(0, t_s)
        if found is not None and found.state >= State.WARNING:
            return i * POLL_S / HOUR_S
    return np.inf


def test_a_leak_under_a_daily_load_is_found_and_the_load_itself_is_none() -> None:
    hours = np.arange(0, 6 * 24, POLL_S / HOUR_S)
    daily = 1.0 - 0.8 * np.cos(2 * np.pi * hours / 24)
    sound = 300 * MB + 100 * MB * daily
    leaking = sound + 2 * MB * np.maximum(0.0, hours - 36)
    used_s = np.cumsum(daily) * POLL_S / 2

    assert watch(sound, used_s) == np.inf
    assert 36 < watch(leaking, used_s) < 36 + 72


@pytest.mark.parametrize(
    ("times", "least_h", "most_h"), [(1.0, 9.0, 13.0), (1.4, 9.0, 13.0), (3.0, 26.0, 40.0)]
)
def test_growth_that_begins_with_much_more_work_is_told_when_a_day_has_passed(
    times: float, least_h: float, most_h: float
) -> None:
    hours = np.arange(0, 48, POLL_S / HOUR_S)
    used_s = np.cumsum(np.where(hours < 8, 1.0, times)) * POLL_S / 10

    told_h = watch(100 * MB + 20 * MB * np.maximum(0.0, hours - 8), used_s)

    assert least_h < told_h < most_h
