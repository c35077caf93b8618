from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.detect.forecast import exhaustion_hours, standings
from agent.detect.rate import rates
from agent.model import Estimate

HOUR_S = 3600.0
NAN = float("nan")


@pytest.mark.parametrize(
    ("current", "limit", "rate", "observed_h", "expected"),
    [
        (400.0, 1000.0, (10.0, 8.0, 12.0), 6e9, (60.0, 50.0, 75.0)),
        (400.0, 1000.0, (10.0, 0.0, 12.0), 6e9, (60.0, 50.0, math.inf)),
        (400.0, 1000.0, (10.0, -5.0, 12.0), 6e9, (60.0, 50.0, math.inf)),
        (400.0, 1000.0, (10.0, 8.0, 9.0), 6e15, (60.0, 60.0, 75.0)),
        (400.0, 1000.0, (10.0, 10.0, 10.0), 240.0, (60.0, 60.0 / 1.125, 60.0 / 0.875)),
        (400.0, 1000.0, (10.0, 10.0, 10.0), 60.0, (60.0, 60.0 / 1.25, 60.0 / 0.75)),
        (400.0, 1000.0, (10.0, 10.0, 10.0), 6.0, (60.0, 60.0 / 1.5, 60.0 / 0.5)),
        (400.0, 1000.0, (10.0, 4.0, 16.0), 60.0, (60.0, 60.0 / 1.65, 60.0 / 0.35)),
        (1200.0, 1000.0, (10.0, 8.0, 12.0), 9.0, (0.0, 0.0, 0.0)),
        (400.0, 1000.0, (10.0, 8.0, 12.0), 5.99, None),
        (400.0, None, (10.0, 8.0, 12.0), 9.0, None),
        (400.0, 1000.0, (0.0, -1.0, 1.0), 9.0, None),
        (400.0, 1000.0, (-10.0, -12.0, -8.0), 9.0, None),
        (400.0, 1000.0, (10.0, 8.0, 12.0), 0.0, None),
    ],
    ids=[
        "an interval", "open: may not grow", "open: may shrink",
        "never later than the estimate", "a quarter as long as observed",
        "as long again", "as far as the evidence carries", "both errors",
        "full already", "further than it carries", "no limit", "no growth", "shrinks", "nothing observed",
    ],
)  # fmt: skip
def test_exhaustion_hours(
    current: float,
    limit: float | None,
    rate: tuple[float, float, float],
    observed_h: float,
    expected: tuple[float, float, float] | None,
) -> None:
    found = exhaustion_hours(current, limit, Estimate(*rate), observed_h * HOUR_S)

    assert found == (None if expected is None else pytest.approx(expected))


RATE = Estimate(10.0, 8.0, 12.0)


@pytest.mark.parametrize(
    ("current", "standing", "expected"),
    [
        (400.0, (500.0, 440.0, 640.0), (50.0, 30.0, 70.0)),
        (700.0, (500.0, 440.0, 640.0), (50.0, 25.0, 70.0)),
        (400.0, (500.0, 440.0, 1640.0), (50.0, 0.0, 70.0)),
        (400.0, (1100.0, 440.0, 1640.0), (0.0, 0.0, 70.0)),
        (1000.0, (500.0, 440.0, 640.0), (0.0, 0.0, 0.0)),
    ],
    ids=[
        "from the highest peak to the lowest", "the newest sample is the highest",
        "a peak may reach it at any moment", "most peaks may", "reached",
    ],
)  # fmt: skip
def test_peaks_reach_the_limit_before_the_floors(
    current: float, standing: tuple[float, float, float], expected: tuple[float, float, float]
) -> None:
    found = exhaustion_hours(current, 1000.0, RATE, 1e15, Estimate(*standing))

    assert found == pytest.approx(expected)


def test_samples_stand_as_far_above_the_line_as_their_peaks_did() -> None:
    floors = 100.0 + 2.0 * np.arange(40.0)
    peaks = floors + np.tile([5.0, 9.0, 30.0, 9.0], 10)

    [standing] = standings(rates(floors[None], np.array([0]), 86400.0), peaks[None])

    assert standing == pytest.approx((178.0 + 9.0, 178.0 + 5.0, 178.0 + 30.0))


def test_peaks_before_the_stretch_that_is_told_are_left_out() -> None:
    floors = np.full(60, 100.0)
    floors[20:] += 2.0 * np.arange(40)
    peaks = floors + np.where(np.arange(60) < 20, 500.0, 1.0)

    [standing] = standings(rates(floors[None], np.array([20]), 86400.0), peaks[None])

    assert standing == pytest.approx((179.0, 179.0, 179.0))


def test_without_any_peak_the_line_is_what_stands() -> None:
    floors = 100.0 + 2.0 * np.arange(40.0)

    [standing] = standings(rates(floors[None], np.array([0]), 86400.0), np.full((1, 40), NAN))

    assert standing == pytest.approx((178.0, 178.0, 178.0))


amounts = st.floats(0, 1e6)
spans = st.lists(st.floats(0.1, 1e4), min_size=3, max_size=3).map(sorted)
levels = st.lists(amounts, min_size=3, max_size=3).map(sorted)


def ordered(three: list[float]) -> Estimate:
    return Estimate(three[1], three[0], three[2])


@given(amounts, amounts, spans, levels)
def test_the_estimate_lies_in_its_interval_and_nothing_is_in_the_past(
    current: float, limit: float, rate: list[float], standing: list[float]
) -> None:
    found = exhaustion_hours(current, limit, ordered(rate), 1e12, ordered(standing))

    assert found is not None
    assert 0.0 <= found.low <= found.value <= found.high


@given(amounts, st.lists(amounts, min_size=2, max_size=5), spans, levels, st.floats(1, 1e12))
def test_a_higher_limit_is_never_reached_sooner(
    current: float, limits: list[float], rate: list[float], standing: list[float], observed_s: float
) -> None:
    told = [
        exhaustion_hours(current, limit, ordered(rate), observed_s, ordered(standing))
        for limit in sorted(limits)
    ]

    foretold = [one for one in told if one is not None]
    assert told[: len(foretold)] == foretold
    for lower, higher in pairwise(foretold):
        assert all(a <= b * (1 + 1e-12) for a, b in zip(lower, higher, strict=True))


@given(amounts, amounts, spans, levels, st.floats(0.01, 100))
def test_the_unit_of_memory_does_not_matter(
    current: float, limit: float, rate: list[float], standing: list[float], unit: float
) -> None:
    assume(abs(limit - current) > 1e-6)
    told = exhaustion_hours(current, limit, ordered(rate), 1e12, ordered(standing))
    in_units = exhaustion_hours(
        unit * current,
        unit * limit,
        ordered([unit * one for one in rate]),
        1e12,
        ordered([unit * one for one in standing]),
    )

    assert told is not None
    assert in_units == pytest.approx(told, rel=1e-6, abs=1e-6)
