"""The leak detector: judges the floors of every series at every scale and says which rise is a leak, and why.

At each level of the rings the best hinge (level, then a straight rise) is fitted to the floors. What is
measured of the rise and of what was before it (`measures`) becomes features, one for each consideration, and
these a calibrated probability (`probability`). What counts is how it held over the last part
of the rise (`_held`). The state follows from it and from how often people accept to be told of nothing
(`options.DetectOptions.false_alarm_every_s`).

What it cannot see: a leak slower than `min_rate`, one hidden under load that varies more than it has leaked,
and one that ends before it has lasted long enough. What it takes for a leak: a cache that fills
evenly after hours of quiet, until it is full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import growth, rules
from agent.detect.forecast import standings
from agent.detect.look import Look
from agent.detect.probability import Model, model, probability, score_of
from agent.detect.rate import rates
from agent.detect.reasons import Reasons
from agent.detect.series import Cohort
from agent.detect.turns import MOST_SUSPECT, Turns
from agent.model import Estimate, Reason, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from agent.detect.measures import Measures
    from agent.detect.options import DetectOptions
    from agent.detect.rate import Rates
    from agent.detect.series import Series
    from agent.history.rings import Rings

    Floats = NDArray[np.float64]

SUSPECT_P = 0.3
"""What may well leak is suspected."""
WARNING_P = 0.7
"""Nobody is told of less, however often they accept to be told of nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one level says about one series."""

    t_s: float
    state: State
    """SOUND, SUSPECT or WARNING; urgency is judged elsewhere."""
    score: float
    """The log odds that the process leaks, as they held lately."""
    probability: float
    """How likely it is that the process leaks."""
    sure: bool
    """Whether sound processes reach this as rarely as people accept for critical alerts."""
    rate: Estimate
    """Growth an hour."""
    onset_t_s: float
    growth: float
    quiet_s: float
    block_s: float
    significance: float
    standing: Estimate | None
    """How high the samples stand now: the middle of their peaks, the lowest and the highest; None where the
    series has no limit of its own."""
    reasons: Sequence[Reason]

    @property
    def gravity(self) -> tuple[State, float, float]:
        """By what the gravest of several is found."""
        return self.state, self.probability, self.significance

    @property
    def lasted_s(self) -> float:
        """How long it has grown."""
        return self.t_s - self.onset_t_s


class LeakDetector:
    """Keeps the newest finding of every level of every series.

    The work of a poll does not depend on how long a process has lived: a level is judged when it completes a
    block, which level k does every 2**k polls, and seldomer while a series is not suspect (`turns`).
    """

    def __init__(self, rings: Rings, options: DetectOptions, weights: Model | None = None) -> None:
        """Judge by the weights given; None: by those that are shipped."""
        self._rings = rings
        self._model = weights or model()
        self._found: dict[int, dict[int, Finding]] = {}
        self._turns = Turns(rings)
        self.reconfigure(options)

    def reconfigure(self, options: DetectOptions) -> None:
        """Judge by new options from now on; what was found stays, unless the detector is switched off."""
        self._options = options
        self._borders = _Borders.of(self._model, options)
        self._turns.clear()
        if not options.enabled:
            self._found.clear()

    def judge(self, levels: Sequence[int], series: Sequence[Series], t_s: float) -> set[int]:
        """Judge the levels that have just completed a block, for all series at once; return as below."""
        return self.judge_cohort(levels, Cohort(series), t_s)

    def judge_cohort(self, levels: Sequence[int], cohort: Cohort, t_s: float) -> set[int]:
        """Judge the same, again and again; return the slots of which something else is found now."""
        changed: set[int] = set()
        if not cohort.series or not self._options.enabled:
            return changed
        for level in levels:
            if self._rings.block_s(level) * self._rings.blocks < rules.MIN_RISE_S:
                continue  # no rise in it can be as long as a leak's
            due = self._turns.due(level, cohort)
            if due.series:
                changed |= self._judge(level, due, t_s)
        return changed

    def _judge(self, level: int, due: Cohort, t_s: float) -> set[int]:
        """Judge a level of those whose turn it is; return of whom it found something, before or now."""
        before = self._taken(level, due)
        looked = self._turns.looked(level, due.slots)
        self._turns.rest(level, due.slots)
        look = Look.at_rising(self._rings, level, due, t_s, self._options.min_rate_bytes_per_hour)
        if look is None:
            return set(before)
        self._turns.wait(level, look.slots, look.rise.blocks)
        new = set(due.slots[~looked].tolist())
        known = {one.slot: before.get(one.slot) for one in look.series if one.slot not in new}
        return before.keys() | self._keep(level, look, known)

    def _taken(self, level: int, due: Cohort) -> dict[int, Finding]:
        """Return what was found of those whose turn it is; it holds no more."""
        known = {slot for slot, found in self._found.items() if level in found}
        return {slot: self._found[slot].pop(level) for slot in due.among(known)}

    def _keep(self, level: int, look: Look, known: Mapping[int, Finding | None]) -> set[int]:
        """Keep what a look finds of those that may be suspect; whoever cannot be costs no more.

        `known` are those that were looked at before, with what was found. Returns the slots of the suspects.
        """
        shape = look.shape()
        form = self._model.form(shape)
        hopeful = np.flatnonzero(form + self._model.most_of_past >= self._borders.suspect)
        if not len(hopeful):
            return set()
        if len(hopeful) < len(look.series):
            look, shape = look.of(hopeful), shape.of(hopeful)
        measures = look.measures(shape)
        scores = self._model.score(measures, form[hopeful])
        grave = np.flatnonzero(scores >= self._borders.suspect)
        if not len(grave):
            return set()
        if len(grave) < len(look.series):
            look, measures = look.of(grave), measures.of(grave)
        self._turns.soon(level, look.slots, look.rise.blocks)
        scores = self._held(look, measures, scores[grave], known)
        for one, finding in zip(look.series, self._findings(look, measures, scores), strict=True):
            self._found.setdefault(one.slot, {})[level] = finding
        return {one.slot for one in look.series}

    def _held(
        self, look: Look, measures: Measures, scores: Floats, known: Mapping[int, Finding | None]
    ) -> Floats:
        """Return the scores as they held: their mean with exponentially less weight the longer ago they were.

        A rise that comes to rest looks like a leak for a moment on its way. Who was no suspect had its
        border; who was never looked at is judged by what is seen now.
        """
        start = (self._borders.suspect, look.t_s - look.block_s)
        found = [known.get(one.slot) for one in look.series]
        last = np.array([start if one is None else (one.score, one.t_s) for one in found])
        new = np.array([one.slot not in known for one in look.series])
        share = np.where(measures.settled, rules.HELD_AFTER_QUIET, rules.HELD_FROM_START)
        part = 1.0 - np.exp((last[:, 1] - look.t_s) / (share * measures.shape.lasted_s))
        return np.where(new, scores, last[:, 0] + part * (scores - last[:, 0]))

    @property
    def slots(self) -> list[int]:
        """Return the slots of which something was found."""
        return [slot for slot, found in self._found.items() if found]

    def finding(self, slot: int, t_s: float) -> Finding | None:
        """Return the gravest finding of a series that is still of its time; None when nothing is suspect."""
        found = self._found.get(slot)
        if not found:
            return None
        valid = [f for f in found.values() if t_s - f.t_s <= (MOST_SUSPECT + 1) * f.block_s]
        return gravest(valid)

    def explain(self, one: Series, t_s: float) -> Finding | None:
        """Return the most likely look at a series, whatever it says; None while it is too short."""
        looks = []
        for level in range(self._rings.levels):
            look = Look.at(self._rings, level, [one], t_s)
            if look.rise.blocks[0] >= growth.MIN_RISE_BLOCKS:
                measures = look.measures(look.shape())
                looks.extend(self._findings(look, measures, self._model.score(measures)))
        return gravest(looks)

    def forget(self, slot: int) -> None:
        """Drop what was found about a slot that is closed."""
        self._found.pop(slot, None)
        self._turns.forget(slot)

    def _findings(self, look: Look, measures: Measures, scores: Floats) -> list[Finding]:
        """Return what a look says about each of its series."""
        rate = rates(look.rows, look.rise.onset, look.block_s)
        per_hour, stand = rate.estimates(look.rate_per_hour), _standings(look, rate)
        states = self._borders.states(scores, self._notable(measures))
        sure = scores >= self._borders.sure
        figures = (scores, probability(scores), sure, look.onset_t_s, look.rise.growth, measures.quiet_s)
        score, chance, certain, onset_t_s, growth, quiet_s = (one.tolist() for one in figures)
        return [
            Finding(
                t_s=look.t_s,
                state=states[k],
                score=score[k],
                probability=chance[k],
                sure=certain[k],
                rate=per_hour[k],
                onset_t_s=onset_t_s[k],
                growth=growth[k],
                quiet_s=quiet_s[k],
                block_s=look.block_s,
                significance=float(look.rise.significance[k]),
                standing=stand[k],
                reasons=Reasons(measures, k),
            )
            for k in range(len(states))
        ]

    def _notable(self, measures: Measures) -> NDArray[np.bool_]:
        """Return which rises are as fast and as clear as a leak has to be."""
        form = measures.shape
        least = np.where(form.counts, rules.MIN_RATE_COUNT_PER_HOUR, self._options.min_rate_bytes_per_hour)
        lasted = form.lasted_s >= rules.MIN_RISE_S
        return np.asarray(
            (form.rate_per_hour >= least) & (form.significance >= rules.MIN_SIGNIFICANCE) & lasted
        )


def _standings(look: Look, rate: Rates) -> list[Estimate | None]:
    """Return how high the samples of each series stand that has a limit of its own; None for all others."""
    limited = [one.limit is not None for one in look.series]
    if not any(limited):
        return [None] * len(limited)
    stand = standings(rate, look.rings.peaks(look.level, look.slots))
    return [one if known else None for one, known in zip(stand, limited, strict=True)]


_STATES = (State.SOUND, State.SUSPECT, State.WARNING)


@dataclass(frozen=True, slots=True)
class _Borders:
    """The scores at which a state begins."""

    suspect: float
    warning: float
    sure: float

    @classmethod
    def of(cls, weights: Model, options: DetectOptions) -> _Borders:
        warning = max(score_of(WARNING_P), weights.score_for(options.false_alarm_every_s))
        sure = max(warning, weights.score_for(options.critical_false_alarm_every_s))
        return cls(score_of(SUSPECT_P), warning, sure)

    def states(self, scores: Floats, notable: NDArray[np.bool_]) -> list[State]:
        """Return the state of each score; sound where the rise is not notable."""
        passed = (scores >= self.suspect).astype(np.intp) + (scores >= self.warning)
        return [_STATES[one] for one in np.where(notable, passed, 0).tolist()]


def gravest(findings: Iterable[Finding]) -> Finding | None:
    """Return the one that speaks for all of them; None for none."""
    return max(findings, key=lambda one: one.gravity, default=None)
