from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detect import shape
from agent.detect.growth import find_rise

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAN = float("nan")
START = np.zeros(1, dtype=np.intp)
T = np.arange(100.0)
ROWS = st.lists(st.just(NAN) | st.floats(-1e12, 1e12), min_size=30, max_size=30)


def ends_at(row: NDArray[np.float64]) -> tuple[float, float]:
    """Return the speed at the end of the best rise of one row, and its error."""
    speed, error = shape.end_speed(row[None, :], find_rise(row[None, :]))
    return float(speed[0]), float(error[0])


def saturating(blocks: float) -> NDArray[np.float64]:
    """Return what fills ever more slowly: nine tenths within so many blocks."""
    return 100.0 * (1.0 - np.exp(-np.log(10.0) * T / blocks))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (np.arange(16.0), (1.0, 1.0)),
        (np.r_[np.zeros(8), np.full(8, 9.0)], (0.0, 0.0)),
        (np.r_[np.arange(12.0), np.full(4, 12.0)], (2.5 / 3.5, 2.5 / 3.5)),
        (np.r_[np.arange(8.0), np.full(8, 8.0)], (0.0, 0.0)),
        (np.arange(7.0), (-np.inf, -np.inf)),
        (np.arange(16.0)[::-1], (-np.inf, -np.inf)),
    ],
    ids=["straight", "one jump", "levels off", "stopped half way", "too short", "falling"],
)
def test_evenness(row: NDArray[np.float64], expected: tuple[float, float]) -> None:
    least, newest = shape.evenness(row[None, :], START)

    assert (least[0], newest[0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("row", "onset", "expected"),
    [
        ([1.0, 2.0, 3.0], 0, 0.0),
        ([1.0, 5.0, 2.0, 4.0, 3.5], 0, 3.0),
        ([9.0, 1.0, 5.0, 4.0], 1, 1.0),
        ([1.0, NAN, 5.0, NAN, 3.0], 0, 2.0),
        ([NAN, NAN], 0, 0.0),
    ],
)
def test_drawdown_is_the_deepest_fall_since_the_onset(row: list[float], onset: int, expected: float) -> None:
    assert shape.drawdown(np.array([row]), np.array([onset])).tolist() == [expected]


def test_the_peak_before_an_onset() -> None:
    rows = np.array([[1.0, 7.0, 3.0, 9.0], [NAN, NAN, 3.0, 9.0], [4.0, 5.0, 6.0, 7.0]])

    assert shape.peak_before(rows, np.array([3, 2, 0])).tolist() == [7.0, -np.inf, -np.inf]


@pytest.mark.parametrize(
    ("rise", "amount", "expected"),
    [
        (np.arange(11.0), 10.0, 0.3),
        (np.r_[np.zeros(16), np.full(17, 32.0)], 32.0, 1.0),
        (np.array([0.0, 1.0, NAN, 3.0, 3.5]), 3.5, 1.0),
        (np.array([NAN, NAN, 0.0, 1.0, 2.0]), 2.0, 0.0),
        (np.arange(11.0), 0.0, 0.0),
    ],
    ids=["even: three of ten steps", "one jump", "over a gap", "too few", "no growth"],
)
def test_jumps_share(rise: NDArray[np.float64], amount: float, expected: float) -> None:
    assert shape.jumps_share(rise[None, :], START, np.array([amount])) == pytest.approx(expected)


def test_jumps_before_the_onset_are_none_of_the_rise() -> None:
    row = np.r_[0.0, 50.0, 10.0, np.arange(10.0, 21.0)]

    assert shape.jumps_share(row[None, :], np.array([3]), np.array([10.0])) == pytest.approx(0.3)


def test_the_latest_speed_sees_a_stop_in_the_newest_eighth() -> None:
    going = np.arange(40.0)
    stopped = np.r_[np.arange(32.0), np.full(8, 32.0)]
    unseen = np.r_[np.arange(30.0), np.full(10, NAN)]
    rows = np.stack([going, stopped, unseen, going])
    speed = shape.latest_speed(rows, np.full(4, 40), np.array([1.0, 0.9, 1.0, 0.0]))

    assert speed[0] == pytest.approx(1.0)
    assert speed[1] < 0.2
    assert speed[2:].tolist() == [0.0, 0.0]


def test_the_slope_before_an_onset_is_known_only_where_enough_was_seen() -> None:
    row = np.r_[np.arange(20.0), 20.0 + 0.1 * np.arange(20)]
    rows = np.stack([row, row, np.full(40, NAN)])
    before = shape.slope_before(rows, np.array([20, 3, 3]), np.array([20.0, 3.0, 3.0]))

    assert before == pytest.approx([19.5 / 20, 0.0, 0.0])


@pytest.mark.parametrize(
    ("row", "low", "high"),
    [
        (5.0 * T, 0.999, 1.001),
        (np.where(T < 40, 7.0, 7.0 + 3.0 * (T - 40)), 0.95, 1.05),
        (T**2, 1.4, 1.7),
        (saturating(60.0), -1.0, 0.0),
        (saturating(150.0), 0.2, 0.6),
        (np.where(T % 3 == 1, NAN, 2.0 * T), 0.999, 1.001),
    ],
    ids=["straight", "straight after quiet", "steepening", "saturated", "slowing", "straight with gaps"],
)
def test_the_speed_at_the_end(row: NDArray[np.float64], low: float, high: float) -> None:
    assert low <= ends_at(row)[0] <= high


def test_the_error_of_the_speed_at_the_end_covers_it() -> None:
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(200):
        speed, error = ends_at(T + rng.normal(0, 8, len(T)))
        covered.append(abs(speed - 1) <= 1.645 * error)

    assert 0.8 <= np.mean(covered) <= 0.99


def test_noise_that_remembers_widens_the_error_of_the_speed_at_the_end() -> None:
    rng = np.random.default_rng(7)
    fresh = rng.normal(0, 5, 100)
    slow = np.convolve(rng.normal(0, 5, 119), np.full(20, 20**-0.5), "valid")

    assert ends_at(T + slow)[1] > 2 * ends_at(T + fresh)[1] > 0


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (np.r_[np.zeros(20), 2.0 * np.arange(80)], 0.0),
        (T + np.where(T % 2 == 0, 1.0, -1.0), 1 / 99),
        (saturating(60.0), 0.14),
    ],
    ids=["straight after quiet", "off by one", "bent"],
)
def test_how_far_a_rise_lies_off_its_line(row: NDArray[np.float64], expected: float) -> None:
    rows = row[None, :]

    assert shape.bend(rows, find_rise(rows)) == pytest.approx([expected], rel=0.1, abs=0.002)


def test_what_a_series_strayed_before_is_noise_and_no_bend() -> None:
    noise = np.random.default_rng(3).normal(0, 4.0, 100)
    straight = np.r_[np.zeros(70), 3.0 * np.arange(30)]
    rows = np.stack([straight + noise, straight + np.r_[np.zeros(70), noise[70:]]])

    told, alone = shape.bend(rows, find_rise(rows))

    assert told < 0.02
    assert alone > 0.04


def test_a_single_step_before_is_no_noise() -> None:
    row = np.r_[np.zeros(30), np.full(40, 6.0), 6.0 + saturating(8.0)[:30]]
    rows = row[None, :]
    rise = find_rise(rows)

    assert shape.noise_before(rows, rise) == pytest.approx([0.0], abs=0.5)
    assert shape.bend(rows, rise)[0] > 0.03


@settings(max_examples=40, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(-20, 20))
def test_a_form_is_the_same_at_any_size_and_beside_any_others(rows: list[list[float]], power: int) -> None:
    """Warnings of numpy are errors here."""
    table = np.array(rows)
    several = form(table)
    for k in range(len(table)):
        np.testing.assert_allclose(form(table[k : k + 1])[:, 0], several[:, k], rtol=1e-9, atol=1e-9)
    for values, larger in zip(several, form(table * 2.0**power), strict=True):
        assert np.isfinite(values).tolist() == np.isfinite(larger).tolist()


def form(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return everything that is measured of the rises, a line each."""
    rise = find_rise(rows)
    return np.stack(
        [
            *shape.evenness(rows, rise.onset),
            *shape.end_speed(rows, rise),
            shape.bend(rows, rise),
            shape.latest_speed(rows, rise.blocks, rise.slope),
            shape.jumps_share(rows, rise.onset, rise.growth),
            shape.slope_before(rows, rise.onset, rise.base),
            shape.drawdown(rows, rise.onset),
        ]
    )
