"""How long a rise must last, and what makes that shorter or longer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rises import FROM_START, HOUR_S, measures

from agent.detect import rules

MINUTE_S = 60.0


def needed_s(**different: Any) -> list[float]:
    return measures(**different).needed_s.tolist()


@pytest.mark.parametrize(
    ("different", "expected_s"),
    [
        ({}, 2 * HOUR_S),
        ({"quiet_s": 8 * HOUR_S}, HOUR_S),
        ({"quiet_s": 1000 * HOUR_S}, 600.0),
        ({"rate_per_hour": 25e6}, HOUR_S),
        ({"rate_per_hour": 6.25e6}, 4 * HOUR_S),
        ({"rate_per_hour": 2.5e6, "quiet_s": 8 * HOUR_S}, 4 * HOUR_S),
        ({"rate_per_hour": 1e6}, 100 / 6 * HOUR_S),
        ({"rate_per_hour": 1e4, "quiet_s": 0.0}, 7 * 24 * HOUR_S),
        ({"rate_per_hour": 200e6}, 7.5 * MINUTE_S * 4 / 3),
        ({"rate_per_hour": 200e6, "quiet_s": 2 * HOUR_S}, 15 * MINUTE_S),
        ({"base": 50e6, "rate_per_hour": 16e6}, HOUR_S),
        ({"headroom": 50e6}, HOUR_S),
        ({"headroom": 400e6}, 2 * HOUR_S),
        ({"headroom": -5e6, "quiet_s": 2 * HOUR_S}, 15 * MINUTE_S),
        ({"bend": 0.025}, HOUR_S),
        ({"bend": 0.0}, 0.2 * HOUR_S),
        ({"bend": 0.5}, 2 * HOUR_S),
        ({"counts": True, "base": 10.0, "rate_per_hour": 16.0, "growth": 32.0}, HOUR_S),
        ({"fall_before": 2e6}, 2 * HOUR_S),
        ({"fall_before": 4e6}, 2 * HOUR_S / 0.7),
        ({"fall_before": 9e6}, 6 * HOUR_S),
        ({"quiet_s": 1.33 * HOUR_S}, 6 * HOUR_S),
        ({"quiet_s": 1.34 * HOUR_S}, 8 / 1.34 * HOUR_S),
        ({"quiet_s": 0.0, "age_s": 20 * HOUR_S}, 12 * HOUR_S),
        ({"load_share": 0.69}, 2 * HOUR_S),
        ({"load_share": 0.7}, 26 * HOUR_S),
        ({"load_share": 1.0, "quiet_s": 0.0, "age_s": 60 * HOUR_S}, 36 * HOUR_S),
        ({"load_share": 1.0, "headroom": 299e6}, 2 * HOUR_S),
        ({"load_share": 1.0, "headroom": 301e6}, 26 * HOUR_S),
        ({"work_rise": 1.74}, 2 * HOUR_S),
        ({"work_rise": 1.75}, 26 * HOUR_S),
        ({"work_rise": 9.0, "unloaded": True}, 2 * HOUR_S),
        ({"work_rise": 9.0, "headroom": 299e6}, 2 * HOUR_S),
        ({"work_rise": 9.0, "quiet_s": 25.9 * HOUR_S}, 26 * HOUR_S),
        ({"work_rise": 9.0, "quiet_s": 26 * HOUR_S}, 8 / 26 * HOUR_S),
        (FROM_START | {"work_rise": 1.59}, 6 * HOUR_S),
        (FROM_START | {"work_rise": 1.6}, 26 * HOUR_S),
        ({"more_work": 1.5}, 2 * HOUR_S),
        ({"more_work": 1.6}, 2.5 * HOUR_S),
        ({"more_work": 1.99}, 6 * HOUR_S),
        ({"more_work": 1.99, "unloaded": True}, 2 * HOUR_S),
    ],
    ids=lambda value: (
        " ".join(f"{name}={v:g}" for name, v in value.items()) if isinstance(value, dict) else ""
    ),
)
def test_how_long_a_rise_must_last(different: dict[str, Any], expected_s: float) -> None:
    assert needed_s(**different) == pytest.approx([expected_s])


FACTORS = st.floats(1.0, 1000.0)


@settings(max_examples=50, deadline=None)
@given(FACTORS, st.floats(1e6, 1e9), st.floats(0.0, 0.3), st.floats(0.0, 100.0))
def test_more_quiet_more_urgency_and_less_bend_never_need_more_time(
    factor: float, rate: float, bend: float, quiet_h: float
) -> None:
    quiet_s = quiet_h * HOUR_S
    plain, *easier = needed_s(
        rate_per_hour=[rate, rate * factor, rate, rate],
        bend=[bend, bend, bend / factor, bend],
        quiet_s=[quiet_s, quiet_s, quiet_s, quiet_s * factor],
    )

    assert max(easier) <= plain * (1 + 1e-9)
    assert min(easier) >= rules.MIN_RISE_S


@settings(max_examples=50, deadline=None)
@given(FACTORS, st.floats(0.1, 100.0))
def test_amounts_of_any_size_need_the_same_time(factor: float, quiet_h: float) -> None:
    names = {"growth": 20e6, "rate_per_hour": 12.5e6, "base": 100e6, "fall_before": 4e6, "headroom": 50e6}
    small, large = (
        needed_s(quiet_s=quiet_h * HOUR_S, **{name: v * times for name, v in names.items()})
        for times in (1.0, factor)
    )

    assert large == pytest.approx(small)


def test_growth_counts_only_since_it_passed_the_peak_where_nothing_was_quiet() -> None:
    settled, from_start = measures(above_s=60.0), measures(**FROM_START | {"above_s": 60.0})

    assert settled.counted_s.tolist() == [2 * HOUR_S]
    assert from_start.counted_s.tolist() == [60.0]


def test_the_slower_of_both_scales_is_the_newest_speed() -> None:
    several = measures(latest_speed=[0.9, 0.2], finer_speed=[0.1, 0.8])

    assert several.speed.tolist() == [0.1, 0.2]


def test_some_rows_can_be_picked() -> None:
    two = measures(end=[1.0, 2.0, 3.0], lasted_s=[10.0, 20.0, 30.0]).of(np.array([2, 0]))

    assert (two.end.tolist(), two.shape.lasted_s.tolist()) == ([3.0, 1.0], [30.0, 10.0])
