"""The long-run rate of many rises at once, with a 90 % interval that allows for slow swings and for slowing.

A rise is cut into eighths, and a straight line is fitted to their means. What the eighths keep beside the
line is split into a bend, a wave and so on (orthogonal polynomials of degree 2 to 7). The line's own error is
of the next lower degree, so the variance of those parts, weighted towards the low degrees, is taken for it,
with Student's t on the equivalent degrees of freedom (Satterthwaite, Biometrics Bulletin 2, 1946; the same
idea with cosines: Müller and Watson, Econometrica 76, 2008). No noise has to be independent, and sawteeth,
bursts and daily cycles that were not seen through widen the interval. A newest part that is smooth may be a
pause of a rise by bursts: its interval is no narrower than that of a random walk as rough as the whole rise.

A leak under a warm-up or a cache that fills is at first faster than it stays. So the line is fitted to the
newest quarter, three eighths, half, three quarters and all of the rise, and of these the longest is told that
is not yet faster than the shorter ones (Lepski's method by intervals that meet: Goldenshluger and Nemirovski,
Math. Methods of Statistics 6, 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.least_squares import orthonormal
from agent.model import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Bools = NDArray[np.bool_]

PARTS = 8
MIN_BLOCKS = 8
"""A part of a rise is looked at by itself from so many blocks on."""
MIN_SEEN_PARTS = 4
"""With fewer eighths seen, hardly anything is known of a rate."""
SHARES = np.array([0.25, 0.375, 0.5, 0.75, 1.0])
"""The newest shares of a rise that are fitted, shortest first."""
STEEPNESS = 3.0
"""Degree k counts k**-3: between noise that is independent (0) and a random walk's (4)."""
WANDERING = 3.0
"""What wanders like a random walk has more of degree 1 than is seen of the higher ones: the variance is up to
three times as large, by how much more than `EVEN_SHARE` of it lies in degrees 2 and 3."""
EVEN_SHARE = 1 / 3
"""... of six, where the noise is independent."""
MEETING = 0.5
"""Rates differ where intervals of this share of their 90 % width do not meet."""
LEAST_ERROR = 0.01
"""Of a rate itself: no process grows more evenly, and floors are kept in 24 bits. ..."""
HOUR_ERROR = 0.15
"""... An hour, however even, tells the rate of those to come to 15 %, two hours to half of that, ..."""
MOST_LEAST_ERROR = 0.5
"""... and 18 minutes and less to a half."""


_BASIS = np.ascontiguousarray(orthonormal(PARTS, PARTS)[:, 2:])
"""What the parts keep beside a line, by degree."""
_WEIGHTS = np.arange(2.0, PARTS) ** -STEEPNESS / (np.arange(2.0, PARTS) ** -STEEPNESS).sum()
_ROUGH = _WEIGHTS[1:] / _WEIGHTS[1:].sum()
"""Of degree 3 on: a bend is no roughness, but what slows."""
_PAUSE = np.where(SHARES < 1, SHARES**-0.5, 0.0)
"""The error of a random walk's slope goes with the root of its length; the whole has its own error."""
T_90 = 2.8
"""The 95th percentile of Student's t with 1 / sum(weights**2) = 2.15 degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The rate of each row's rise, bytes (or counts) a block. Shapes (series,)."""

    value: Floats
    low: Floats
    high: Floats
    level: Floats
    """Where the line of the rate stands at the newest block."""
    blocks: Ints
    """To how many of the newest blocks it was fitted."""

    def estimates(self, per_block: float) -> list[Estimate]:
        """Return each row's rate times `per_block`: 3600 / block_s gives it an hour."""
        figures = np.stack([self.value, self.low, self.high], axis=1) * per_block
        return [Estimate(*one) for one in figures.tolist()]


def rates(rows: Floats, onset: Ints, block_s: float) -> Rates:
    """Return the rate of each row of floors (oldest first, NaN where nothing was seen) since its onset.

    Where fewer than four eighths of a rise were seen, the interval reaches from nothing to twice the rate.
    """
    fits = _Fits.over(rows, onset)
    take = np.arange(len(rows))
    chosen, before = _longest_not_faster(fits)
    value = fits.slope[take, chosen]
    noise = np.maximum(fits.error * fits.wandering, fits.pausing)
    hours = np.maximum(fits.blocks[take, chosen], 1) * block_s / 3600.0
    least = np.clip(HOUR_ERROR / hours, LEAST_ERROR, MOST_LEAST_ERROR)
    error = np.hypot(noise[take, chosen], least * value)
    error = np.where(fits.known[take, chosen], error, np.abs(value))
    slowed = np.minimum(np.maximum(0.0, fits.slope[take, before] - value), np.maximum(0.0, value))
    return Rates(
        value, value - error - slowed, value + error, fits.level[take, chosen], fits.blocks[take, chosen]
    )


def _longest_not_faster(fits: _Fits) -> tuple[Ints, Ints]:
    """Return which share of each row is told, and the longer one that was faster (itself: none was).

    What slows may slow once more by as much: the caller lets the interval reach down so far.
    """
    reach = np.where(fits.known, MEETING * fits.error, np.inf)
    low = np.maximum.accumulate(fits.slope - reach, axis=1)
    high = np.minimum.accumulate(fits.slope + reach, axis=1)
    faster = (low > high)[:, 1:] & (fits.slope[:, 1:] > fits.slope[:, :-1])
    found = faster.any(axis=1)
    before = np.where(found, faster.argmax(axis=1) + 1, len(SHARES) - 1)
    return before - found, before


@dataclass(frozen=True, slots=True)
class _Fits:
    """Straight lines through the newest shares of each rise. Shapes (series, shares)."""

    slope: Floats
    error: Floats
    """Half the width of its 90 % interval, for noise that does not wander."""
    wandering: Floats
    """How many times wider it is for noise as slow as is seen."""
    pausing: Floats
    """What it is at least in a newest part, for a random walk as rough as the whole rise."""
    level: Floats
    blocks: Ints
    known: Bools

    @classmethod
    def over(cls, rows: Floats, onset: Ints) -> _Fits:
        blocks, n, x, y, middle = _parts(rows, onset)
        seen = n > 0
        count = np.maximum(seen.sum(axis=2), 1)[:, :, None]
        mean_x = (x * seen).sum(axis=2, keepdims=True) / count
        mean_y = (y * seen).sum(axis=2, keepdims=True) / count
        from_x = (x - mean_x) * seen
        spread = (from_x**2).sum(axis=2)
        slope = (from_x * y).sum(axis=2) / np.maximum(spread, 1e-9)
        left = (y - mean_y) * seen - slope[:, :, None] * from_x
        squares = np.einsum("ijk,kl->ijl", left, _BASIS) ** 2
        variance = np.einsum("ijk,k->ij", squares, _WEIGHTS) * PARTS / count[:, :, 0]
        error = T_90 * np.sqrt(variance / np.maximum(spread, 1e-9))
        lowest = squares[:, :, :2].sum(axis=2) / np.maximum(squares.sum(axis=2), 1e-300)
        wandering = np.sqrt(1 + WANDERING * np.maximum(0.0, lowest - EVEN_SHARE))
        rough = np.ascontiguousarray(squares[:, -1, 1:] * _ROUGH).sum(axis=1) * PARTS / count[:, -1, 0]
        pausing = T_90 * np.sqrt(rough / np.maximum(spread[:, -1], 1e-9))[:, None] * _PAUSE
        level = middle[:, None] + mean_y[:, :, 0] + slope * (rows.shape[1] - 1 - mean_x[:, :, 0])
        whole = np.arange(len(SHARES)) == len(SHARES) - 1
        known = ((blocks >= MIN_BLOCKS) | whole) & (count[:, :, 0] >= MIN_SEEN_PARTS)
        known = np.logical_and.accumulate(known[:, ::-1], axis=1)[:, ::-1]
        return cls(slope, error, wandering, pausing, level, blocks, known)


def _parts(rows: Floats, onset: Ints) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """Return the blocks of each share, of its eighths the count, mean place and mean, and the row's middle.

    Means are from the row's middle, so that running sums keep their digits. Shapes (series, shares[, parts]).
    """
    end = rows.shape[1]
    finite = np.isfinite(rows)
    value = np.where(finite, rows, 0.0)
    middle = value.sum(axis=1) / np.maximum(finite.sum(axis=1), 1)
    value = np.where(finite, value - middle[:, None], 0.0)
    running = np.zeros((3, len(rows), end + 1))
    np.cumsum(np.stack([finite, finite * np.arange(end), value]), axis=2, out=running[:, :, 1:])
    blocks = np.rint((end - onset)[:, None] * SHARES).astype(np.intp)
    edges = end - blocks[:, :, None] + np.rint(blocks[:, :, None] * np.arange(PARTS + 1) / PARTS)
    picked = running[:, np.arange(len(rows))[:, None, None], edges.astype(np.intp)]
    n, x, y = np.diff(picked, axis=3)
    divisor = np.maximum(n, 1)
    return blocks, n, x / divisor, y / divisor, middle
