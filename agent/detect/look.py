"""A look: one level of many series at one moment, with the best rise of each and what is measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import floors, growth, load, rules, shape, work
from agent.detect.measures import Measures, Shape
from agent.detect.series import Cohort, Series
from agent.history.rings import Rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agent.history.past import Past

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]
    Bools = NDArray[np.bool_]

STIRRING_SHARE = 0.5
"""A fitted rise may be that much larger than what the floors themselves show from lowest to newest."""
NEWEST_BLOCKS = 4
FINER_LEVELS = 3
"""Whether a rise has just stopped is seen in blocks an eighth as long."""


@dataclass(frozen=True, slots=True)
class Look:
    """One level of some series."""

    rings: Rings
    level: int
    series: Sequence[Series]
    t_s: float
    rows: Floats
    """The judged floors, shape (series, blocks)."""
    rise: growth.Rise
    unloaded: Bools
    """Of which series the load was taken out of the floors."""

    @classmethod
    def at(cls, rings: Rings, level: int, series: Sequence[Series], t_s: float) -> Look:
        """Look at all the series given."""
        cohort = Cohort(series)
        rows = floors.judged_floors(rings, level, cohort, t_s)
        rows, unloaded = load.without(rings, level, series, rows)
        return cls(rings, level, series, t_s, rows, growth.find_rise(rows), unloaded)

    @classmethod
    def at_rising(
        cls, rings: Rings, level: int, cohort: Cohort, t_s: float, min_rate_bytes_per_hour: float
    ) -> Look | None:
        """Look at those that grow notably and out of their noise; the others cost little. None: nobody."""
        if not load.reaches(rings, level):
            cohort = cohort.of(np.flatnonzero(_may_stir(rings, level, cohort)))
        series, counts = cohort.series, cohort.counts
        if not series:
            return None
        rows = floors.judged_floors(rings, level, cohort, t_s)
        rows, unloaded = load.without(rings, level, series, rows)
        stirring = np.flatnonzero(_stirring(rows, counts))
        if not len(stirring):
            return None
        rise = growth.find_rise(rows[stirring], _least_growth(counts[stirring]))
        rising = np.flatnonzero(
            _rising(rise, counts[stirring], rings.block_s(level), min_rate_bytes_per_hour)
        )
        kept = stirring[rising]
        beyond = _beyond_uncollected(rows[kept], [series[k] for k in kept.tolist()])
        rising, kept = rising[beyond], kept[beyond]
        if not len(rising):
            return None
        chosen = [series[int(k)] for k in kept]
        return cls(rings, level, chosen, t_s, rows[kept], rise.of(rising), unloaded[kept])

    def of(self, kept: Ints) -> Look:
        """Look at some of them only."""
        chosen = [self.series[int(k)] for k in kept]
        return replace(
            self,
            series=chosen,
            rows=self.rows[kept],
            rise=self.rise.of(kept),
            unloaded=self.unloaded[kept],
        )

    @property
    def slots(self) -> Ints:
        """Where its series are kept."""
        return np.array([one.slot for one in self.series], dtype=np.intp)

    @property
    def block_s(self) -> float:
        """How long its blocks are."""
        return self.rings.block_s(self.level)

    @property
    def end_t_s(self) -> float:
        """When the newest of them ended."""
        return self.rings.end_t_s(self.level)

    @property
    def rate_per_hour(self) -> float:
        """Turns a slope a block into one an hour."""
        return 3600.0 / self.block_s

    @property
    def onset_t_s(self) -> Floats:
        """When each rise began."""
        return np.asarray(self.end_t_s - self.rise.blocks * self.block_s)

    def shape(self) -> Shape:
        """Measure the form of every rise."""
        rise, onset = self.rise, self.rise.onset
        least, newest = shape.evenness(self.rows, onset)
        end_speed, end_speed_error = shape.end_speed(self.rows, rise)
        return Shape(
            counts=np.array([one.counts for one in self.series]),
            block_s=np.full(len(self.series), self.block_s),
            lasted_s=np.asarray(rise.blocks * self.block_s, dtype=np.float64),
            growth=rise.growth,
            rate_per_hour=rise.slope * self.rate_per_hour,
            base=rise.base,
            significance=rise.significance,
            least_step=least,
            newest_step=newest,
            latest_speed=shape.latest_speed(self.rows, rise.blocks, rise.slope),
            end_speed=end_speed,
            end_speed_error=end_speed_error,
            bend=shape.bend(self.rows, rise),
            fall=shape.drawdown(self.rows, onset),
            jumps_share=shape.jumps_share(self.rows, onset, rise.growth),
        )

    def measures(self, form: Shape) -> Measures:
        """Measure what was before every rise, too."""
        rise, births, onset_t_s = self.rise, _births(self.series), self.onset_t_s
        since_t_s = floors.judged_from_s(births, self.t_s)
        finest = max(0, self.level - 1)
        coarsest = self._coarsest(since_t_s)
        finer = _without_uncollected(self.rings.past(self.slots, finest, coarsest), self.series)
        before = floors.floors_between(finer, since_t_s, onset_t_s)
        peak = np.maximum(self._peak(finer, onset_t_s, since_t_s), self._known_peak())
        levels = slice(self.level - finest, None)
        quiet_s = floors.quiet_s(
            before[:, levels],
            finer.block_s[levels],
            base=rise.base,
            rate_per_s=rise.slope / self.block_s,
            growth=rise.growth,
        )
        quiet_s = np.maximum(quiet_s, self._lent_quiet_s(onset_t_s))
        more = self._work(since_t_s, onset_t_s, quiet_s, coarsest)
        return Measures(
            shape=form,
            age_s=self.t_s - births,
            finer_speed=np.where(self.unloaded, form.latest_speed, self._finer_speed()),
            end=np.asarray(np.fmin(self.rows[:, -1], self.rows[:, -2])),
            peak=peak,
            above_s=self._above_s(peak),
            slope_before=shape.slope_before(self.rows, rise.onset, rise.base) / np.maximum(rise.slope, 1e-9),
            fall_before=floors.deepest_fall_at_any_level(before),
            quiet_s=quiet_s,
            headroom=self._headroom(),
            load_share=load.share(self.rings, self.level, self.series, self.rows, self.rise),
            unloaded=self.unloaded,
            more_work=more.than_before,
            work_rise=more.than_earlier,
        )

    def _coarsest(self, since_t_s: Floats) -> int:
        """Return the coarsest level that says more than finer ones: in which lives can have been quiet."""
        within_s = (self.t_s - float(since_t_s.min())) / rules.MIN_QUIET_BLOCKS
        finer = int(np.log2(max(1.0, within_s / self.rings.base_s)))
        return min(max(self.level, finer), self.rings.levels - 1)

    def _work(self, since_t_s: Floats, onset_t_s: Floats, quiet_s: Floats, coarsest: int) -> work.Work:
        """Return how much more was done, of those of whom anybody knows it."""
        more = work.Work(*(np.zeros(len(self.series)) for _ in range(2)))
        slots = np.array([-1 if one.load_slot is None else one.load_slot for one in self.series])
        known = np.flatnonzero(slots >= 0)
        if len(known):
            past = self.rings.past(slots[known], max(0, self.level - FINER_LEVELS), coarsest)
            since_t_s, onset_t_s, quiet_t_s = (
                one[known] for one in (since_t_s, onset_t_s, onset_t_s - quiet_s)
            )
            moments = work.Moments(since_t_s, quiet_t_s, onset_t_s, self.end_t_s)
            found = work.done(past, moments)
            more.than_before[known], more.than_earlier[known] = found.than_before, found.than_earlier
        return more

    def _finer_speed(self) -> Floats:
        """Return the newest speed as finer blocks see it: whether the rise has stopped just now."""
        finer = max(0, self.level - FINER_LEVELS)
        times = 2 ** (self.level - finer)
        fine = self.rings.floors(finer, self.slots)
        blocks = np.minimum(self.rise.blocks * times, fine.shape[1])
        return shape.latest_speed(fine, blocks, self.rise.slope / times)

    def _peak(self, past: Past, onset_t_s: Floats, since_t_s: Floats) -> Floats:
        """Return what each rise must pass: earlier floors, older samples; a brief one all earlier samples."""
        start_t_s = self.end_t_s - self.rows.shape[1] * self.block_s
        brief = self.end_t_s - onset_t_s <= rules.BRIEF_S
        older = floors.highest_sample(past, since_t_s, np.where(brief, onset_t_s, start_t_s))
        seen = shape.peak_before(self.rows, self.rise.onset)
        return np.where(self.unloaded, seen, np.maximum(seen, older))

    def _above_s(self, peak: Floats) -> Floats:
        """Return for how long the floors have stood above everything seen before the rise."""
        below = self.rows <= peak[:, None]
        blocks = self.rows.shape[1]
        newer = np.where(below.any(axis=1), np.argmax(below[:, ::-1], axis=1), blocks)
        return np.asarray(np.minimum(newer, self.rise.blocks) * self.block_s)

    def _known_peak(self) -> Floats:
        """Return the level at which sound earlier runs came to rest, and at which a collection took all back.

        Minus infinity where neither is known.
        """
        plateaus = [one.lent.plateau if one.lent else -np.inf for one in self.series]
        return np.maximum(plateaus, _uncollected_peaks(self.series))

    def _lent_quiet_s(self, onset_t_s: Floats) -> Floats:
        """Return the quiet time that earlier runs lend to growth after their warm-up; 0 for none."""
        lent = [
            one.lent.quiet_s if one.lent and onset >= one.birth_t_s + one.lent.warmup_s else 0.0
            for one, onset in zip(self.series, onset_t_s.tolist(), strict=True)
        ]
        return np.array(lent)

    def _headroom(self) -> Floats:
        limits = np.array([np.inf if one.limit is None else one.limit for one in self.series])
        return np.asarray(limits - np.fmax(self.rows[:, -1], self.rows[:, -2]))


def _births(series: Sequence[Series]) -> Floats:
    return np.array([one.birth_t_s for one in series], dtype=np.float64)


def _uncollected_peaks(series: Sequence[Series]) -> Floats:
    return np.array([-np.inf if one.uncollected is None else one.uncollected.peak for one in series])


def _beyond_uncollected(rows: Floats, series: Sequence[Series]) -> Bools:
    """Return which rows' newest floors stand above what was only not collected: others fill up again."""
    newest = np.where(np.isfinite(rows), rows, -np.inf)[:, -NEWEST_BLOCKS:]
    return np.asarray((newest > _uncollected_peaks(series)[:, None]).any(axis=1))


def _without_uncollected(past: Past, series: Sequence[Series]) -> Past:
    """Return the past without growth that was no leak: it breaks no quiet time, and is no swing."""
    known = [one.uncollected for one in series]
    if not any(known):
        return past
    since = np.array([np.inf if one is None else one.since_t_s for one in known])
    return floors.without(past, since, Cohort(series).collected_t_s)


def _may_stir(rings: Rings, level: int, cohort: Cohort) -> Bools:
    """Return of which series `_stirring` may be true, start-up and all; it costs a fraction of a window."""
    lowest, newest = rings.range(level, cohort.slots, NEWEST_BLOCKS)
    return np.asarray(newest - lowest >= STIRRING_SHARE * _least_growth(cohort.counts))


def _least_growth(counts: Bools) -> Floats:
    return np.where(counts, rules.MIN_GROWTH_COUNT, rules.MIN_GROWTH_BYTES).astype(np.float64)


def _stirring(rows: Floats, counts: Bools) -> Bools:
    """Return which rows' newest floors stand well above their lowest: others have no notable rise."""
    seen = np.isfinite(rows)
    lowest = np.where(seen, rows, np.inf).min(axis=1)
    newest = np.where(seen, rows, -np.inf)[:, -NEWEST_BLOCKS:].max(axis=1)
    least = _least_growth(counts)
    enough = seen.sum(axis=1) >= growth.MIN_RISE_BLOCKS
    return np.asarray(enough & (newest - lowest >= STIRRING_SHARE * least))


def _rising(rise: growth.Rise, counts: Bools, block_s: float, min_rate_bytes_per_hour: float) -> Bools:
    """Return which rises are fast, large and clear enough to be looked at closely."""
    least_rate = np.where(counts, rules.MIN_RATE_COUNT_PER_HOUR, min_rate_bytes_per_hour)
    least_growth = _least_growth(counts)
    fast = rise.slope * 3600.0 / block_s >= least_rate
    return np.asarray(fast & (rise.growth >= least_growth) & (rise.significance >= rules.MIN_SIGNIFICANCE))
