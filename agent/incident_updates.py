"""The rules by which people hear of an open incident again, or do not: updates, reminders, silences, acks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.incident_parts import Acknowledgement, Drift, Withheld
from agent.incidents import passed_s, reminder_interval_s, told_as
from agent.model import Subject, Transition
from agent.units import format_bytes, format_duration, format_utc_clock

if TYPE_CHECKING:
    from agent.incidents import Change, Incident, IncidentOptions
    from agent.model import Estimate, Instant

UPDATE_EVERY_S = 3600.0
"""After any message the next update comes no sooner."""
DRIFT_STANDS_S = 600.0
"""Other figures are told when they have stood at every look for so long."""
UPDATE_FACTOR = 1.5
"""Half as much again, or down to two thirds: what is told as a change."""

_COUNTED = (Subject.THREADS, Subject.FDS, Subject.CHILDREN, Subject.COLLECTIONS)
"""Subjects whose amounts are plain counts."""


def drifted(incident: Incident, now: Instant, *, quiet: bool = False) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after a look at its leading process: updated when what was told no longer holds.

    Told is a rate, or a time to exhaustion counted from when it was told, that is `UPDATE_FACTOR` away from
    what was told and whose interval excludes that. It must have stood for `DRIFT_STANDS_S`, one direction,
    every look; an update comes `UPDATE_EVERY_S` after the last message at the earliest.
    """
    incident = _taught(incident)
    found = _drift(incident, now)
    if found is None:
        return (incident if incident.drift is None else replace(incident, drift=None)), ()
    upwards, note = found
    if incident.drift is None or incident.drift.upwards != upwards:
        return replace(incident, drift=Drift(now, upwards)), ()
    mute = quiet or incident.acknowledged is not None or incident.withheld is not None
    stands_s, told_s = passed_s(incident.drift.since, now), passed_s(incident.told, now)
    if mute or stands_s < DRIFT_STANDS_S or told_s < UPDATE_EVERY_S:
        return incident, ()
    return told_as(incident, Transition.UPDATED, incident.lead, now, note)


def remind(incident: Incident, now: Instant, options: IncidentOptions) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after a look at the clock: told again when that is due.

    Not while every living member is calm: what is about to be resolved is no news. Not what somebody takes
    care of, nor what nobody has heard of yet.
    """
    if incident.ended or incident.acknowledged or incident.withheld or _calm(incident):
        return incident, ()
    waited_s = passed_s(incident.told, now)
    if waited_s < 0:
        return replace(incident, told=now), ()
    if waited_s < reminder_interval_s(incident.reminders, options):
        return incident, ()
    again = replace(incident, reminders=incident.reminders + 1)
    next_s = reminder_interval_s(again.reminders, options)
    lasted = format_duration(passed_s(incident.opened, now))
    note = f"still going on after {lasted}; next reminder in {format_duration(next_s)}"
    return told_as(again, Transition.REMINDED, again.lead, now, note)


def acknowledge(
    incident: Incident, given: Acknowledgement, now: Instant
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after somebody said that he takes care of it: no more updates and reminders.

    Worsening ends that: what was acknowledged was less grave.
    """
    if incident.ended or incident.acknowledged:
        return incident, ()
    note = f"by {given.by}" + (f": {given.why}" if given.why else "")
    return told_as(replace(incident, acknowledged=given), Transition.ACKNOWLEDGED, incident.lead, now, note)


def withhold(incident: Incident, transition: Transition, now: Instant) -> Incident:
    """Return the incident with a transition noted of which nobody was told because of a silence."""
    if transition not in (Transition.OPENED, Transition.WORSENED):
        return incident
    known = incident.withheld
    if known is not None and known.transition is Transition.OPENED:
        return incident
    since = known.since if known else now
    current = known.current if known else incident.lead.verdict.current
    return replace(incident, withheld=Withheld(transition, since, current))


def speak_up(incident: Incident, until: Instant) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after its silence is over, at `until`: what was withheld is told in one message.

    Not while every living member is calm: what is about to be resolved is no news.
    """
    withheld = incident.withheld
    if withheld is None or incident.ended or _calm(incident):
        return incident, ()
    told_until = format_utc_clock(until.wall_s)
    note = f"silenced until {told_until}"
    grown = incident.lead.verdict.current - withheld.current
    if grown > 0:
        note += f", grew {_amount(incident.subject, grown)} meanwhile"
    spoken = replace(incident, withheld=None)
    return told_as(spoken, withheld.transition, incident.lead, until, note)


def _calm(incident: Incident) -> bool:
    return all(member.calm_since_t_s is not None for member in incident.living)


def _taught(incident: Incident) -> Incident:
    """Return the incident with figures to compare with, where none were known when it was told."""
    verdict = incident.lead.verdict
    if incident.told_rate is None and verdict.rate is not None:
        incident = replace(incident, told_rate=verdict.rate.value)
    return incident


def _drift(incident: Incident, now: Instant) -> tuple[bool, str] | None:
    """Return whether it has become faster than was told, and how that is said; None for no change."""
    verdict, subject = incident.lead.verdict, incident.subject
    if verdict.rate and _differs(incident.told_rate, verdict.rate):
        before = _amount(subject, incident.told_rate or 0.0)
        note = f"rate {_amount(subject, verdict.rate.value)}/h, was {before}/h when last told"
        return verdict.rate.value > (incident.told_rate or 0.0), note
    if verdict.exhaustion_hours is None or incident.told_hours is None:
        return None
    passed_hours = max(0.0, passed_s(incident.told, now)) / 3600.0
    whole = type(verdict.exhaustion_hours)(*(hours + passed_hours for hours in verdict.exhaustion_hours))
    if not _differs(incident.told_hours, whole):
        return None
    left = format_duration(verdict.exhaustion_hours.value * 3600.0)
    expected = format_duration(max(0.0, incident.told_hours - passed_hours) * 3600.0)
    return whole.value < incident.told_hours, f"full in {left}, not in {expected} as last told"


def _differs(told: float | None, found: Estimate) -> bool:
    """Whether an estimate is far from what was told, and its interval excludes that."""
    if told is None or told <= 0 or found.value <= 0:
        return False
    ratio = found.value / told
    far = ratio >= UPDATE_FACTOR or ratio <= 1 / UPDATE_FACTOR
    return far and not found.low <= told <= found.high


def _amount(subject: Subject, value: float) -> str:
    return f"{value:.3g}" if subject in _COUNTED else format_bytes(value)
