"""How much of a rise the process's own load explains: more work, more memory, and back with the evening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules
from agent.detect.least_squares import beside, orthogonal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from agent.detect.growth import Rise
    from agent.detect.series import Series
    from agent.history.rings import Rings

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

LEAST_BLOCKS = 6
"""Fewer blocks do not show whether two things go together."""
LEAST_SPAN_S = 36 * 3600.0
"""Within a day a rise of the load and a rise of time are one, and a heap that fills in it is a straight line
once the load is taken out; over a day and a half they can be told apart."""
LEAST_EXPLAINED = 0.5
"""The load is taken out where it explains this share of what a straight line leaves."""


def share(rings: Rings, level: int, series: Sequence[Series], rows: Floats, rise: Rise) -> Floats:
    """Return by series how much of its growth goes along with its load: 0 for none of it, 1 for all.

    The load of a block is the CPU time used in it. It explains growth where it rose by a notable share over
    the rise, and as far as it follows the floors as closely as a straight line does (ratio of the squared
    correlations). A leak under a daily load follows the line and not the load.
    """
    found = np.zeros(len(series))
    known = [k for k, one in enumerate(series) if one.load_slot is not None]
    if known:
        slots = np.array([series[k].load_slot for k in known], dtype=np.intp)
        used = rings.floors(level, slots)
        for k, loads in zip(known, np.diff(used, axis=1), strict=True):
            onset = int(rise.onset[k])
            found[k] = explained(rows[k, onset:-1], loads[onset:])
    return found


def reaches(rings: Rings, level: int) -> bool:
    """Whether a level reaches far enough back for load and time to be told apart."""
    return rings.block_s(level) * (rings.blocks - 1) >= LEAST_SPAN_S


def without(rings: Rings, level: int, series: Sequence[Series], rows: Floats) -> tuple[Floats, Bools]:
    """Return the floors without what the load explains of them, and of which series it was taken out.

    The floors are fitted by a line and the load together (least squares), over more than a day. What
    is left is as high as the floors were under the mean load.
    """
    taken = np.zeros(len(series), dtype=np.bool_)
    block_s = rings.block_s(level)
    if not reaches(rings, level):
        return rows, taken
    rows = rows.copy()
    known = [k for k, one in enumerate(series) if one.load_slot is not None]
    enough = [k for k in known if np.isfinite(rows[k]).sum() * block_s >= LEAST_SPAN_S]
    if enough:
        slots = np.array([series[k].load_slot for k in enough], dtype=np.intp)
        window = rings.window(level, slots)
        for k, loads in zip(enough, loads_of(window.floors, window.peaks), strict=True):
            part = carried(rows[k], loads)
            if part is not None:
                rows[k] -= part
                taken[k] = True
    return rows, taken


def loads_of(floors: Floats, peaks: Floats) -> Floats:
    """Return the CPU time used in each block, from the floors and peaks of what was used in all."""
    newest = peaks[:, -1:] - floors[:, -1:]
    return np.concatenate([np.diff(floors, axis=1), newest], axis=1)


def carried(floors: Floats, loads: Floats) -> Floats | None:
    """Return what the load carries of each block's floor, around its mean; None where it is not the load."""
    seen = np.isfinite(floors) & np.isfinite(loads)
    if seen.sum() < LEAST_BLOCKS:
        return None
    at = np.flatnonzero(seen).astype(np.float64)
    straight = orthogonal([np.ones_like(at), at])
    y, x = beside(floors[seen], straight), beside(loads[seen], straight)
    spread = float((x * x).sum())
    gain = float((x * y).sum()) / spread if spread > 0 else 0.0
    left = float(((y - gain * x) ** 2).sum())
    if gain <= 0 or left > (1 - LEAST_EXPLAINED) * float((y * y).sum()):
        return None
    return np.asarray(np.where(np.isfinite(loads), gain * (loads - loads[seen].mean()), 0.0))


def explained(floors: Floats, loads: Floats) -> float:
    """Return the share of the rise of some blocks' floors that their load explains, 0 to 1."""
    seen = np.isfinite(floors) & np.isfinite(loads)
    if seen.sum() < LEAST_BLOCKS:
        return 0.0
    at, y, x = np.flatnonzero(seen).astype(np.float64), floors[seen], loads[seen]
    quarter = len(x) // 4
    before, lately = x[:quarter].mean(), x[-quarter:].mean()
    if lately < (1 + rules.LOAD_RISE) * before:
        return 0.0
    with_load, with_time = _correlation(x, y), _correlation(at, y)
    if with_load <= 0 or with_time <= 0:
        return 0.0
    return min(1.0, (with_load / with_time) ** 2)


def _correlation(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / spread if spread > 0 else 0.0
