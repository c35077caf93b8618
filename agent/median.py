"""The median, without the masked arrays that numpy's own loads: 1.3 MB of a daemon's 45."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def median(values: NDArray[np.float64] | NDArray[np.intp] | Sequence[float]) -> float:
    """Return the median of what is not NaN; NaN of nothing."""
    numbers = np.asarray(values, dtype=np.float64).ravel()
    ordered = np.sort(numbers[~np.isnan(numbers)])
    if not len(ordered):
        return float("nan")
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)
