"""Feeds the history and the detector with every poll and asks them for verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agent.daemon.disproofs import Disproofs, collected
from agent.daemon.table import Line, Table
from agent.detect import thresholds as plain
from agent.detect.kind import MEMORY, RUNTIME, THREADS, Naming
from agent.detect.leak import Finding, LeakDetector, gravest
from agent.detect.series import Cohort, Series
from agent.detect.verdict import growth_verdict, limit_verdict
from agent.history.rings import Rings
from agent.model import Disproof, Reason, State, Subject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from agent.config import Config
    from agent.daemon.watched import Watched
    from agent.detect.lineage import Lent
    from agent.detect.options import Thresholds
    from agent.detect.thresholds import Breach
    from agent.model import ProcessKey, Verdict
    from agent.watch.makeup import Makeup

    Floats = NDArray[np.float64]

SERIES = ("heap", "runtime", "shared", "threads", "fds", "children", "cpu")
"""The series of every process, in the order in which they are stored: a new one is added at the end."""
LOAD = "cpu"
"""CPU seconds used so far: no amount that could leak, but the load that explains a part of the others."""
COUNTS = ("threads", "fds", "children")
_COMPARED = {MEMORY: "heap", RUNTIME: "runtime", THREADS: "threads"}
"""The series that together tell what grows."""
_LOADED = ("heap", "runtime")
_SERIES_OF = {
    Subject.HEAP: ("heap", "runtime"),
    Subject.SHARED: ("shared",),
    Subject.THREADS: ("threads",),
    Subject.FDS: ("fds",),
    Subject.CHILDREN: ("children",),
}


@dataclass(frozen=True, slots=True)
class Tracked:
    """The series of one process."""

    series: Mapping[str, Series]

    @property
    def judged(self) -> tuple[Series, ...]:
        """The series that may leak."""
        return tuple(one for name, one in self.series.items() if name != LOAD)

    @property
    def slots(self) -> NDArray[np.intp]:
        """The slots in the order of `SERIES`."""
        return np.array([self.series[name].slot for name in SERIES], dtype=np.intp)


class Judge:
    """The history of everybody who is watched, and what the detector makes of it."""

    def __init__(self, config: Config, makeup: Makeup | None = None) -> None:
        self.rings = Rings(config.poll_interval_s)
        self._config = config
        self._detector = LeakDetector(self.rings, config.detection)
        self._tracked: dict[ProcessKey, Tracked] = {}
        self._breaches: dict[int, Breach] = {}
        self._table = Table()
        self._limits_known: set[Thresholds] = set()
        self._collecting: set[ProcessKey] = set()
        """Whose runtime tells how often it collects."""
        self._changed = 0
        """Grows with every series that is judged by other figures."""
        self._stale = True
        """The plain limits are to be held against everybody."""
        self._moving_at = (-1, -1, -1)
        self._moving_cohort = Cohort(())
        self._naming = Naming()
        self._disproofs = Disproofs()
        self._makeup = makeup

    def reconfigure(self, config: Config) -> None:
        """Judge by new options from now on; history and findings stay."""
        self._config = config
        self._restart()
        self._detector.reconfigure(config.detection)
        if config.poll_interval_s != self.rings.base_s:
            self.rings = self.rings.at_base(config.poll_interval_s)
            self._detector = LeakDetector(self.rings, config.detection)

    def look_again(self, watched: Iterable[Watched], t_s: float) -> None:
        """Judge every scale of some histories that came from elsewhere, as if it had just been completed."""
        every = [one for w in watched for one in self._tracked[w.key].judged]
        self._detector.judge(range(self.rings.levels), every, t_s)
        self._stale = True

    def _restart(self) -> None:
        """Look at everybody anew at the next poll."""
        self._table.clear()
        self._stale = True

    def knows(self, key: ProcessKey) -> bool:
        """Whether a process was opened and not closed since."""
        return key in self._tracked

    def tracked(self, key: ProcessKey) -> Tracked:
        """Return the series of a process that was opened."""
        return self._tracked[key]

    def open(self, key: ProcessKey, birth_t_s: float, lent: Lent | None = None) -> Tracked:
        """Begin the history of a process; its heap goes by what earlier runs lend."""
        slots = {name: self.rings.open() for name in SERIES}
        series = {
            name: Series(slot, birth_t_s, name in COUNTS, slots[LOAD] if name in _LOADED else None)
            for name, slot in slots.items()
        }
        series["heap"] = replace(series["heap"], lent=lent)
        self._tracked[key] = Tracked(series)
        self._restart()
        return self._tracked[key]

    def close(self, key: ProcessKey) -> None:
        """Forget a process."""
        tracked = self._tracked.pop(key, None)
        self._collecting.discard(key)
        self._naming.forget(key)
        self._disproofs.forget(key)
        if self._makeup is not None:
            self._makeup.forget(key)
        self._restart()
        for one in tracked.series.values() if tracked else ():
            self._breaches.pop(one.slot, None)
            self._detector.forget(one.slot)
            self.rings.close(one.slot)

    def add(
        self, watched: Sequence[Watched], t_s: float, changed: Collection[ProcessKey] | None = None
    ) -> list[int]:
        """Add one poll of everybody, judge what it completes, and return the levels that were completed.

        `changed` are those whose figures or limit are others than at the poll before; None: all of them.
        """
        if not watched:
            self._table.clear()
            return []
        if changed is None or len(watched) != len(self._table.watched):
            self._table.fill(watched, self._line)
            changed_now = list(watched)
        else:
            changed_now = self._table.change(changed, self._line)
        completed = self.rings.add(t_s, self._table.slots.ravel(), self._table.values.ravel())
        for one in changed_now:
            self._limit(one)
            if one.collections:
                self._collecting.add(one.key)
        self._detector.judge_cohort(completed, self._moving(), t_s)
        self._grow_fast(completed, t_s)
        return completed

    def disprove(self, key: ProcessKey, why: str, until_t_s: float, since_t_s: float | None = None) -> None:
        """Take it that the growth of a heap until then was no leak: judged is what grows after it.

        It began at `since_t_s`; None for when the detector says that it did. Nothing for who is not watched.
        """
        tracked = self._tracked.get(key)
        if tracked is None:
            return
        heaps = {name: tracked.series[name] for name in _SERIES_OF[Subject.HEAP]}
        found = [self._detector.finding(one.slot, until_t_s) for one in heaps.values()]
        onsets = [until_t_s, *(one.onset_t_s for one in found if one)]
        disproof = Disproof(min(onsets) if since_t_s is None else since_t_s, until_t_s, why)
        for name, one in heaps.items():
            self._detector.forget(one.slot)
            heaps[name] = collected(self.rings, one, disproof)
        self._tracked[key] = Tracked({**tracked.series, **heaps})
        self._changed += 1
        self._disproofs.note(key, disproof)

    def concerned(self, t_s: float) -> set[ProcessKey]:
        """Return about whom there may be something to say; of the others `verdicts` has nothing."""
        told = self._table.owners([*self._detector.slots, *self._breaches])
        known = self._collecting | self._disproofs.recent(t_s)
        return {one.key for one in (*told, *self._table.near_limit())} | known

    def _line(self, watched: Watched) -> Line:
        limit, limits = watched.limit, self.limits_of(watched)
        near = math.inf if limit is None else limits.heap_percent * limit.limit_bytes / 100.0
        return Line(self._tracked[watched.key].slots, _values(watched), near)

    def _moving(self) -> Cohort:
        """Return the series that may leak and have ever moved; what rests does not grow."""
        state = (self._table.version, self.rings.woken, self._changed)
        if state != self._moving_at:
            mask = self.rings.moving(self._table.slots)
            rows = np.flatnonzero(mask.any(axis=1))
            self._moving_at = state
            self._moving_cohort = Cohort(
                [
                    one
                    for row in rows.tolist()
                    for name, one in self._tracked[self._table.watched[row].key].series.items()
                    if name != LOAD and mask[row, SERIES.index(name)]
                ]
            )
        return self._moving_cohort

    def _grow_fast(self, completed: Sequence[int], t_s: float) -> None:
        """Hold the plain limits of growth against what has just been completed."""
        table = self._table
        limits = {self.limits_of(one) for one in table.watched} if self._stale else self._limits_known
        if self._stale or plain.levels_of(self.rings, limits) & set(completed):
            rows = np.flatnonzero(self.rings.moving(table.slots[:, 0])).tolist()
            moving = [table.watched[row] for row in rows]
            heaps = [self._tracked[w.key].series["heap"] for w in moving]
            self._breaches = plain.fast_growth(self.rings, heaps, [self.limits_of(w) for w in moving], t_s)
        self._stale, self._limits_known = False, limits

    def _limit(self, watched: Watched) -> None:
        """Keep what the heap runs into: limits can be changed while a process lives."""
        tracked = self._tracked[watched.key]
        limit = float(watched.limit.limit_bytes) if watched.limit else None
        heap = tracked.series["heap"]
        if heap.limit != limit:
            self._tracked[watched.key] = Tracked({**tracked.series, "heap": replace(heap, limit=limit)})
            self._changed += 1

    def limits_of(self, watched: Watched) -> Thresholds:
        """Return the plain limits that hold for a process."""
        entry = watched.target.entry
        return entry.thresholds if entry and entry.thresholds else self._config.thresholds

    def verdicts(self, watched: Watched, t_s: float, about: Collection[Subject] = ()) -> Iterator[Verdict]:
        """Return a verdict for each subject on which there is something to say, and for those asked about."""
        if watched.sample is None:
            return
        tracked = self._tracked[watched.key]
        about = {*about, *self._disproofs.subjects_of(watched.key, t_s)}
        for subject, names in _SERIES_OF.items():
            found = (self._detector.finding(tracked.series[name].slot, t_s) for name in names)
            finding = gravest(one for one in found if one)
            breach = self._breaches.get(tracked.series["heap"].slot) if subject is Subject.HEAP else None
            if finding or breach or subject in about:
                yield self._growth(watched, subject, finding, breach, t_s)
        yield from self._limits(watched, t_s, about)

    def _growth(
        self, watched: Watched, subject: Subject, finding: Finding | None, breach: Breach | None, t_s: float
    ) -> Verdict:
        memory = subject in (Subject.HEAP, Subject.SHARED)
        verdict = growth_verdict(
            subject,
            t_s=t_s,
            age_s=watched.age_s(t_s),
            current=_current(watched, subject),
            limit=float(watched.limit.limit_bytes) if memory and watched.limit else None,
            finding=finding,
            breach=breach,
            options=self._config.detection,
        )
        return self._disproofs.told(watched.key, self._named(watched.key, verdict))

    def _named(self, key: ProcessKey, verdict: Verdict) -> Verdict:
        """Return the verdict with what grows: by the other series, and by what is read of a suspect."""
        series = self._tracked[key].series
        slots = {what: series[name].slot for what, name in _COMPARED.items()}
        pages, classes = self._read(key, verdict)
        named = self._naming.named(key, verdict, self.rings, slots, pages)
        if not classes:
            return named
        told = Reason("descriptors", passed=True, text=classes)
        return replace(named, reasons=(*named.reasons[:1], told, *named.reasons[1:]))

    def _read(self, key: ProcessKey, verdict: Verdict) -> tuple[Mapping[str, int], str]:
        """Return the growth of files and shared memory, and the sentence on classes of descriptors."""
        if self._makeup is None:
            return {}, ""
        if verdict.state < State.SUSPECT:
            self._makeup.forget(key, verdict.subject)
            return {}, ""
        if verdict.subject is Subject.SHARED:
            return self._makeup.shared(key, verdict.state), ""
        return {}, self._makeup.descriptors(key, verdict.state) if verdict.subject is Subject.FDS else ""

    def _limits(self, watched: Watched, t_s: float, about: Collection[Subject]) -> Iterator[Verdict]:
        limits, age_s = self.limits_of(watched), watched.age_s(t_s)
        heap, limit = _current(watched, Subject.HEAP), watched.limit
        slot = self._tracked[watched.key].series["heap"].slot
        close = limit is not None and 100.0 * heap >= limits.heap_percent * limit.limit_bytes
        near = plain.near_limit(self.rings, slot, limit.limit_bytes, limits) if close and limit else None
        if near or Subject.HEAP_PERCENT in about:
            most = float(limit.limit_bytes) if limit else None
            yield limit_verdict(
                Subject.HEAP_PERCENT, t_s=t_s, age_s=age_s, current=heap, limit=most, breach=near
            )
        often = watched.collections_per_minute
        breach = plain.often_collected(often, limits) if often is not None else None
        if breach or Subject.COLLECTIONS in about:
            most = limits.collections_per_minute
            yield limit_verdict(
                Subject.COLLECTIONS, t_s=t_s, age_s=age_s, current=often or 0.0, limit=most, breach=breach
            )


def _values(watched: Watched) -> Floats:
    """Return the latest poll of a process in the order of `SERIES`; NaN for what was not seen at it."""
    sample, figures = watched.sample, watched.figures
    if sample is None:
        return np.full(len(SERIES), np.nan)
    runtime = np.nan if figures is None or figures.heap_bytes is None else float(figures.heap_bytes)
    fds = np.nan if sample.fds is None else float(sample.fds)
    children = np.nan if sample.children is None else float(sample.children)
    seen = [sample.heap_bytes, runtime, sample.shared_bytes, sample.threads, fds, children, sample.cpu_s]
    return np.array(seen, dtype=np.float64)


def _current(watched: Watched, subject: Subject) -> float:
    sample = watched.sample
    if sample is None:
        return 0.0
    if subject is Subject.SHARED:
        return float(sample.shared_bytes)
    if subject is Subject.THREADS:
        return float(sample.threads)
    if subject is Subject.FDS:
        return float(sample.fds or 0)
    if subject is Subject.CHILDREN:
        return float(sample.children or 0)
    return float(sample.heap_bytes)
