"""The median of what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.median import median


@given(st.lists(st.floats(-1e15, 1e15) | st.just(math.nan), min_size=1, max_size=30))
def test_it_is_numpys_without_what_was_not_seen(values: list[float]) -> None:
    seen = [value for value in values if not math.isnan(value)]

    told = median(values)

    assert math.isnan(told) if not seen else told == pytest.approx(float(np.median(seen)))


def test_of_nothing_it_is_nothing() -> None:
    assert math.isnan(median([]))
