"""Growth of many series at once: where a rise began and how steep it is.

Every function takes rows of block floors, shape (series, blocks), oldest first, NaN where nothing was seen,
and works on all rows together. Time is counted in blocks; the caller knows how long a block is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from agent.median import median
from agent.model import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Smalls = NDArray[np.int16]
    Bools = NDArray[np.bool_]

MIN_RISE_BLOCKS = 8
"""A rise is judged from so many blocks on: quarters of two blocks each."""
MAX_CORRELATION = 0.95
"""Residuals are never taken to be more alike than this, or nothing would ever be significant."""
Z_90 = 1.645


@dataclass(frozen=True, slots=True)
class Rise:
    """The best hinge of each row: level until the onset, a straight rise after it. Shapes (series,)."""

    onset: Ints
    """Block at which the rise begins."""
    slope: Floats
    """Bytes (or counts) a block; zero or less where nothing rises."""
    base: Floats
    """The level before the rise."""
    significance: Floats
    """Slope over its standard error, residuals being correlated as they are."""
    blocks: Ints
    """How many blocks were seen since the onset."""

    @property
    def growth(self) -> Floats:
        """Return what the rise amounts to by the newest block."""
        return self.slope * np.maximum(self.blocks - 1, 0)

    def of(self, rows: Ints) -> Rise:
        """Return some of the rises."""
        return Rise(*(getattr(self, one.name)[rows] for one in fields(self)))


def find_rise(rows: Floats, least_growth: Floats | None = None) -> Rise:
    """Fit `base + slope * max(0, block - onset)` by least squares over every onset.

    The sums over all blocks after each onset are running sums from the right, so the search over the onsets
    costs no more than one fit (two-phase regression: Hinkley, JASA 66, 1971, 736-743). A rise of less than
    `least_growth` (shape (series,)) has no significance: it is not worked out. Blocks before any row was seen
    cost nothing.
    """
    least = np.full(len(rows), -np.inf) if least_growth is None else least_growth
    seen = np.isfinite(rows)
    whole = seen.all(axis=1)
    if whole.all() or not whole.any():
        return _find_rise(rows, seen, least)
    parts = [np.flatnonzero(whole), np.flatnonzero(~whole)]
    found = [_find_rise(rows[part], seen[part], least[part]) for part in parts]
    back = np.argsort(np.concatenate(parts))
    return Rise(*(np.concatenate([getattr(one, of.name) for one in found])[back] for of in fields(Rise)))


def _find_rise(rows: Floats, seen: Bools, least_growth: Floats) -> Rise:
    sums = _Sums.over(rows, seen)
    slope, gain = sums.fits()
    possible = (sums.count >= MIN_RISE_BLOCKS) & seen[:, sums.first :]
    gain = np.where(possible & (slope > 0), gain, -np.inf)
    place = np.argmax(gain, axis=1)
    at = (np.arange(len(rows)), place)
    found = np.isfinite(gain[at])
    best = np.where(found, slope[at], 0.0)
    base = sums.mean_y - best * sums.u_at(place) / np.maximum(sums.n, 1)
    onset = np.where(found, sums.first + place, 0)
    blocks = np.where(found, rows.shape[1] - onset, 0)
    rise = Rise(onset, best, base, np.zeros(len(rows)), blocks)
    large = np.flatnonzero(rise.growth >= least_growth)
    rise.significance[large] = _significance(rows[large], seen[large], onset[large], best[large], base[large])
    return rise


@dataclass(frozen=True, slots=True)
class _Sums:
    """Suffix sums of a row: over block i >= j, with u = i - j.

    What depends only on which blocks were seen is worked out once where that is the same for all rows.
    """

    first: int
    """The first block in which any row was seen; there are no sums before it."""
    n: Floats
    mean_y: Floats
    count: Floats
    u: Floats
    uu: Floats
    uy: Floats

    @classmethod
    def over(cls, rows: Floats, seen: Bools) -> _Sums:
        alike = bool((seen == seen[:1]).all())
        some = seen[:1] if alike else seen
        n, first = some.sum(axis=1).astype(np.float64), int(np.argmax(some.any(axis=0)))
        mean = np.where(seen, rows, 0.0).sum(axis=1) / np.maximum(n, 1)
        rows, seen, weight = rows[:, first:], seen[:, first:], some[:, first:].astype(np.float64)
        centred = np.where(seen, rows - mean[:, None], 0.0)
        i = np.arange(rows.shape[1], dtype=np.float64)
        count, t, tt = (_suffix(v) for v in (weight, weight * i, weight * i * i))
        u, uu = t - i * count, tt - 2 * i * t + i * i * count
        return cls(first, n, mean, count, u, uu, _since(centred))

    def u_at(self, place: Ints) -> Floats:
        """Return the sum of u of each row since one of its blocks."""
        return np.asarray(self.u[np.arange(len(place)) if len(self.u) > 1 else 0, place])

    def fits(self) -> tuple[Floats, Floats]:
        """Return the slope of the hinge at every block, and by how much it lowers the squared error."""
        spread = self.uu - self.u**2 / np.maximum(self.n, 1)[:, None]
        slope = np.divide(self.uy, spread, out=np.zeros_like(self.uy), where=spread > 0)
        return slope, slope * self.uy


def _suffix(values: Floats) -> Floats:
    return np.cumsum(values[:, ::-1], axis=1)[:, ::-1]


def _since(values: Floats) -> Floats:
    """Return the sum of u times the value since each block: the suffix sums of the suffix sums after it."""
    backwards = np.cumsum(values[:, :0:-1], axis=1)
    out = np.zeros_like(values)
    np.cumsum(backwards, axis=1, out=out[:, -2::-1])
    return out


def _significance(rows: Floats, seen: Bools, onset: Ints, slope: Floats, base: Floats) -> Floats:
    """Return slope over standard error; first-order autocorrelation widens the error by (1+phi)/(1-phi).

    The same correction as for trend tests in autocorrelated data: Hamed and Rao, J. Hydrology 204, 1998.
    """
    u = np.maximum(0.0, np.arange(rows.shape[1], dtype=np.float64) - onset[:, None])
    left = rows - base[:, None] - slope[:, None] * u
    if not seen.all():
        left, u = np.where(seen, left, 0.0), np.where(seen, u, 0.0)
    n = seen.sum(axis=1)
    mean = u.sum(axis=1) / np.maximum(n, 4)
    spread = row_product(u, u) - n * mean**2
    phi = lag_correlation(left)
    variance = np.maximum(row_product(left, left) / (np.maximum(n, 4) - 3), 1e-9) * (1 + phi) / (1 - phi)
    significance: Floats = slope * np.sqrt(spread / variance)
    return significance


def row_product(one: Floats, other: Floats) -> Floats:
    """Return the sum of products of each row."""
    return np.asarray(np.einsum("ij,ij->i", one, other))


def lag_correlation(left: Floats) -> Floats:
    """Return the lag-1 correlation of each row of residuals (0 where nothing was seen), 0 to 0.95."""
    phi = row_product(left[:, 1:], left[:, :-1]) / np.maximum(row_product(left, left), 1e-9)
    return np.asarray(np.minimum(MAX_CORRELATION, np.maximum(0.0, phi)))


def theil_sen(values: Floats) -> Estimate:
    """Return the median slope a block between all pairs, with a 90 % interval.

    Sen, JASA 63, 1968: the interval is the ranks (pairs -+ z * sd(Kendall's S)) / 2, the variance of S being
    widened by (1+phi)/(1-phi) for residuals of lag-1 correlation phi. Needs three finite values (ValueError).
    """
    i = np.flatnonzero(np.isfinite(values)).astype(np.float64)
    y = values[np.isfinite(values)]
    n = len(y)
    if n < 3:  # noqa: PLR2004 - below it every slope is its own interval
        raise ValueError("a slope needs at least three values")
    a, b = _pairs(n)
    slopes = np.sort((y[b] - y[a]) / (i[b] - i[a]))
    middle = median(slopes)
    left = y - middle * i
    left = left - left.mean()
    together = float((left[1:] * left[:-1]).sum()) / max(float((left**2).sum()), 1e-9)
    phi = min(max(together, 0.0), MAX_CORRELATION)
    deviation = np.sqrt(n * (n - 1) * (2 * n + 5) / 18 * (1 + phi) / (1 - phi))
    m = len(slopes)
    low = slopes[max(0, int((m - Z_90 * deviation) / 2))]
    high = slopes[min(m - 1, int(np.ceil((m + Z_90 * deviation) / 2)))]
    return Estimate(middle, float(low), float(high))


@lru_cache(maxsize=16)
def _pairs(count: int) -> tuple[Smalls, Smalls]:
    """Return both positions of every pair; the same few counts come again and again."""
    a, b = np.triu_indices(count, 1)
    return a.astype(np.int16), b.astype(np.int16)
