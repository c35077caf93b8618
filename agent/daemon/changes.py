"""Notices that a service was restarted or has another release: no trouble, but it explains what follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from agent.alerts.wording import RELEASE_LABELS
from agent.incident_parts import identity
from agent.model import Alert, Event, Instant, Process, State, Subject, Transition
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.daemon.watched import Watched
    from agent.model import ProcessKey

PAIRED_WITHIN_S = 300.0
"""A process that ends and one that starts within so long of each other are a restart."""
YOUNG_S = 600.0
"""What has run for longer was not started now, it was only not watched before."""
GATHER_S = 60.0
"""A rolling restart is told as one."""
AT_MOST_EVERY_S = 300.0
MAX_ITEMS = 20


class _Run(NamedTuple):
    """One process, as far as a change is told by it."""

    service: str
    process: Process
    labels: dict[str, str]

    @property
    def release(self) -> str:
        return next((self.labels[label] for label in RELEASE_LABELS if self.labels.get(label)), "")


class _Replacement(NamedTuple):
    """One process in the place of another, or the same under another release."""

    before: _Run
    after: _Run


@dataclass(slots=True)
class _Unpaired:
    """What has ended or started lately and has found no counterpart yet."""

    ended: list[tuple[float, _Run]] = field(default_factory=list)
    started: list[tuple[float, _Run]] = field(default_factory=list)

    def forget(self, before_t_s: float) -> None:
        self.ended = [one for one in self.ended if one[0] >= before_t_s]
        self.started = [one for one in self.started if one[0] >= before_t_s]

    def pair(self) -> list[_Replacement]:
        """Take out the pairs; the same program first, as a service may have several."""
        pairs = []
        for ended in list(self.ended):
            partner = min(
                self.started, key=lambda s: s[1].process.name != ended[1].process.name, default=None
            )
            if partner is not None:
                self.ended.remove(ended)
                self.started.remove(partner)
                pairs.append(_Replacement(ended[1], partner[1]))
        return pairs


@dataclass(slots=True)
class _Pending:
    """What is still to be told of a service."""

    since_t_s: float
    replacements: list[_Replacement] = field(default_factory=list)


class Changes:
    """Compares who is watched from tick to tick. Workers that their parent replaces are no restart."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._known: dict[ProcessKey, _Run] | None = None
        self._generation: int | None = None
        self._unpaired: dict[str, _Unpaired] = {}
        self._pending: dict[str, _Pending] = {}
        self._told_t_s: dict[str, float] = {}

    def look(self, watched: Sequence[Watched], now: Instant, generation: int | None = None) -> list[Alert]:
        """Take in who is watched now; return what is to be told of services that have changed.

        With the same `generation` as before nobody has come or gone, and nobody has another label.
        """
        if generation is None or generation != self._generation:
            self._generation = generation
            present = {run.process.key: run for run in _roots(watched)}
            if self._known is not None:
                self._compare(self._known, present, now)
            self._known = present
        return [self._alert(service, now) for service in self._due(now.t_s)]

    def _compare(self, known: dict[ProcessKey, _Run], present: dict[ProcessKey, _Run], now: Instant) -> None:
        for key in known.keys() - present.keys():
            self._of(known[key]).ended.append((now.t_s, known[key]))
        for key, run in present.items():
            if key in known:
                if known[key].service == run.service and known[key].release != run.release:
                    self._keep(_Replacement(known[key], run), now.t_s)
            elif now.t_s - run.process.started_t_s < YOUNG_S:
                self._of(run).started.append((now.t_s, run))
        for service, unpaired in list(self._unpaired.items()):
            unpaired.forget(now.t_s - PAIRED_WITHIN_S)
            for replacement in unpaired.pair():
                self._keep(replacement, now.t_s)
            if not (unpaired.ended or unpaired.started):
                del self._unpaired[service]

    def _of(self, run: _Run) -> _Unpaired:
        return self._unpaired.setdefault(run.service, _Unpaired())

    def _keep(self, replacement: _Replacement, t_s: float) -> None:
        pending = self._pending.setdefault(replacement.after.service, _Pending(t_s))
        pending.replacements.append(replacement)

    def _due(self, t_s: float) -> list[str]:
        """Return the services whose changes have been gathered, and were not told of too lately."""
        self._told_t_s = {s: told for s, told in self._told_t_s.items() if t_s - told < AT_MOST_EVERY_S}
        return [
            service
            for service, pending in self._pending.items()
            if t_s - pending.since_t_s >= GATHER_S and service not in self._told_t_s
        ]

    def _alert(self, service: str, now: Instant) -> Alert:
        pending = self._pending.pop(service)
        self._told_t_s[service] = now.t_s
        run = pending.replacements[-1].after
        since_wall_s = now.wall_at(pending.since_t_s)
        return Alert(
            incident_id=identity("change", service, self._host, repr(since_wall_s)),
            sequence=1,
            transition=Transition.OPENED,
            event=Event.CHANGE,
            subject=Subject.HEAP,
            severity=State.SOUND,
            service=service,
            host=self._host,
            at_wall_s=since_wall_s,
            since_wall_s=since_wall_s,
            age_s=max(0.0, now.t_s - run.process.started_t_s),
            pid=run.process.key.pid,
            process=run.process.name,
            command=run.process.command,
            labels=run.labels,
            headline=_headline(service, pending.replacements),
            items=tuple(_items(pending.replacements, now.t_s))[:MAX_ITEMS],
        )


def _roots(watched: Iterable[Watched]) -> list[_Run]:
    """Return the processes whose parent is not one of their own service."""
    targets = [one.target for one in watched]
    pids = {(target.service, target.process.key.pid) for target in targets}
    return [
        _Run(target.service, target.process, dict(target.labels))
        for target in targets
        if (target.service, target.process.parent_pid) not in pids
    ]


def _headline(service: str, replacements: Sequence[_Replacement]) -> str:
    before, after = replacements[-1].before.release, replacements[-1].after.release
    if before != after:
        return f"{service} has release {after or 'none'} now, was {before or 'none'}"
    restarts = [r for r in replacements if r.before.process.key != r.after.process.key]
    if len(restarts) > 1:
        return f"{service} was restarted: {len(restarts)} processes"
    pids = (r.process.key.pid for r in replacements[-1])
    return f"{service} was restarted: pid {' -> '.join(map(str, pids))}"


def _items(replacements: Iterable[_Replacement], t_s: float) -> Iterable[str]:
    for before, after in replacements:
        old, new = before.process, after.process
        if old.key != new.key:
            ran = format_duration(max(0.0, t_s - old.started_t_s))
            yield f"pid {old.key.pid} ({old.name}, started {ran} ago) -> pid {new.key.pid} ({new.name})"
        if old.exe != new.exe and old.exe and new.exe:
            yield f"executable {old.exe} -> {new.exe}"
        if old.command != new.command:
            yield f"command {old.command} -> {new.command}"
        if before.release != after.release:
            yield f"release {before.release or 'none'} -> {after.release or 'none'}"
