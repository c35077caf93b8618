"""What is told of one subject over time: changes of its state, and rates that have become other ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.incident_rules import observe
from agent.incidents import Observation
from agent.model import (
    Estimate,
    Event,
    Instant,
    Process,
    ProcessKey,
    Reason,
    State,
    Subject,
    Transition,
)

if TYPE_CHECKING:
    from agent.incidents import Change, Incident, IncidentOptions
    from agent.model import Verdict

RATE_CHANGE = 0.2
"""A rate that has changed by more than this share is told again, ..."""
LONGER = 0.2
"""... once the growth has gone on for this share of the time that it had lasted when it was told, ..."""
MAX_RATES = 10
"""... at most so often an incident."""
COUNTED = (Subject.THREADS, Subject.FDS, Subject.CHILDREN)
_PROCESS = Process(
    key=ProcessKey(0, 0, "recorded"),
    name="recorded",
    command="",
    exe="",
    user="",
    parent_pid=0,
    cgroup="/",
    started_t_s=0.0,
    runtime="unknown",
)


@dataclass(frozen=True, slots=True)
class Said:
    """One change of verdict, on the scaled clock that begins with the first sample."""

    t_s: float
    state: str
    """suspect, warning, critical or resolved."""
    kind: str
    """The series that speaks."""
    subject: Subject
    event: Event
    rate: Estimate | None
    """Growth an hour; None where it has ended, and near a limit."""
    onset_t_s: float | None
    current: float
    exhaustion_hours: Estimate | None
    reasons: tuple[Reason, ...]
    probability: float | None = None
    """How likely it is that it leaks; None where only plain limits speak, and where it is over."""
    grows: str = ""
    """What grows, one of `agent.model.Kind`; empty where nothing can be said."""

    @property
    def counts(self) -> bool:
        """Whether amounts are threads, descriptors or children, not bytes."""
        return self.subject in COUNTED


class Story:
    """Follows one subject of one recording."""

    def __init__(self, options: IncidentOptions) -> None:
        self._options = options
        self._incident: Incident | None = None
        self._suspected_t_s: float | None = None
        """When it was last suspected; None while nothing is suspected."""
        self._newest: Said | None = None
        self._rates = 0
        self.waits = False
        """Whether another rate is told as soon as enough time has passed, though nothing else is found."""

    @property
    def idle(self) -> bool:
        """Whether nothing goes on, so that a sound verdict changes nothing."""
        return self._incident is None and self._suspected_t_s is None

    @property
    def kind(self) -> str | None:
        """The series that spoke last of what goes on; None while nothing does."""
        return None if self.idle or self._newest is None else self._newest.kind

    def tell(self, kind: str, verdict: Verdict) -> list[Said]:
        """Return what the newest verdict changes."""
        now = Instant(verdict.t_s, verdict.t_s)
        self.waits = False
        before = self._incident
        seen = Observation("recorded", _PROCESS, verdict)
        # Quiet: a recording is judged in a moment, and `_rate` tells other figures at its own pace.
        after, changes = observe(before, seen, now, self._options, quiet=True)
        self._incident = None if after is None or after.ended else after
        if changes:
            return [self._transition(change, kind, verdict) for change in changes]
        if self._incident is None:
            return self._suspicion(kind, verdict)
        return self._rate(kind, verdict, self._incident)

    def goes_on(self, t_s: float) -> None:
        """Take it that the newest verdict, an alarm or a suspicion, still holds."""
        if self._suspected_t_s is not None:
            self._suspected_t_s = t_s

    def _transition(self, change: Change, kind: str, verdict: Verdict) -> Said:
        self._suspected_t_s = None
        if change.transition is Transition.RESOLVED:
            return self._over(verdict, change.note)
        if change.transition is Transition.OPENED:
            self._rates = 0
        return self._say(str(change.incident.state), kind, verdict)

    def _suspicion(self, kind: str, verdict: Verdict) -> list[Said]:
        """Return a suspicion that begins, or one that is over: not renewed for as long as incidents are."""
        said, t_s = self._suspected_t_s, verdict.t_s
        if verdict.state is State.SUSPECT:
            self._suspected_t_s = t_s
            return [self._say(str(State.SUSPECT), kind, verdict)] if said is None else []
        if said is None or t_s - said < self._options.resolve_after_s:
            return []
        self._suspected_t_s = None
        return [self._over(verdict, "no longer suspected")]

    def _rate(self, kind: str, verdict: Verdict, incident: Incident) -> list[Said]:
        told = self._newest
        if verdict.state < State.WARNING or told is None or self._rates >= MAX_RATES:
            return []
        if not _is_another(verdict, told):
            return []
        self.waits = not _has_gone_on(verdict, told)
        if self.waits:
            return []
        self._rates += 1
        return [self._say(str(incident.state), kind, verdict)]

    def _say(self, state: str, kind: str, verdict: Verdict) -> Said:
        self._newest = Said(
            t_s=verdict.t_s,
            state=state,
            kind=kind,
            subject=verdict.subject,
            event=verdict.event,
            rate=verdict.rate,
            onset_t_s=verdict.onset_t_s,
            current=verdict.current,
            exhaustion_hours=verdict.exhaustion_hours,
            reasons=tuple(verdict.reasons),
            probability=verdict.probability,
            grows=verdict.kind,
        )
        return self._newest

    def _over(self, verdict: Verdict, why: str) -> Said:
        """Return the end of what was told last; a reason of it says why."""
        told = self._newest
        return Said(
            t_s=verdict.t_s,
            state=str(Transition.RESOLVED),
            kind=str(verdict.subject) if told is None else told.kind,
            subject=verdict.subject,
            event=verdict.event if told is None else told.event,
            rate=None,
            onset_t_s=None if told is None else told.onset_t_s,
            current=verdict.current,
            exhaustion_hours=None,
            reasons=(Reason("calm", passed=False, text=why), *verdict.reasons),
        )


def _is_another(verdict: Verdict, told: Said) -> bool:
    """Return whether the rate is notably another one than was told."""
    rate = verdict.rate
    if rate is None or told.rate is None:
        return rate is not None
    return abs(rate.value - told.rate.value) > RATE_CHANGE * abs(told.rate.value)


def _has_gone_on(verdict: Verdict, told: Said) -> bool:
    """Return whether growth has gone on for long enough since a rate of it was told, if one was."""
    if told.rate is None or told.onset_t_s is None:
        return True
    return verdict.t_s - told.t_s >= LONGER * (told.t_s - told.onset_t_s)
