"""What was before a rise: how high, how quiet, and what came back down."""

from __future__ import annotations

import numpy as np
import pytest
from series import MB, MINUTE_S, POLL_S

from agent.detect import floors
from agent.detect.series import Cohort, Series
from agent.history.rings import Rings

SLOT = np.array([0])
RATE = 20 * MB / 3600.0


def filled(values: list[float]) -> Rings:
    """Return rings that were told a value every ten seconds since the clock began, and then nothing more."""
    rings = Rings(POLL_S, levels=6, capacity=1)
    rings.open()
    for i, value in enumerate([*values, np.nan]):
        rings.add(i * POLL_S, SLOT, np.array([value]))
    return rings


def quiet_minutes(values: list[float], onset_s: float, since_s: float = 0.0) -> float:
    """Return for how long nothing grew before a rise of 20 MB at 20 MB an hour from 100 MB."""
    past = filled(values).past(SLOT)
    found = floors.quiet_s(
        floors.floors_between(past, np.array([since_s]), np.array([onset_s])),
        past.block_s,
        base=np.array([100 * MB]),
        rate_per_s=np.array([RATE]),
        growth=np.array([20 * MB]),
    )
    return float(found[0]) / MINUTE_S


FLAT = [100 * MB] * 96
"""Sixteen minutes."""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FLAT, 16.0),
        ([90 * MB] * 48 + FLAT[:48], 8.0),
        ([104 * MB] * 48 + FLAT[:48], 8.0),
        ([94.1 * MB] * 48 + [102.9 * MB] * 48, 0.0),
        ([*FLAT[:40], *[float("nan")] * 16, *FLAT[:40]], 14.0),
        ([100 * MB + RATE * POLL_S * (i - 95) for i in range(96)], 0.0),
        ([100 * MB + 0.2 * RATE * POLL_S * (i - 95) for i in range(96)], 16.0),
        ([float("nan")] * 96, 0.0),
        (FLAT[:3] + [50 * MB] * 93, 0.0),
    ],
    ids=[
        "all",
        "began lower",
        "began higher",
        "rises within the band",
        "a gap does not break it",
        "rises as fast",
        "rises a fifth as fast",
        "unseen",
        "ends outside",
    ],
)
def test_how_long_it_was_quiet(values: list[float], expected: float) -> None:
    assert quiet_minutes(values, onset_s=960.0) == pytest.approx(expected, abs=3.0)


def test_only_what_is_judged_and_before_the_onset_is_quiet_time() -> None:
    assert quiet_minutes(FLAT, onset_s=640.0) == pytest.approx(640 / 60, abs=0.7)
    assert quiet_minutes(FLAT, onset_s=960.0, since_s=640.0) == pytest.approx(320 / 60, abs=0.7)
    assert quiet_minutes(FLAT, onset_s=30.0) == 0.0


def test_the_highest_sample_and_the_deepest_fall_between_two_moments() -> None:
    past = filled([5.0, 9.0, 2.0, 8.0, 1.0, 7.0]).past(SLOT)
    since, until = np.array([10.0]), np.array([40.0])

    assert floors.highest_sample(past, since, until).tolist() == [9.0]
    assert floors.deepest_fall_at_any_level(floors.floors_between(past, since, until)).tolist() == [7.0]
    assert floors.highest_sample(past, until, since).tolist() == [-np.inf]
    assert floors.deepest_fall_at_any_level(floors.floors_between(past, until, since)).tolist() == [0.0]


def test_the_first_tenth_of_a_life_is_not_judged_but_at_most_an_hour() -> None:
    births = np.array([0.0, 90_000.0, 99_000.0, 101_000.0])

    assert floors.judged_from_s(births, 100_000.0).tolist() == [3600.0, 91_000.0, 99_100.0, 101_000.0]


def test_start_up_is_taken_out_of_the_floors() -> None:
    rings = filled(FLAT)
    judged = floors.judged_floors(rings, 0, Cohort([Series(0, 0.0)]), 960.0)

    assert int(np.isnan(judged[0]).sum() - np.isnan(rings.floors(0, SLOT)).sum()) == 10
