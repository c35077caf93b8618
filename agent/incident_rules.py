"""The rules by which verdicts over time become transitions: opened, again, worsened, updated, resolved."""

from __future__ import annotations

from dataclasses import replace

from agent.incident_ends import depart, depart_missing, release, succeed
from agent.incident_parts import Member
from agent.incident_updates import acknowledge, drifted, remind, speak_up, withhold
from agent.incidents import (
    Change,
    Incident,
    IncidentOptions,
    Observation,
    calm_words,
    incident_id,
    passed_s,
    told_as,
)
from agent.model import Event, Instant, State, Subject, Transition, Verdict
from agent.units import format_duration

__all__ = [
    "acknowledge",
    "calm_needed_s",
    "depart",
    "depart_missing",
    "may_relapse",
    "observe",
    "release",
    "remind",
    "speak_up",
    "succeed",
    "withhold",
]

MAX_CALM_NEEDED_S = 6 * 3600.0
"""A leak of days is over when its floor has been flat for this long."""
MAX_UNSEEN_S = 900.0
"""Time that nobody looked (the agent was down) counts as calm for at most this much a gap."""
MAX_RELAPSES = 8
"""The calm that is needed doubles with each relapse, so often at most."""

_LIMITS = (Subject.HEAP_PERCENT, Subject.COLLECTIONS)
"""Subjects with a limit to stay below, not a floor to be flat."""


def observe(
    open_incident: Incident | None,
    seen: Observation,
    now: Instant,
    options: IncidentOptions,
    *,
    quiet: bool = False,
) -> tuple[Incident | None, tuple[Change, ...]]:
    """Return the incident after one more verdict, and what people have to be told about it.

    `open_incident` is the one of the same service and subject, None where there is none. An incident that
    comes back `ended` is over: store it with its change, and hand over None from then on, or the same for
    as long as it may relapse. A `quiet` one is not updated: nobody would hear of it.
    Raises ValueError for an incident of another service or subject.
    """
    alarming = seen.verdict.state >= State.WARNING
    if open_incident is None:
        return _opened(seen, now) if alarming else (None, ())
    if (open_incident.service, open_incident.subject) != (seen.service, seen.verdict.subject):
        raise ValueError(f"incident {open_incident.incident_id} is not about {seen.service}")
    if open_incident.ended:
        return _after_the_end(open_incident, seen, now, options) if alarming else (None, ())
    known = open_incident.member(seen.process.key)
    if known is None and not alarming:
        return open_incident, ()
    incident = open_incident.with_member(_seen_again(known, seen, now))
    if incident.orphaned is not None:
        incident = replace(incident, orphaned=None)
    if alarming:
        return _alarmed(incident, seen, now, quiet=quiet)
    disproof = _news(known, seen) if incident.event is Event.LEAK else ""
    return _calmed(incident, now, options, disproof)


def may_relapse(ended: Incident, now: Instant, options: IncidentOptions) -> bool:
    """Whether an alarm would be the same incident again: soon after it was resolved."""
    return ended.resolved and 0 <= passed_s(ended.told, now) <= options.resolve_after_s


def calm_needed_s(member: Member, subject: Subject, options: IncidentOptions, relapses: int = 0) -> float:
    """Return how long this member must be calm: as long as its growth took, within bounds.

    Twice as long after each relapse: what comes and goes is told ever more seldom.
    """
    growth_s = 0.0 if subject in _LIMITS else min(member.growth_s, MAX_CALM_NEEDED_S)
    needed_s = max(options.resolve_after_s, growth_s)
    doubled_s: float = needed_s * 2 ** min(relapses, MAX_RELAPSES)
    return max(needed_s, min(doubled_s, MAX_CALM_NEEDED_S))


def _after_the_end(
    ended: Incident, seen: Observation, now: Instant, options: IncidentOptions
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the same incident opened again where it was resolved only just now, else a new one."""
    fresh, changes = _opened(seen, now)
    if not may_relapse(ended, now, options):
        return fresh, changes
    again = replace(
        fresh,
        incident_id=ended.incident_id,
        opened=ended.opened,
        sequence=ended.sequence,
        relapses=ended.relapses + 1,
    )
    note = f"again, {format_duration(passed_s(ended.told, now))} after it was resolved"
    return told_as(again, Transition.OPENED, fresh.lead, now, note)


def _opened(seen: Observation, now: Instant) -> tuple[Incident, tuple[Change, ...]]:
    verdict, member = seen.verdict, _seen_again(None, seen, now)
    incident = Incident(
        incident_id=incident_id(seen.service, verdict.subject, seen.process.key, now.wall_s),
        service=seen.service,
        subject=verdict.subject,
        event=verdict.event,
        state=verdict.state,
        opened=now,
        onset_wall_s=now.wall_s if verdict.onset_t_s is None else now.wall_at(verdict.onset_t_s),
        members=(member,),
        told=now,
        sequence=0,
    )
    return told_as(incident, Transition.OPENED, member, now, "")


def _seen_again(known: Member | None, seen: Observation, now: Instant) -> Member:
    """Return the member after this verdict: the calm begins, goes on, or is over.

    What is still suspected of growing is not calm, though it is not as likely a leak as it was.
    """
    verdict = seen.verdict
    calm_since_t_s: float | None = None
    if verdict.state >= State.WARNING:
        growth_s = 0.0 if verdict.onset_t_s is None else max(0.0, now.t_s - verdict.onset_t_s)
    else:
        if known is None or verdict.state is not State.SUSPECT or verdict.subject in _LIMITS:
            calm_since_t_s = _calm_since_t_s(known, now)
        growth_s = known.growth_s if known and not verdict.disproof else 0.0
    return Member(seen.process, verdict, seen.limit_source, now.t_s, calm_since_t_s, growth_s)


def _calm_since_t_s(known: Member | None, now: Instant) -> float:
    if known is None or known.calm_since_t_s is None:
        return now.t_s
    unseen_s = max(0.0, now.t_s - known.seen_t_s - MAX_UNSEEN_S)
    return min(now.t_s, known.calm_since_t_s + unseen_s)


def _alarmed(
    incident: Incident, seen: Observation, now: Instant, *, quiet: bool
) -> tuple[Incident, tuple[Change, ...]]:
    """Take over what the verdict says of the whole incident; told are a higher severity and other figures."""
    verdict, lead = seen.verdict, incident.lead
    event, onset_wall_s = _event_after(incident, verdict), incident.onset_wall_s
    if lead.key == seen.process.key and verdict.onset_t_s is not None:
        onset_wall_s = now.wall_at(verdict.onset_t_s)
    if (event, onset_wall_s) != (incident.event, incident.onset_wall_s):
        incident = replace(incident, event=event, onset_wall_s=onset_wall_s)
    if verdict.state > incident.state:
        note = f"{incident.state} to {verdict.state} after {format_duration(passed_s(incident.opened, now))}"
        worse = replace(incident, state=verdict.state, reminders=0, acknowledged=None)
        return told_as(worse, Transition.WORSENED, lead, now, note)
    return drifted(incident, now, quiet=quiet) if lead.key == seen.process.key else (incident, ())


def _event_after(incident: Incident, verdict: Verdict) -> Event:
    """Return as what it is told after an alarm: as a leak until that is shown to be none."""
    alarming = [m for m in incident.living if m.state >= State.WARNING]
    if any(m.verdict.event is Event.LEAK for m in alarming):
        return Event.LEAK
    return verdict.event if verdict.disproof else incident.event


def _news(known: Member | None, seen: Observation) -> str:
    """Return why the growth was no leak, where that is known only since this verdict; else nothing."""
    disproof = seen.verdict.disproof
    new = disproof is not None and (known is None or known.verdict.disproof != disproof)
    return disproof.text if disproof and new else ""


def _calmed(
    incident: Incident, now: Instant, options: IncidentOptions, disproof: str
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident while nobody alarms: over at once by a disproof, else after a while."""
    living, subject = incident.living, incident.subject
    if any(m.calm_since_t_s is None for m in living):
        return incident, ()
    if disproof:
        return told_as(incident, Transition.RESOLVED, incident.lead, now, disproof)
    if any(m.calm_s(now.t_s) < calm_needed_s(m, subject, options, incident.relapses) for m in living):
        return incident, ()
    calm_s = min(m.calm_s(now.t_s) for m in living)
    words = calm_words(subject)
    note = f"{'floor flat' if words == 'flat' else words} for {format_duration(calm_s)}"
    ended = len(incident.members) - len(living)
    if ended:
        note += f"; {'1 process' if ended == 1 else f'{ended} processes'} ended before"
    return told_as(incident, Transition.RESOLVED, incident.lead, now, note)
