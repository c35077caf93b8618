"""Rises that exist on paper only: `measures(fall=5e6)` differs from a plain leak in what is named."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.measures import Measures, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR_S = 3600.0
_LEAK = {
    "counts": False,
    "block_s": 80.0,
    "lasted_s": 2 * HOUR_S,
    "growth": 20e6,
    "rate_per_hour": 12.5e6,
    "base": 100e6,
    "significance": 9.0,
    "least_step": 0.9,
    "newest_step": 0.9,
    "latest_speed": 0.9,
    "end_speed": 1.0,
    "end_speed_error": 0.1,
    "bend": 0.1,
    "fall": 0.5e6,
    "jumps_share": 0.1,
    "age_s": 6 * HOUR_S,
    "finer_speed": 0.9,
    "end": 120e6,
    "peak": 101e6,
    "above_s": 2 * HOUR_S,
    "slope_before": 0.0,
    "fall_before": 0.0,
    "quiet_s": 4 * HOUR_S,
    "headroom": np.inf,
    "load_share": 0.0,
    "unloaded": False,
    "more_work": 0.0,
    "work_rise": 0.0,
}
"""Two hours of growth after four hours of quiet, neither urgent nor straight."""
FROM_START = {"quiet_s": 0.0, "lasted_s": 6 * HOUR_S, "above_s": 6 * HOUR_S}
"""What makes of it one that has grown since the start, for just as long as is needed."""


def measures(**different: float | Sequence[float]) -> Measures:
    """Return a rise, or as many as values are given."""
    columns = {name: np.atleast_1d(different.get(name, value)) for name, value in _LEAK.items()}
    if unknown := different.keys() - columns.keys():
        raise ValueError(f"nothing of a rise: {unknown}")
    length = max(len(column) for column in columns.values())
    rows = {name: np.broadcast_to(column, (length,)) for name, column in columns.items()}
    shape = Shape(**{one.name: rows[one.name] for one in fields(Shape)})
    return Measures(shape=shape, **{one.name: rows[one.name] for one in fields(Measures) if one.name in rows})
