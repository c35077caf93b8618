"""Whose growth a full collection has shown to be no leak, told with the verdicts until it grows anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from agent.detect.floors import highest_sample
from agent.detect.series import Uncollected
from agent.model import Event, Reason, State, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.detect.series import Series
    from agent.history.rings import Rings
    from agent.incidents import Incident
    from agent.model import Disproof, ProcessKey, Verdict

REASON = "collection"
TOLD_S = 86400.0
"""For so long it is told of a process of which there is nothing else to say."""
KEPT_S = 7 * 86400.0
"""For so long after the end of an incident a restart of the agent still knows of it."""


class Disproofs:
    """What is known of each process; growth that the detector takes for a leak ends it."""

    def __init__(self) -> None:
        self._known: dict[ProcessKey, Disproof] = {}

    def note(self, key: ProcessKey, disproof: Disproof) -> None:
        """Take it that the growth of a process until then was no leak."""
        self._known[key] = disproof

    def forget(self, key: ProcessKey) -> None:
        """Let go of a process that is no longer watched."""
        self._known.pop(key, None)

    def recent(self, t_s: float) -> set[ProcessKey]:
        """Return of whom it is told even where there is nothing else to say."""
        return {key for key in self._known if self.subjects_of(key, t_s)}

    def subjects_of(self, key: ProcessKey, t_s: float) -> frozenset[Subject]:
        """Return the subjects of a process on which it is told."""
        known = self._known.get(key)
        told = known is not None and t_s - known.until_t_s < TOLD_S
        return frozenset({Subject.HEAP} if told else ())

    def told(self, key: ProcessKey, verdict: Verdict) -> Verdict:
        """Return a verdict with what speaks against a leak."""
        known = self._known.get(key) if verdict.subject is Subject.HEAP else None
        if known is None:
            return verdict
        if verdict.event is Event.LEAK and verdict.state >= State.WARNING:
            del self._known[key]
            return verdict
        reason = Reason(REASON, passed=False, text=known.text)
        return replace(verdict, disproof=known, reasons=(*verdict.reasons, reason))


def stored(incidents: Iterable[Incident]) -> Iterator[tuple[ProcessKey, Disproof]]:
    """Yield what incidents keep of it, in their order."""
    for incident in incidents:
        for member in incident.living:
            if member.verdict.disproof is not None:
                yield member.key, member.verdict.disproof


def collected(rings: Rings, one: Series, disproof: Disproof) -> Series:
    """Return a series of which is known that it was no leak; what was known before goes up in it."""
    birth, until = np.array([one.birth_t_s]), np.array([disproof.until_t_s])
    peak = float(highest_sample(rings.past(np.array([one.slot])), birth, until)[0])
    known, since_t_s = one.uncollected, disproof.since_t_s
    if known is not None:
        since_t_s, peak = min(since_t_s, known.since_t_s), max(peak, known.peak)
    return replace(one, uncollected=Uncollected(since_t_s, disproof.until_t_s, peak))
