"""The processes under watch: opened when selected, sampled at every poll, closed when they end."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from agent.model import Limit, Sample, Verdict
from agent.watch.probes.base import RuntimeFigures
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.model import ProcessKey
    from agent.watch.cgroups import LimitReader
    from agent.watch.probes.chosen import ChosenProbes
    from agent.watch.processes import Gone, Sampler

LIMIT_EVERY_S = 60.0
"""A limit changes by hand or by a deploy: reading it once a minute is soon enough."""
TURNS = 60
"""The first reading of a limit is followed by the second at one of so many moments of that time."""
STARTED_BEFORE_US_S = 120.0
"""A process that ran for longer before it was first seen has no start-up to be seen."""
MINUTE_S = 60.0


@dataclass(slots=True)
class Watched:
    """One process under watch and what is known of it now."""

    target: Target
    birth_t_s: float
    """Since when its history can be known: its start, or when it was first seen."""
    sample: Sample | None = None
    limit: Limit | None = None
    figures: RuntimeFigures | None = None
    verdicts: tuple[Verdict, ...] = ()
    """What the latest poll made of it, one verdict a subject on which there is something to say."""
    collections: list[tuple[float, int]] = field(default_factory=list)
    """Collections so far at the polls of the last two minutes, oldest first."""

    @property
    def key(self) -> ProcessKey:
        """Which life of which process."""
        return self.target.process.key

    def age_s(self, t_s: float) -> float:
        """Return how long the process has run."""
        return max(0.0, t_s - self.target.process.started_t_s)

    @property
    def collections_per_minute(self) -> float | None:
        """How often the collector ran lately; None where nothing tells it, and in the first minute."""
        if not self.collections:
            return None
        (first_t_s, first), (last_t_s, last) = self.collections[0], self.collections[-1]
        if last_t_s - first_t_s < MINUTE_S:
            return None
        return MINUTE_S * (last - first) / (last_t_s - first_t_s)


class Departure(NamedTuple):
    """A process that is no longer watched."""

    key: ProcessKey
    service: str
    why: str


class WatchedSet:
    """Opens, samples and closes; the only owner of the sampler, the limit reader and the probes."""

    def __init__(self, sampler: Sampler, limits: LimitReader, probes: ChosenProbes) -> None:
        self._sampler = sampler
        self._limits = limits
        self._probes = probes
        self._watched: dict[ProcessKey, Watched] = {}
        self._ended: set[ProcessKey] = set()
        """Who has ended since a selection that still names them."""
        self._targets: Iterable[Target] = ()
        self._turns: list[tuple[float, ProcessKey]] = []
        """When whose limit is to be read: a heap."""
        self._keys: frozenset[ProcessKey] = frozenset()
        self.changed: set[ProcessKey] = set()
        """Whose figures or limit are others than when this was last emptied."""
        self.generation = self._counted = 0
        """Another number after every change of who is watched, and as what."""

    def __iter__(self) -> Iterator[Watched]:
        return iter(self._watched.values())

    def __len__(self) -> int:
        return len(self._watched)

    def __contains__(self, key: ProcessKey) -> bool:
        return key in self._watched

    @property
    def keys(self) -> frozenset[ProcessKey]:
        """Return who is watched."""
        if len(self._keys) != len(self._watched) or self._counted != self.generation:
            self._keys, self._counted = frozenset(self._watched), self.generation
        return self._keys

    def of(self, keys: Iterable[ProcessKey]) -> list[Watched]:
        """Return those of them that are watched."""
        return [self._watched[key] for key in keys if key in self._watched]

    def pids_by_service(self) -> dict[str, set[int]]:
        """Return the pids of every service's processes."""
        pids: dict[str, set[int]] = {}
        for one in self:
            pids.setdefault(one.target.service, set()).add(one.key.pid)
        return pids

    def update(self, targets: Iterable[Target], t_s: float) -> tuple[list[Watched], list[Departure]]:
        """Take over a new selection; return who is new and who left: no longer selected, or renamed.

        One whose service got another name goes on with its history, but leaves the old name.
        """
        if targets is self._targets:
            return [], []
        self._targets = targets
        self.generation += 1
        wanted = {target.process.key: target for target in targets}
        self._ended &= wanted.keys()
        wanted = {key: target for key, target in wanted.items() if key not in self._ended}
        left = [departure for w in self if (departure := _departure(w, wanted.get(w.key)))]
        for departure in left:
            if departure.key not in wanted:
                self.close(departure.key)
        opened = [self._open(target, t_s) for key, target in wanted.items() if key not in self._watched]
        for key, target in wanted.items():
            self._watched[key].target = target
            if not self._probes.follow(target):
                self._take(self._watched[key], None, t_s)
            self._sampler.note_children(key, target.children)
        return opened, left

    def poll(self, t_s: float) -> list[Departure]:
        """Sample everybody; return whose process has ended. One that cannot be read now keeps no sample."""
        polled = self._sampler.poll(t_s)
        ended = [self._end(key, gone) for key, gone in polled.gone if key in self._watched]
        for key, seen in polled.changed:
            if key in self._watched:
                self._watched[key].sample = seen
                self.changed.add(key)
        self._read_limits(t_s)
        for key, figures in self._probes.poll(t_s):
            self._take(self._watched[key], figures, t_s)
        return ended

    def _end(self, key: ProcessKey, gone: Gone) -> Departure:
        service = self._watched[key].target.service
        self._ended.add(key)
        self.close(key)
        return Departure(key, service, gone.why)

    def close(self, key: ProcessKey) -> None:
        """Stop watching one process."""
        self._watched.pop(key, None)
        self.changed.discard(key)
        self.generation += 1
        self._sampler.close(key)
        self._probes.close(key)

    def close_all(self) -> None:
        """Stop watching everybody."""
        for key in list(self._watched):
            self.close(key)

    def _open(self, target: Target, t_s: float) -> Watched:
        self._sampler.open(target.process)
        started = target.process.started_t_s
        watched = Watched(target, started if t_s - started <= STARTED_BEFORE_US_S else t_s)
        self._watched[watched.key] = watched
        heappush(self._turns, (t_s, watched.key))
        return watched

    def _read_limits(self, t_s: float) -> None:
        """Read the limits of those whose turn it is: the oldest reading first."""
        while self._turns and t_s >= self._turns[0][0]:
            _, key = heappop(self._turns)
            watched = self._watched.get(key)
            if watched is not None:
                first_s = 0.0 if watched.limit else LIMIT_EVERY_S * (key.pid % TURNS) / TURNS
                heappush(self._turns, (t_s + LIMIT_EVERY_S - first_s, key))
                limit = self._limits.limit(key.pid, t_s)
                if limit != watched.limit:
                    watched.limit = limit
                    self.changed.add(key)

    def _take(self, watched: Watched, figures: RuntimeFigures | None, t_s: float) -> None:
        """Take over what a runtime tells of its heap now."""
        if figures != watched.figures:
            watched.figures = figures
            self.changed.add(watched.key)
        if watched.figures is not None and watched.figures.collections is not None:
            recent = [seen for seen in watched.collections if t_s - seen[0] <= 2 * MINUTE_S]
            before = recent or watched.collections[-1:]
            watched.collections = [*before, (t_s, watched.figures.collections)]


def _departure(watched: Watched, wanted: Target | None) -> Departure | None:
    service = watched.target.service
    if wanted is None:
        return Departure(watched.key, service, "no longer watched")
    if wanted.service != service:
        return Departure(watched.key, service, f"is watched as {wanted.service} now")
    return None
