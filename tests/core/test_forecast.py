from __future__ import annotations

import math

import pytest

from agent.detect.forecast import exhaustion_hours
from agent.model import Estimate

HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("current", "limit", "rate", "observed_h", "expected"),
    [
        (400.0, 1000.0, (10.0, 8.0, 12.0), 3.0, (60.0, 50.0, 75.0)),
        (400.0, 1000.0, (10.0, 10.0, 10.0), 3.0, (60.0, 60.0, 60.0)),
        (400.0, 1000.0, (10.0, 0.0, 12.0), 3.0, (60.0, 50.0, math.inf)),
        (400.0, 1000.0, (10.0, -5.0, 12.0), 3.0, (60.0, 50.0, math.inf)),
        (400.0, 1000.0, (10.0, 8.0, 9.0), 3.0, (60.0, 60.0, 75.0)),
        (1200.0, 1000.0, (10.0, 8.0, 12.0), 3.0, (0.0, 0.0, 0.0)),
        (400.0, 1000.0, (10.0, 8.0, 12.0), 1.2, (60.0, 50.0, 75.0)),
        (400.0, 1000.0, (10.0, 8.0, 12.0), 1.19, None),
        (400.0, None, (10.0, 8.0, 12.0), 3.0, None),
        (400.0, 1000.0, (0.0, -1.0, 1.0), 3.0, None),
        (400.0, 1000.0, (-10.0, -12.0, -8.0), 3.0, None),
        (400.0, 1000.0, (10.0, 8.0, 12.0), 0.0, None),
    ],
    ids=[
        "an interval", "a certain rate", "open: may not grow", "open: may shrink",
        "never later than the estimate", "full already", "as far as the evidence carries",
        "further than it carries", "no limit", "no growth", "shrinks", "nothing observed",
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
