"""Decides which waiting alerts of an incident one message can stand for, and what that message says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.model import Alert, Transition
from agent.text import one_line
from agent.units import format_utc

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_WHY_CHARS = 100
"""Channels cut a note that is long; what happened comes before the rest of it."""
_FIGURES = frozenset({Transition.UPDATED, Transition.REMINDED})
"""What the next one of them says better."""
_COVERS: dict[Transition, frozenset[Transition]] = {
    Transition.UPDATED: _FIGURES,
    Transition.REMINDED: _FIGURES,
    Transition.WORSENED: _FIGURES | {Transition.WORSENED},
}


@dataclass(frozen=True, slots=True)
class Merge:
    """The first so many waiting alerts are told by the next one, which says so."""

    count: int
    alert: Alert


def merge(waiting: Sequence[Alert], why: str, *, told: bool) -> Merge | None:
    """Return what the first waiting alerts of one incident and channel become; None where each is needed.

    `waiting` is in the order of the transitions; `told` says whether the channel has had any alert of the
    incident: an opening that it has not had is only left out when the incident is over, or open again.
    `why` is what held them up, for people; empty where that is not known.
    """
    for count in range(len(waiting) - 1, 0, -1):
        earlier, last = waiting[:count], waiting[count]
        if _covers(last.transition, {alert.transition for alert in earlier}, told=told):
            return Merge(count, _told_by(last, earlier, why))
    return None


def _covers(last: Transition, earlier: set[Transition], *, told: bool) -> bool:
    if last.ends or (last is Transition.OPENED and not told):
        return True
    return earlier <= _COVERS.get(last, frozenset())


def _told_by(last: Alert, earlier: Sequence[Alert], why: str) -> Alert:
    """Return the last alert with what its note owes to the reader, and what only an earlier one carries."""
    opening = next((alert for alert in earlier if alert.transition is Transition.OPENED), None)
    if opening is not None and last.transition.ends:
        story = f"opened {format_utc(opening.at_wall_s)}, over {format_utc(last.at_wall_s)}"
    else:
        messages = "1 earlier message" if len(earlier) == 1 else f"{len(earlier)} earlier messages"
        story = f"stands for {messages} since {format_utc(earlier[0].at_wall_s)}"
    late = f"could not be delivered before: {one_line(why, MAX_WHY_CHARS)}" if why else "told only now"
    note = "; ".join(part for part in (story, late, last.note) if part)
    evidence = last.evidence or next((a.evidence for a in reversed(earlier) if a.evidence), None)
    return replace(last, note=note, evidence=evidence, items=last.items or earlier[-1].items)
