from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detect import growth

NAN = float("nan")


def hinge(blocks: int, onset: int, slope: float, base: float = 100.0) -> np.ndarray:
    return base + slope * np.maximum(0, np.arange(blocks) - onset).astype(float)


def test_a_hinge_is_found_where_it_is() -> None:
    rise = growth.find_rise(np.stack([hinge(60, 20, 3.0), hinge(60, 40, 0.5)]))

    assert rise.onset.tolist() == [20, 40]
    assert rise.slope == pytest.approx([3.0, 0.5])
    assert rise.base == pytest.approx([100.0, 100.0])
    assert rise.blocks.tolist() == [40, 20]
    assert rise.growth == pytest.approx([117.0, 9.5])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-2, 5))
def test_no_other_onset_fits_better(seed: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    row = hinge(40, int(rng.integers(0, 35)), slope) + rng.normal(0, 5, 40)
    row[rng.random(40) < 0.2] = NAN
    seen = np.isfinite(row)
    rise = growth.find_rise(row[None, :])

    errors = {}
    for onset in np.flatnonzero(seen):
        if seen[onset:].sum() >= growth.MIN_RISE_BLOCKS:
            u = np.maximum(0, np.arange(40) - onset)[seen].astype(float)
            fit, *_ = np.linalg.lstsq(np.stack([np.ones(len(u)), u], axis=1), row[seen], rcond=None)
            if fit[1] > 0:
                left = row[seen] - fit[0] - fit[1] * u
                errors[int(onset)] = (float((left**2).sum()), fit)
    if not errors:
        assert rise.slope[0] == 0.0
        return
    best = min(errors, key=lambda onset: errors[onset][0])
    assert errors[int(rise.onset[0])][0] == pytest.approx(errors[best][0])
    assert [rise.base[0], rise.slope[0]] == pytest.approx(list(errors[int(rise.onset[0])][1]), abs=1e-6)


@pytest.mark.parametrize(
    "row",
    [
        np.full(40, 5.0),
        np.full(40, NAN),
        np.arange(40, 0, -1.0),
        np.r_[np.full(33, NAN), np.arange(7.0)],
    ],
    ids=["constant", "unseen", "falling", "too short"],
)
def test_nothing_rises_in(row: np.ndarray) -> None:
    rise = growth.find_rise(row[None, :])

    assert (rise.slope[0], rise.growth[0], rise.blocks[0]) == (0.0, 0.0, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["none", "the same", "some"]))
def test_each_of_many_rises_as_it_does_alone(seed: int, unseen: str) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([hinge(40, 35 * k // 6, 2.0) + rng.normal(0, 5, 40) for k in range(6)])
    rows[:, : rng.integers(0, 20) if unseen == "the same" else 0] = NAN
    rows[(rng.random(rows.shape) < 0.1) & (unseen == "some") & (np.arange(6) % 2 == 0)[:, None]] = NAN

    together = growth.find_rise(rows)

    for k in range(6):
        alone = growth.find_rise(rows[k : k + 1])
        assert [getattr(together, one.name)[k] for one in fields(alone)] == [
            getattr(alone, one.name)[0] for one in fields(alone)
        ]


def test_only_of_what_is_large_is_it_worked_out_how_clear_it_is() -> None:
    rows = np.stack([hinge(60, 20, 3.0), hinge(60, 40, 0.5)]) + np.sin(np.arange(60))

    large = growth.find_rise(rows, np.array([100.0, 100.0]))

    assert large.significance.tolist() == [growth.find_rise(rows).significance[0], 0.0]


def test_noise_that_remembers_is_less_significant_than_noise_that_does_not() -> None:
    rng = np.random.default_rng(7)
    fresh = rng.normal(0, 1, 120)
    slow = np.convolve(rng.normal(0, 1, 139), np.full(20, 20**-0.5), "valid")
    rise = growth.find_rise(np.stack([hinge(120, 30, 0.1) + fresh, hinge(120, 30, 0.1) + slow]))

    assert rise.significance[0] > 3 * rise.significance[1] > 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 2.0, 4.0, 6.0], (2.0, 2.0, 2.0)),
        ([5.0, 5.0, 5.0], (0.0, 0.0, 0.0)),
        ([0.0, NAN, 4.0, NAN, 8.0], (2.0, 2.0, 2.0)),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 60.0], (1.0, 1.0, 11.8)),
    ],
    ids=["straight", "flat", "gaps keep their time", "one outlier moves only the interval"],
)
def test_theil_sen(values: list[float], expected: tuple[float, float, float]) -> None:
    assert growth.theil_sen(np.array(values)) == pytest.approx(expected)


def test_a_slope_needs_three_values() -> None:
    with pytest.raises(ValueError, match="three values"):
        growth.theil_sen(np.array([1.0, NAN, 2.0]))


def test_the_interval_holds_the_true_slope_most_of_the_time() -> None:
    rng = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        found = growth.theil_sen(2.0 * np.arange(30) + rng.normal(0, 5, 30))
        assert found.low <= found.value <= found.high
        held += found.low <= 2.0 <= found.high

    assert 0.85 <= held / 200 <= 0.98
