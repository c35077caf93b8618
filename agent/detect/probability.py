"""How likely a rise is a leak: a weighted sum of the considerations, calibrated on processes of known truth.

The weights, the calibration and how often each score is reached by sound processes stand in weights.json,
which tests/bench/train.py writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.detect import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.detect.measures import Measures, Shape

    Floats = NDArray[np.float64]

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Model:
    """The weights of the features, and what a score means."""

    of_shape: Floats
    """Weights in the order of `features.OF_SHAPE`; never negative."""
    of_past: Floats
    """Weights in the order of `features.OF_PAST`."""
    intercept: float
    """The log odds where nothing speaks against a leak."""
    scores: Floats
    """Scores in rising order, and ..."""
    alarms_per_day: Floats
    """... how often a day a sound process reaches each for the first time."""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Model:
        """Read what weights.json holds. Raises KeyError where a part is missing."""
        weights, alarms = data["weights"], data["false_alarms"]
        return cls(
            np.array([weights[name] for name in features.OF_SHAPE]),
            np.array([weights[name] for name in features.OF_PAST]),
            float(data["intercept"]),
            np.array(alarms["score"], dtype=np.float64),
            np.array(alarms["per_process_day"], dtype=np.float64),
        )

    @property
    def most_of_past(self) -> float:
        """The most that what was before a rise can add to what its form says."""
        return features.MOST * float(self.of_past[features.OF_PAST.index("mature")])

    def form(self, shape: Shape) -> Floats:
        """Return the part of each score that is the rise's own form."""
        return np.asarray(self.intercept + _weighed(features.of_shape(shape), self.of_shape))

    def score(self, measures: Measures, form: Floats | None = None) -> Floats:
        """Return the log odds that each rise is a leak; `form` is that part of it where it is known."""
        known = self.form(measures.shape) if form is None else form
        return np.asarray(known + _weighed(features.of_past(measures), self.of_past))

    def score_for(self, false_alarm_every_s: float) -> float:
        """Return the least score measured that sound processes reach no more often than that, each.

        What is rarer than all that was measured is extrapolated: the score by which the rate last halved
        halves it again.
        """
        wanted = DAY_S / max(false_alarm_every_s, 1.0)
        rare = np.flatnonzero(self.alarms_per_day <= wanted)
        if len(rare):
            return float(self.scores[rare[0]])
        rarest = float(self.alarms_per_day[-1])
        before = self.scores[self.alarms_per_day >= 2 * rarest]
        halving = float(self.scores[-1] - before[-1]) if len(before) else 1.0
        return float(self.scores[-1]) + halving * float(np.log2(rarest / wanted))


@cache
def model() -> Model:
    """Return the model that leakwatch ships."""
    return Model.read(json.loads(Path(__file__).with_name("weights.json").read_text("utf-8")))


def _weighed(rows: Floats, weights: Floats) -> Floats:
    """Return the weighted sum of each row, to the last bit the same whoever stands beside it: `@` is not."""
    return np.asarray(np.add.reduce(np.ascontiguousarray(rows) * weights, axis=1))


def probability(score: Floats) -> Floats:
    """Return the probability of each score: of log odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -40.0, 40.0))))


def score_of(chance: float) -> float:
    """Return the score of a probability."""
    return float(np.log(chance / (1.0 - chance)))
