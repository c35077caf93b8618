from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agent.detect.rate import rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from agent.detect.rate import Rates

    Floats = NDArray[np.float64]

NAN = float("nan")
T = np.arange(120.0)
MB = 1e6
DAY_S = 86400.0

rows_of = arrays(
    np.float64,
    st.tuples(st.integers(1, 4), st.integers(8, 60)),
    elements=st.one_of(st.just(NAN), st.floats(0, 1e9)),
)


def rate_of(row: Floats, onset: int = 0, block_s: float = DAY_S) -> Rates:
    return rates(row[None, :], np.array([onset]), block_s)


def interval(found: Rates) -> tuple[float, float, float]:
    return tuple(found.estimates(1.0)[0])


def smooth(rng: np.random.Generator, phi: float, n: int = 120) -> Floats:
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = phi * noise[i - 1] + rng.normal()
    return noise


@pytest.mark.parametrize("blocks", [8, 9, 13, 31, 64, 120])
def test_a_straight_line_has_its_own_slope_to_one_percent(blocks: int) -> None:
    assert interval(rate_of(5 * MB + 3e3 * T[:blocks])) == pytest.approx((3e3, 2970.0, 3030.0))


@pytest.mark.parametrize(
    ("minutes", "share"), [(10, 0.5), (30, 0.3), (60, 0.15), (240, 0.0375), (6000, 0.01)]
)
def test_the_longer_it_was_seen_the_more_a_rate_tells_of_the_hours_to_come(
    minutes: int, share: float
) -> None:
    found = rate_of(5 * MB + 3e3 * T, block_s=60.0 * minutes / 120)

    assert interval(found) == pytest.approx((3e3, 3e3 * (1 - share), 3e3 * (1 + share)))


def test_the_rate_is_that_after_the_onset() -> None:
    row = 100 * MB + 2e4 * np.maximum(0, T - 40)

    assert rate_of(row, 40).value[0] == pytest.approx(2e4)


def test_where_the_line_stands_now_is_told() -> None:
    found = rate_of(100 * MB + 2e4 * T)

    assert (found.level[0], found.blocks[0]) == (pytest.approx(100 * MB + 2e4 * 119), 120)


def test_gaps_leave_the_slope_of_a_line() -> None:
    row = 100 * MB + 2e4 * T
    row[[0, 3, 4, 5, *range(30, 55), 118]] = NAN

    assert rate_of(row).value[0] == pytest.approx(2e4)


def test_what_was_hardly_seen_may_be_nothing_or_twice_as_much() -> None:
    row = np.full(100, NAN)
    row[[0, 1, 97, 98, 99]] = 100 * MB + 2e4 * np.array([0, 1, 97, 98, 99])

    assert interval(rate_of(row)) == pytest.approx((2e4, 0.0, 4e4), abs=1e-3)


def test_nothing_seen_is_no_growth() -> None:
    assert interval(rate_of(np.full(64, NAN))) == (0.0, 0.0, 0.0)


def test_a_leak_under_a_warm_up_is_told_at_the_pace_it_keeps() -> None:
    warmed = 1e4 * T + 4 * MB * (1 - np.exp(-T / 8))
    found = rate_of(warmed)

    assert found.value[0] == pytest.approx(1e4, rel=0.05)
    assert found.low[0] <= 1e4 <= found.high[0]
    assert found.blocks[0] < 120


def test_a_leak_that_gets_faster_is_not_told_by_its_newest_blocks_alone() -> None:
    assert rate_of(100.0 * T**2).blocks[0] == 120


def test_what_has_slowed_may_slow_once_more() -> None:
    found = rate_of(np.where(T < 60, 3e4 * T, 18e5 + 1e4 * (T - 60)))

    assert found.value[0] == pytest.approx(1e4, rel=0.01)
    assert found.low[0] < 0.5 * found.value[0]
    assert found.high[0] < 1.3 * found.value[0]


@pytest.mark.parametrize(
    ("swing", "rate"),
    [
        (lambda phase: 5e4 * (((T + phase) / 40) % 1), 2e3),
        (lambda phase: 2e3 * 30 * np.floor((T + phase) / 30) - 2e3 * T, 2e3),
        (lambda phase: 4e4 * np.sin(2 * np.pi * (T + phase) / 50), 2e3),
    ],
    ids=["sawtooth", "bursts", "daily cycle"],
)
def test_swings_that_were_hardly_seen_twice_widen_the_interval(
    swing: Callable[[int], Floats], rate: float
) -> None:
    found = [rate_of(rate * T + swing(phase)) for phase in range(0, 60, 3)]

    held = [one.low[0] <= rate <= one.high[0] for one in found]
    assert np.mean(held) >= 0.85


def test_a_pause_of_a_rise_by_bursts_is_not_sure_of_itself() -> None:
    found = rate_of(np.minimum(1e6 * np.floor(T / 17), 5e6))

    assert found.value[0] < 0.5 * 1e6 / 17
    assert found.high[0] - found.value[0] > 0.3 * 1e6 / 17


@pytest.mark.parametrize(
    ("phi", "blocks"), [(0.0, 8), (0.0, 32), (0.0, 120), (0.6, 8), (0.6, 32), (0.6, 120), (0.9, 120)]
)
def test_about_nine_of_ten_intervals_hold_the_rate_however_alike_neighbours_are(
    phi: float, blocks: int
) -> None:
    rng = np.random.default_rng(20)
    rows = np.stack([T[:blocks] + 20 * smooth(rng, phi)[-blocks:] for _ in range(400)])
    found = rates(rows, np.zeros(400, dtype=np.intp), DAY_S)

    held = np.mean((found.low <= 1.0) & (found.high >= 1.0))
    assert 0.8 <= held <= 0.96


def test_many_rows_are_told_as_one_by_one() -> None:
    rng = np.random.default_rng(7)
    rows = 1e4 * T + rng.normal(0, 1e5, (20, 120)).cumsum(axis=1)
    rows[rng.random(rows.shape) < 0.1] = NAN
    onsets = rng.integers(0, 112, 20)
    together = rates(rows, onsets, DAY_S)

    for k in range(20):
        assert interval(rate_of(rows[k], int(onsets[k]))) == pytest.approx(tuple(together.estimates(1.0)[k]))


@given(rows_of, st.data())
def test_any_row_has_a_finite_interval_around_its_rate(rows: Floats, data: st.DataObject) -> None:
    onset = data.draw(arrays(np.intp, len(rows), elements=st.integers(0, rows.shape[1] - 1)))
    found = rates(rows, onset, DAY_S)

    assert np.isfinite([found.value, found.low, found.high, found.level]).all()
    assert (found.low <= found.value).all()
    assert (found.value <= found.high).all()


@given(st.floats(-1e9, 1e9), st.integers(1, 120))
def test_a_constant_row_does_not_grow(level: float, blocks: int) -> None:
    assert interval(rate_of(np.full(blocks, level))) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)


@given(rows_of, st.floats(0.01, 100), st.floats(-1e9, 1e9))
def test_scaling_scales_the_rate_and_shifting_leaves_it(rows: Floats, scale: float, shift: float) -> None:
    onset = np.zeros(len(rows), dtype=np.intp)
    straight, moved = rates(rows, onset, DAY_S), rates(scale * rows + shift, onset, DAY_S)

    # Which stretch is told can hang on the last bit where two of them are just as fast.
    same = straight.blocks == moved.blocks
    for before, after in zip(
        (straight.value, straight.low, straight.high), (moved.value, moved.low, moved.high), strict=True
    ):
        assert after[same] == pytest.approx(scale * before[same], rel=1e-5, abs=10.0 * max(1.0, scale))
