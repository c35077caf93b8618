"""A series as one line of text: a character a stretch of time, as high as its mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-:=+*#"
"""For terminals that cannot show the blocks."""


def columns(t_s: Floats, values: Floats, width: int) -> Floats:
    """Return the means of `width` equal stretches of time; NaN where nothing was seen."""
    place = column_of(t_s, t_s, width)
    seen = np.isfinite(values)
    count = np.bincount(place[seen], minlength=width)
    total = np.bincount(place[seen], weights=values[seen], minlength=width)
    means: Floats = np.divide(total, count, out=np.full(width, np.nan), where=count > 0)
    return means


def column_of(t_s: Floats, moments_s: Floats, width: int) -> NDArray[np.intp]:
    """Return in which of `width` columns moments lie, the first and the last for those outside."""
    span_s = max(float(t_s[-1] - t_s[0]), 1e-9)
    share = (moments_s - t_s[0]) / span_s
    places: NDArray[np.intp] = np.clip((share * width).astype(np.intp), 0, width - 1)
    return places


def sparkline(means: Floats, marks: str = BLOCKS) -> str:
    """Return a mark a mean, the lowest and the highest at the ends of `marks`; a space for NaN.

    >>> sparkline(np.array([1.0, 2.0, float("nan"), 8.0]))
    '▁▂ █'
    """
    seen = means[np.isfinite(means)]
    if not len(seen):
        return " " * len(means)
    low, high = float(seen.min()), float(seen.max())
    return "".join(_mark(float(mean), low, high, marks) for mean in means)


def _mark(mean: float, low: float, high: float, marks: str) -> str:
    if not np.isfinite(mean):
        return " "
    share = (mean - low) / (high - low) if high > low else 0.0
    return marks[min(len(marks) - 1, int(share * len(marks)))]
