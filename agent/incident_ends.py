"""The rules by which an incident's processes leave it, and what then becomes of it: a successor, or gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent.incident_parts import Orphaned
from agent.incidents import calm_words, passed_s, told_as
from agent.model import Transition
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.incident_parts import Member
    from agent.incidents import Change, Incident, IncidentOptions
    from agent.model import Instant, ProcessKey

MAX_GONE_MEMBERS = 20
"""Of the processes that ended while the incident goes on, the latest so many are kept."""
MAX_ORPHANED_S = 6 * 3600.0
"""Successors that never stay sound are not waited for any longer."""


class Successor(NamedTuple):
    """A process of the same service that runs after the incident's last one has ended."""

    pid: int
    sound_s: float
    """For how long it has run since then and nothing was suspected of it."""


def depart(
    incident: Incident,
    key: ProcessKey,
    now: Instant,
    why: str = "ended",
    *,
    held: bool = False,
    awaited: bool = False,
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after one of its processes is no longer there, or no longer watched (`why`).

    An incident that is `held` outlives its last process: restarts hide the leak that it is about. Where a
    successor is `awaited` it does so for a while: `succeed` decides what became of it.
    """
    member = incident.member(key)
    if incident.ended or member is None or member.gone:
        return incident, ()
    incident = _forget_oldest_gone(incident.with_member(replace(member, gone=True)))
    if incident.living or held:
        return incident, ()
    if awaited:
        return replace(incident, orphaned=Orphaned(now, f"process {member.key.pid} {why}")), ()
    return told_as(incident, Transition.GONE, member, now, _gone_note(incident, member, now, why))


def depart_missing(
    incident: Incident,
    alive: Collection[ProcessKey],
    now: Instant,
    why: str = "ended while the agent was down",
    *,
    held: bool = False,
    awaited: bool = False,
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after a restart of the agent or the host: members that are not `alive` depart."""
    changes: tuple[Change, ...] = ()
    for member in incident.living:
        if member.key not in alive:
            incident, changes = depart(incident, member.key, now, why, held=held, awaited=awaited)
    return incident, changes


def succeed(
    incident: Incident,
    successors: Collection[Successor],
    now: Instant,
    options: IncidentOptions,
    patience_s: float,
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after a look at who has taken the place of its last process.

    Resolved when a successor has been sound for `resolve_after`; gone when there is none after `patience_s`,
    or none that stays sound. One that alarms joins the incident by `observe`, which then goes on.
    """
    if incident.ended or incident.orphaned is None:
        return incident, ()
    since, why = incident.orphaned
    waited_s, last = passed_s(since, now), incident.lead
    if waited_s < 0:  # no clock can tell: the wait begins anew
        return replace(incident, orphaned=Orphaned(now, why)), ()
    best = max(successors, key=lambda one: (one.sound_s, one.pid), default=None)
    if best is not None and best.sound_s >= options.resolve_after_s:
        note = f"{why}; its successor {best.pid} has been sound for {format_duration(best.sound_s)}"
        return told_as(incident, Transition.RESOLVED, last, now, note)
    if waited_s < (MAX_ORPHANED_S if successors else patience_s):
        return incident, ()
    found = f"no successor stayed sound for {format_duration(options.resolve_after_s)}"
    missed = found if successors else f"no successor came within {format_duration(patience_s)}"
    note = f"{_gone_note(incident, last, since, '', why)}; {missed}"
    return told_as(incident, Transition.GONE, last, now, note)


def release(
    incident: Incident, now: Instant, why: str, *, sound: bool
) -> tuple[Incident, tuple[Change, ...]]:
    """Return the incident after nothing holds it any more: over, unless a process of it alarms.

    Resolved where later runs are `sound`, else gone with its processes; `why` is told.
    """
    if incident.ended or any(m.calm_since_t_s is None for m in incident.living):
        return incident, ()
    transition = Transition.RESOLVED if sound else Transition.GONE
    return told_as(incident, transition, incident.lead, now, why)


def _gone_note(incident: Incident, last: Member, now: Instant, why: str, said: str = "") -> str:
    lasted = format_duration(passed_s(incident.opened, now))
    seen = "was not seen healthy"
    if last.calm_since_t_s is not None:
        # The last look, not now: after a reboot the boot clocks cannot be compared.
        seen = f"was {calm_words(incident.subject)} only for {format_duration(last.calm_s(last.seen_t_s))}"
    said = said or f"process {last.key.pid} {why}"
    return f"{said}, {lasted} after the incident opened, and {seen}"


def _forget_oldest_gone(incident: Incident) -> Incident:
    gone = [m.key for m in incident.members if m.gone]
    surplus = set(gone[: max(0, len(gone) - MAX_GONE_MEMBERS)])
    if not surplus:
        return incident
    return replace(incident, members=tuple(m for m in incident.members if m.key not in surplus))
