"""What is measured of a rise does not depend on how much of the past is read."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detect.look import Look
from agent.detect.measures import Measures
from agent.detect.series import Series
from agent.history.rings import Rings

POLL_S = 10.0
MB = 1e6
OF_THE_PAST = [one.name for one in fields(Measures) if one.name != "shape"]


def watched(seed: int) -> tuple[Rings, list[Series], float]:
    """Return the rings of three processes of different ages: quiet, noisy, swinging, some of which grow."""
    rng = np.random.default_rng(seed)
    rings, polls = Rings(POLL_S, capacity=6), int(rng.integers(60, 1500))
    births = [int(rng.integers(0, polls - 20)) for _ in range(3)]
    series = [Series(rings.open(), POLL_S * born, load_slot=rings.open()) for born in births]
    at = np.arange(polls)
    values = np.full((6, polls), np.nan)
    for k, born in enumerate(births):
        lived = at[born:] - born
        rise = rng.choice([0.0, 0.02, 0.3]) * MB * np.maximum(0, lived - int(rng.integers(0, polls)))
        swing = rng.choice([0.0, 3.0]) * MB * np.sin(lived / rng.uniform(3, 200))
        noise = rng.choice([0.0, 0.2]) * MB * rng.standard_normal(len(lived))
        values[2 * k, born:] = 100 * MB + rise + swing + noise
        values[2 * k + 1, born:] = np.cumsum(rng.uniform(0, 5, len(lived)))
    slots = np.array([slot for one in series for slot in (one.slot, one.load_slot)])
    for poll in range(polls):
        rings.add(POLL_S * poll, slots, values[:, poll])
    return rings, series, POLL_S * polls


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_coarser_levels_than_a_life_has_blocks_of_say_nothing(seed: int, level: int) -> None:
    rings, series, t_s = watched(seed)
    look = Look.at(rings, level, series, t_s)
    measured = look.measures(look.shape())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Look, "_coarsest", lambda *_: rings.levels - 1)
        wholly = look.measures(look.shape())

    for name in OF_THE_PAST:
        np.testing.assert_array_equal(getattr(measured, name), getattr(wholly, name), name)
