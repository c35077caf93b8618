"""What the detector sees of many cases: the features of every look at a rise, taken in lockstep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from corpus import Case
from numpy.typing import NDArray

from agent.detect import features
from agent.detect.look import Look
from agent.detect.options import DetectOptions
from agent.replay import ReplayOptions, tape
from agent.replay_batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.detect.series import Cohort

    Floats = NDArray[np.float64]

MIN_RATE = DetectOptions().min_rate_bytes_per_hour


@dataclass(frozen=True, slots=True)
class Seen:
    """The looks at the rises of one case, in the order of time."""

    case: Case
    t_s: Floats
    """On the scaled clock; shape (looks,)."""
    block_s: Floats
    line: NDArray[np.intp]
    """Looks of one series at one level have the same number."""
    table: Floats
    """Shape (looks, features), in the order of `features.NAMES`."""

    @property
    def label(self) -> NDArray[np.bool_]:
        """Whether the process leaked at each look."""
        truth = self.case.truth
        onset_s = (truth.onset_s or 0.0) * truth.time_scale
        return np.asarray((self.t_s >= onset_s) & truth.leaks)

    @property
    def sound_s(self) -> float:
        """For how long the process was watched before it leaked."""
        truth, t_s = self.case.truth, self.case.recording.t_s
        seconds = float(truth.onset_s or 0.0) if truth.leaks else float(t_s[-1] - t_s[0])
        return seconds * truth.time_scale


class _Row(NamedTuple):
    """One look at one rise."""

    t_s: float
    block_s: float
    line: int
    features: Floats


def of(cases: Sequence[Case]) -> list[Seen]:
    """Return what is seen of each case; all of them must share a time scale and a pace."""
    options = ReplayOptions(time_scale=cases[0].truth.time_scale)
    tapes = [tape(case.recording, options) for case in cases]
    batch = Batch(tapes, tapes[0].pace_s)
    found: list[list[_Row]] = [[] for _ in cases]
    owner = {one.slot: k for k, several in enumerate(batch.series) for one in several}
    for t_s, _, turns in batch.blocks():
        for level, cohort in ((level, turn.cohort) for turn in turns for level in turn.levels):
            for slot, row in _rows(batch, level, cohort, t_s):
                found[owner[slot]].append(_Row(t_s, batch.rings.block_s(level), slot * 64 + level, row))
    return [_seen(case, rows) for case, rows in zip(cases, found, strict=True)]


def _rows(batch: Batch, level: int, cohort: Cohort, t_s: float) -> list[tuple[int, Floats]]:
    look = Look.at_rising(batch.rings, level, cohort, t_s, MIN_RATE)
    if look is None:
        return []
    form = look.shape()
    measures = look.measures(form)
    table = np.concatenate([features.of_shape(form), features.of_past(measures)], axis=1)
    return [(one.slot, row) for one, row in zip(look.series, table, strict=True)]


def _seen(case: Case, rows: list[_Row]) -> Seen:
    width = len(features.NAMES)
    return Seen(
        case,
        np.array([row.t_s for row in rows]),
        np.array([row.block_s for row in rows]),
        np.array([row.line for row in rows], dtype=np.intp),
        np.array([row.features for row in rows]).reshape(len(rows), width),
    )
