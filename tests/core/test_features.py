"""The features: 0 where nothing speaks against a leak, and lower the more does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rises import FROM_START, HOUR_S, measures

from agent.detect import features, rules

IDEAL: dict[str, Any] = {
    "least_step": 1.0,
    "newest_step": 1.0,
    "latest_speed": 1.0,
    "finer_speed": 1.0,
    "significance": 100.0,
    "bend": 0.0,
    "fall": 0.0,
}
"""What is better about the plainest of leaks than about that of `rises`."""
OF_SHAPE = {
    "least_step": 1,
    "newest_step": 1,
    "significance": 1,
    "end_speed": 1,
    "end_speed_error": 1,
    "fall": -1,
    "bend": -1,
    "jumps_share": -1,
}
OF_PAST = {
    "latest_speed": 1,
    "finer_speed": 1,
    "lasted_s": 1,
    "end": 1,
    "peak": -1,
    "slope_before": -1,
    "age_s": -1,
    "fall_before": -1,
    "quiet_s": 1,
    "load_share": -1,
    "more_work": -1,
    "work_rise": -1,
}
"""What speaks for a leak (1) or against it (-1) as it grows."""
ALL = st.floats(-1e12, 1e12) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0])


def named(**different: Any) -> dict[str, list[float]]:
    rise = measures(**IDEAL | different)
    table = np.concatenate([features.of_shape(rise.shape), features.of_past(rise)], axis=1)
    return dict(zip(features.NAMES, table.T.tolist(), strict=True))


def test_nothing_speaks_against_the_plainest_leak() -> None:
    assert named(quiet_s=100 * HOUR_S) == {
        name: [features.MOST if name == "mature" else 0.0] for name in features.NAMES
    }


@pytest.mark.parametrize(
    ("different", "lowered"),
    [
        ({"least_step": 0.3}, {"even": -0.4}),
        ({"newest_step": 0.6}, {"going": -0.3}),
        ({"newest_step": 0.4}, {"going": -0.5, "gate": -1.0}),
        ({"fall": 5e6}, {"keeps": -0.25}),
        ({"fall": 7e6}, {"keeps": -0.35, "gate": -1.0}),
        ({"jumps_share": 0.5}, {"jumps": -0.2}),
        ({"jumps_share": 0.75}, {"jumps": -0.45, "gate": -1.0}),
        ({"jumps_share": 0.75, "block_s": 600.0}, {"jumps": -0.45}),
        ({"end_speed": 0.5, "end_speed_error": 0.1}, {"slowing": -0.2355}),
        ({"significance": 8.0}, {"clear": -1.0}),
        ({"bend": 0.13}, {"straight": -0.1}),
        ({"growth": 3e6, "end": 103e6, "fall": 0.0, "peak": 100e6}, {"size": -0.5}),
        ({"finer_speed": 0.6}, {"speed": -0.2}),
        ({"peak": 116e6}, {"high": -0.1}),
        ({"peak": 116e6, "lasted_s": HOUR_S}, {"high": -0.1, "gate_past": -1.0}),
        ({"slope_before": 3.0}, {}),
        ({"quiet_s": 0.25 * HOUR_S}, {"young": -0.6781, "mature": -1.5}),
        (
            FROM_START | {"lasted_s": 3 * HOUR_S, "slope_before": 2.0, "age_s": 6 * HOUR_S},
            {"young": -1.0, "mature": -1.5, "before": -1.0},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_each_consideration_lowers_its_own_feature(
    different: dict[str, Any], lowered: dict[str, float]
) -> None:
    settled = {"quiet_s": 100 * HOUR_S}
    found, plain = named(**settled | different), named(**settled)
    changed = {name: found[name][0] - plain[name][0] for name in found if found[name] != plain[name]}

    assert changed == pytest.approx(lowered, abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted((OF_SHAPE | OF_PAST).items())),
    st.floats(0, 1.0),
    st.floats(0, 1.0),
    st.sampled_from([{}, FROM_START, {"age_s": 30 * HOUR_S}, {"fall": 6e6, "bend": 0.04}]),
)
def test_more_that_speaks_against_a_leak_never_raises_the_sum(
    moved: tuple[str, int], one: float, other: float, around: dict[str, Any]
) -> None:
    name, sign = moved
    unit = {"end": 1.5e8, "peak": 1.5e8, "fall": 2e7, "fall_before": 2e7, "significance": 100.0}.get(
        name, 2.0
    )
    unit = 50 * HOUR_S if name.endswith("_s") else unit
    low, high = sorted((one * unit, other * unit), reverse=sign < 0)
    values = named(**around | {name: [low, high]})

    for feature, (worse, better) in values.items():
        assert worse <= better + 1e-9, feature


@settings(max_examples=60, deadline=None)
@given(st.lists(ALL, min_size=25, max_size=25), st.booleans())
def test_features_are_bounded_whatever_is_measured(values: list[float], counts: bool) -> None:  # noqa: FBT001 - drawn
    names = [*OF_SHAPE, *OF_PAST, "growth", "rate_per_hour", "base", "above_s", "headroom", "block_s"]
    with np.errstate(all="ignore"):
        found = named(counts=counts, **dict(zip(names, values, strict=False)))

    for name, (value,) in found.items():
        assert -15.0 <= value <= (features.MOST if name == "mature" else 0.0), name


def test_the_least_growth_of_bytes_and_of_counts_weigh_the_same() -> None:
    bytes_ = named(growth=rules.MIN_GROWTH_BYTES)["size"]
    counts = named(growth=rules.MIN_GROWTH_COUNT, counts=True)["size"]

    assert bytes_ == counts == [-1.5]
