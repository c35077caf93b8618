"""The shape of many rises at once: how evenly they go on, whether they give back, jump, slow down or bend.

Every function takes rows of block floors, shape (series, blocks), oldest first, NaN where nothing was seen,
and the block at which each rise begins, and works on all rows together. Time is counted in blocks.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.growth import MIN_RISE_BLOCKS, lag_correlation
from agent.detect.least_squares import LEAST, beside, orthogonal, share_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.growth import Rise

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Bools = NDArray[np.bool_]

STEPS_COUNTED = 3
"""So many of the largest steps are what a rise by jumps would be made of."""
LEAST_BEFORE_SHARE = 0.1
"""Less of a row than this says nothing about how it grew before."""


def evenness(rows: Floats, onset: Ints) -> tuple[Floats, Floats]:
    """Compare the four quarters of each rise: (least step / mean step, newest step / mean step).

    A straight rise has about 1 in both, one that levels off little in the second, a single jump little in the
    first. A quarter's value is the mean of its floors. Too short a rise gives minus infinity.
    """
    n = rows.shape[1]
    length = (n - onset) // 4
    seen = np.isfinite(rows)
    running = _running(np.where(seen, rows, 0.0))
    counted = _running(seen.astype(np.float64))
    take = np.arange(len(rows))
    edges = [n - k * length for k in (4, 3, 2, 1, 0)]
    quarters = np.stack(
        [
            (running[take, b] - running[take, a]) / np.maximum(counted[take, b] - counted[take, a], 1)
            for a, b in itertools.pairwise(edges)
        ]
    )
    steps = np.diff(quarters, axis=0)
    mean = steps.mean(axis=0)
    sound = (length >= MIN_RISE_BLOCKS // 4) & (mean > 0)
    divisor = np.where(sound, mean, 1.0)
    least = np.where(sound, steps.min(axis=0) / divisor, -np.inf)
    newest = np.where(sound, steps[-1] / divisor, -np.inf)
    return least, newest


def _running(values: Floats) -> Floats:
    """Return sums of the first 0, 1, 2 ... values of each row."""
    out = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out


def latest_speed(rows: Floats, blocks: Ints, slope: Floats) -> Floats:
    """Return the slope within the newest eighth of each rise of so many blocks, as a share of its slope."""
    n = rows.shape[1]
    back = np.maximum(3, blocks // 8)
    older_at = np.maximum(0, n - back[:, None] - np.array([2, 1]))
    older = np.take_along_axis(rows, older_at, axis=1)
    newer, older = _mean(rows[:, -2:]), _mean(older)
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = (newer - older) / (back * slope)
    return np.where(np.isfinite(speed) & (slope > 0), speed, 0.0)


def _mean(values: Floats) -> Floats:
    """Return the mean of what was seen in each row; NaN where nothing was."""
    seen = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(seen, values, 0.0).sum(axis=1) / seen.sum(axis=1))


def drawdown(rows: Floats, onset: Ints) -> Floats:
    """Return the deepest fall of the floors below an earlier floor since each onset."""
    after = np.arange(rows.shape[1])[None, :] >= onset[:, None]
    return deepest_fall(np.where(after, rows, np.nan))


def deepest_fall(rows: Floats) -> Floats:
    """Return how far a value lies below an earlier one at most, along the last axis; 0 for nothing seen."""
    highest = np.fmax.accumulate(rows, axis=-1)
    fall: Floats = np.fmax.reduce(highest - rows, axis=-1, initial=0.0)
    return fall


def peak_before(rows: Floats, onset: Ints) -> Floats:
    """Return the highest floor before each onset; minus infinity where nothing was seen."""
    before = np.arange(rows.shape[1])[None, :] < onset[:, None]
    highest: Floats = np.where(before & np.isfinite(rows), rows, -np.inf).max(axis=1, initial=-np.inf)
    return highest


def jumps_share(rows: Floats, onset: Ints, amount: Floats) -> Floats:
    """Return the share of each growth that the three largest steps between neighbours carry (0: too few)."""
    after = np.arange(rows.shape[1] - 1)[None, :] >= onset[:, None]
    steps = np.diff(carried(rows), axis=1)
    steps = np.where(after & np.isfinite(steps), steps, -np.inf)
    largest = np.partition(steps, -STEPS_COUNTED, axis=1)[:, -STEPS_COUNTED:]
    share = np.where(np.isfinite(largest), largest, 0.0).sum(axis=1) / np.maximum(amount, 1e-9)
    return np.where((amount > 0) & np.isfinite(largest).all(axis=1), share, 0.0)


def carried(rows: Floats) -> Floats:
    """Return the rows with every gap filled by what was seen before it."""
    at = np.where(np.isfinite(rows), np.arange(rows.shape[1])[None, :], 0)
    return np.take_along_axis(rows, np.maximum.accumulate(at, axis=1), axis=1)


def slope_before(rows: Floats, onset: Ints, base: Floats) -> Floats:
    """Return the mean slope from the first floors to each onset; 0 where that is under a tenth of the row."""
    seen = np.isfinite(rows)
    first = seen.argmax(axis=1)
    stretch = onset - first
    beginning = np.take_along_axis(rows, np.minimum(first[:, None] + np.arange(2), rows.shape[1] - 1), axis=1)
    slope = (base - _mean(beginning)) / np.maximum(1, stretch)
    enough = seen.any(axis=1) & (stretch >= LEAST_BEFORE_SHARE * seen.sum(axis=1))
    return np.where(enough & np.isfinite(slope), slope, 0.0)


def bend(rows: Floats, rise: Rise) -> Floats:
    """Return how far the floors since each onset lie off a straight line (RMS), as a share of the growth.

    What they strayed before the onset (`noise_before`) is no bend, and is taken out.
    """
    u = np.arange(rows.shape[1])[None, :] - rise.onset[:, None]
    off = np.where(u >= 0, rows - rise.base[:, None] - rise.slope[:, None] * u, np.nan)
    seen = np.isfinite(off)
    square = (np.where(seen, off, 0.0) ** 2).sum(axis=1) / np.maximum(1, seen.sum(axis=1))
    bent = np.sqrt(np.maximum(0.0, square - noise_before(rows, rise)))
    return np.asarray(bent / np.maximum(rise.growth, 1e-9))


def noise_before(rows: Floats, rise: Rise) -> Floats:
    """Return the variance of the floors before each onset; 0 where they are fewer than those of the rise.

    Of both halves the lesser, each about its own mean: what moved once in between is no noise.
    """
    at = np.arange(rows.shape[1])[None, :]
    before = np.isfinite(rows) & (at < rise.onset[:, None])
    middle = (np.argmax(before, axis=1) + rise.onset) // 2
    older, newer = before & (at < middle[:, None]), before & (at >= middle[:, None])
    lesser = np.minimum(_variance(rows, older), _variance(rows, newer))
    return np.where(before.sum(axis=1) >= np.maximum(MIN_RISE_BLOCKS, rise.blocks), lesser, 0.0)


def _variance(rows: Floats, chosen: Bools) -> Floats:
    """Return the variance of the chosen values of each row; 0 where none is."""
    count = np.maximum(1, chosen.sum(axis=1))
    mean = np.where(chosen, rows, 0.0).sum(axis=1) / count
    return np.asarray((np.where(chosen, rows - mean[:, None], 0.0) ** 2).sum(axis=1) / count)


def end_speed(rows: Floats, rise: Rise) -> tuple[Floats, Floats]:
    """Return the slope at the end of each rise over its mean slope, and the standard error of that ratio.

    From the parabola fitted to the floors since the onset: 1 for a straight rise, near 0 for one that comes
    to rest. The error is widened for residuals of lag-1 correlation phi by (1+phi)/(1-phi).
    """
    n = np.maximum(rise.blocks, 1)
    x = (2.0 * (np.arange(rows.shape[1])[None, :] - rise.onset[:, None]) + 1) / n[:, None] - 1
    weight = ((x > -1) & np.isfinite(rows)).astype(np.float64)
    y = np.where(weight > 0, rows - rise.base[:, None], 0.0)
    bend = weight * (1.5 * x * x - 0.5)
    own = orthogonal([weight, weight * x, bend])
    _, line, bent = own
    left = beside(y, own)
    phi = lag_correlation(left)
    variance = (left**2).sum(axis=1) / np.maximum(weight.sum(axis=1) - 3, 1) * (1 + phi) / (1 - phi)
    curve, weight_of_curve = share_of(y, bent), np.maximum((bent**2).sum(axis=1), LEAST)
    slope = share_of(y - curve[:, None] * bend, line)
    slope = np.where(slope > 0, slope, np.inf)
    return 1 + 3 * curve / slope, 3 * np.sqrt(variance / weight_of_curve) / slope
