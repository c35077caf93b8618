"""An incident over its life: what it is about, who belongs to it, what people were told, how it is stored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from agent.incident_parts import (
    Acknowledgement,
    Drift,
    Member,
    Orphaned,
    Withheld,
    acknowledgement_from,
    drift_from,
    identity,
    member_from,
    orphaned_from,
    withheld_from,
)
from agent.model import (
    Alert,
    Event,
    Instant,
    Process,
    ProcessKey,
    State,
    Subject,
    Transition,
    Verdict,
)
from agent.options import Duration, at_least, option

MAX_REMINDER_FACTOR = 4
"""The time between two reminders doubles up to this many times the configured one."""

_CALM_WORDS = {
    Subject.HEAP_PERCENT: "below the threshold",
    Subject.COLLECTIONS: "below the threshold",
    Subject.THREADS: "thread count flat",
    Subject.FDS: "descriptor count flat",
    Subject.CHILDREN: "number of children flat",
}


@dataclass(frozen=True, slots=True)
class IncidentOptions:
    """When an incident is repeated and when it is over."""

    remind_every_s: Duration = option(
        43200.0,
        key="remind_every",
        describe="an incident that goes on is told again after this, then after 2 and 4 times this",
        check=at_least(60.0, "at least 1m"),
    )
    resolve_after_s: Duration = option(
        1800.0,
        key="resolve_after",
        describe="least time a floor must be flat, or a successor sound, before the incident is over",
    )
    storm_after: int = option(
        10,
        describe="so many incidents are told singly within 5m, further ones together as a storm",
        check=at_least(1, "a whole number from 1"),
    )


class Observation(NamedTuple):
    """One verdict about one process of one service."""

    service: str
    process: Process
    verdict: Verdict
    limit_source: str = ""
    """Where the verdict's limit was found."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One leak (or one exceeded limit) of one service, over its whole life."""

    incident_id: str
    service: str
    subject: Subject
    event: Event
    state: State
    """The highest that people were told; it never falls."""
    opened: Instant
    onset_wall_s: float
    members: tuple[Member, ...]
    told: Instant
    """When people were last told anything about it."""
    reminders: int = 0
    """How many reminders were told since it opened or worsened."""
    sequence: int = 1
    """The number of the latest transition, from 1."""
    ended: bool = False
    told_rate: float | None = None
    """The growth an hour that people were told last."""
    told_hours: float | None = None
    """The hours to exhaustion that people were told last."""
    drift: Drift | None = None
    acknowledged: Acknowledgement | None = None
    withheld: Withheld | None = None
    storm: str = ""
    """The storm that tells of it instead of messages of its own; empty where none does."""
    orphaned: Orphaned | None = None
    resolved: bool = False
    """It has ended because it was sound, not because its process is gone."""
    relapses: int = 0
    """How often it came back soon after it was resolved."""

    @property
    def living(self) -> tuple[Member, ...]:
        """The members whose process still runs."""
        return tuple(m for m in self.members if not m.gone)

    @property
    def lead(self) -> Member:
        """The member that stands for all of them: alive before gone, then the worst."""
        return max(self.members, key=lambda member: member.weight)

    def member(self, key: ProcessKey) -> Member | None:
        """Return the member of that process, gone or not."""
        return next((m for m in self.members if m.key == key), None)

    def standing(self) -> str:
        """Return why nobody hears of it at present, in a clause; empty where people do."""
        if self.acknowledged:
            return f"acknowledged by {self.acknowledged.by}"
        if self.orphaned:
            return "ended; a sound successor is waited for"
        return f"told in storm {self.storm}" if self.storm else ""

    def with_member(self, member: Member) -> Incident:
        """Return the incident with this member added, or put in the place of its former self."""
        if self.member(member.key) is None:
            return replace(self, members=(*self.members, member))
        return replace(self, members=tuple(member if m.key == member.key else m for m in self.members))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(replace(self, members=tuple(one.in_words() for one in self.members)))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Incident:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **data
            | {
                "subject": Subject(data["subject"]),
                "event": Event(data["event"]),
                "state": State(data["state"]),
                "opened": Instant(*data["opened"]),
                "told": Instant(*data["told"]),
                "members": tuple(member_from(m) for m in data["members"]),
                "drift": drift_from(data.get("drift")),
                "acknowledged": acknowledgement_from(data.get("acknowledged")),
                "withheld": withheld_from(data.get("withheld")),
                "orphaned": orphaned_from(data.get("orphaned")),
            }
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of an incident, with the member that it is told by."""

    transition: Transition
    incident: Incident
    """As it is after the transition."""
    lead: Member
    at: Instant
    note: str

    def alert(self, host: str, labels: dict[str, str]) -> Alert:
        """Return what channels are told. The incident alone suffices, also after a restart of the agent."""
        incident, verdict, process = self.incident, self.lead.verdict, self.lead.process
        others = [m.key.pid for m in incident.living if m.key != self.lead.key]
        return Alert(
            incident_id=incident.incident_id,
            sequence=incident.sequence,
            transition=self.transition,
            event=incident.event,
            subject=incident.subject,
            severity=incident.state,
            service=incident.service,
            host=host,
            at_wall_s=self.at.wall_s,
            since_wall_s=incident.onset_wall_s,
            age_s=max(0.0, verdict.t_s - process.started_t_s),
            pid=process.key.pid,
            process=process.name,
            command=process.command,
            rate=verdict.rate,
            growth=verdict.growth,
            current=verdict.current,
            limit=verdict.limit,
            limit_source=self.lead.limit_source,
            exhaustion_hours=verdict.exhaustion_hours,
            reasons=tuple(verdict.reasons),
            labels=labels,
            pids=(process.key.pid, *others),
            young=verdict.young,
            note=self.note,
            probability=verdict.probability,
            kind=verdict.kind,
        )


def told_as(
    incident: Incident, transition: Transition, lead: Member, now: Instant, note: str
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after a transition, and the transition with the figures that it tells."""
    verdict = lead.verdict
    after = replace(
        incident,
        told=now,
        sequence=incident.sequence + 1,
        ended=transition.ends,
        resolved=transition is Transition.RESOLVED,
        told_rate=verdict.rate.value if verdict.rate else None,
        told_hours=verdict.exhaustion_hours.value if verdict.exhaustion_hours else None,
        drift=None,
    )
    return after, (Change(transition, after, lead, now, note),)


def passed_s(then: Instant, now: Instant) -> float:
    """Return seconds between two instants; negative where no clock can tell.

    The boot clock is right within one boot. It starts anew at a reboot, and then the wall clock has to do.
    """
    by_boot_s = now.t_s - then.t_s
    return by_boot_s if by_boot_s >= 0 else now.wall_s - then.wall_s


def reminder_interval_s(reminders: int, options: IncidentOptions) -> float:
    """Return the time from one message to the reminder after it: it doubles with each, up to four times."""
    factor: int = min(MAX_REMINDER_FACTOR, 1 << min(reminders, 8))
    return options.remind_every_s * factor


def calm_words(subject: Subject) -> str:
    """Return what a subject is while it does not alarm."""
    return _CALM_WORDS.get(subject, "flat")


def incident_id(service: str, subject: Subject, key: ProcessKey, opened_wall_s: float) -> str:
    """Return eight hexadecimal digits, the same for the same opening."""
    return identity(service, subject, str(key), repr(opened_wall_s))
