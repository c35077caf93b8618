"""Asks for the evidence of alarms, and hands on what comes of it: to the alerts, and to the judge."""

from __future__ import annotations

from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from agent.consent import Consent
from agent.daemon.follow_ups import FollowUps
from agent.evidence.source import Tier
from agent.evidence.worker import Order
from agent.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.evidence.worker import CaptureWorker
    from agent.incidents import Change, Incident
    from agent.model import Alert, Evidence, Instant, ProcessKey
    from agent.watch.options import WatchEntry

LOUD = (Transition.OPENED, Transition.WORSENED)
"""Transitions that are worth evidence."""


class Capturing:
    """What was asked for about open incidents, and the newest that came; without `captures` nothing is."""

    def __init__(
        self, config: Config, outbox: Outbox, captures: CaptureWorker | None, wake: Callable[[], None]
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._captures = captures
        self._wake = wake
        self._evidence: dict[str, Evidence | None] = {}
        """The newest of each open incident of which any was asked for."""
        self._follow_ups = FollowUps()
        self._disproved: SimpleQueue[tuple[ProcessKey, str]] = SimpleQueue()

    def reconfigure(self, config: Config) -> None:
        """Ask by another configuration from now on."""
        self._config = config

    def of(self, incident_id: str) -> Evidence | None:
        """Return the newest evidence taken for an incident since the agent started."""
        return self._evidence.get(incident_id)

    def forget(self, incident_id: str) -> None:
        """Let go of what is known of an incident that is over."""
        self._evidence.pop(incident_id, None)
        self._follow_ups.forget(incident_id)

    def tier(self, transition: Transition, state: State, entry: WatchEntry | None) -> Tier | None:
        """Return how much evidence a transition is worth; None for none."""
        wanted = self._config.snapshots if entry is None or entry.snapshots is None else entry.snapshots
        possible = self._config.evidence.enabled and self._captures
        if not (wanted and possible and transition in LOUD):
            return None
        return Tier.MEDIUM if state is State.CRITICAL else Tier.CHEAP

    def ask(self, change: Change, now: Instant, alert: Alert, tier: Tier, entry: WatchEntry | None) -> None:
        """Let the evidence of a transition be taken."""
        if self._captures is None:
            return
        order = self._order(change.incident, now, alert, tier, entry)
        if tier >= Tier.MEDIUM:
            self._follow_ups.plan(order, self._config.evidence.cooldown_s)
        self._captures.submit(order, partial(self._captured, order.process.key))

    def resume(
        self, incident: Incident, alarms: Sequence[Alert], now: Instant, entry: WatchEntry | None
    ) -> None:
        """Let evidence be taken that an earlier run of the agent has asked for and not received.

        `alarms` are the incident's transitions that were worth any, the latest last. Only that of a critical
        leak is made up for: a warning's is a look at how it was then.
        """
        if not alarms or not incident.living or _was_taken(alarms):
            return
        tier = self.tier(alarms[-1].transition, incident.state, entry)
        if tier is Tier.MEDIUM:
            order = self._order(incident, now, alarms[-1], tier, entry)
            self._follow_ups.plan(order, 0.0, in_any_case=True)

    def follow_up(self, now: Instant) -> None:
        """Take the second look where the first could not be compared with anything."""
        if self._captures is not None:
            for order in self._follow_ups.due(now, self._captures.unpaired):
                self._captures.submit(order, partial(self._followed, order.process.key))

    def take_disproved(self) -> Iterator[tuple[ProcessKey, str]]:
        """Yield whose growth captures have shown to be no leak since the last call, and why."""
        while True:
            try:
                yield self._disproved.get_nowait()
            except Empty:
                return

    def _order(
        self, incident: Incident, now: Instant, alert: Alert, tier: Tier, entry: WatchEntry | None
    ) -> Order:
        self._evidence.setdefault(incident.incident_id, None)
        job = f"{incident.incident_id}/{alert.sequence}"
        consent = entry.allow if entry else Consent()
        return Order(job, incident.lead.process, incident.incident_id, now, consent, tier, alert)

    def _captured(self, key: ProcessKey, job: str, evidence: Evidence) -> None:
        """Release the waiting alerts; runs on the thread that took the evidence."""
        incident_id, sequence = job.split("/")
        known = self._evidence.get(incident_id)
        if incident_id in self._evidence and (evidence.directory or known is None):
            self._evidence[incident_id] = evidence
            if evidence.disproof and (known is None or known.directory != evidence.directory):
                self._disproved.put((key, evidence.disproof))  # not again when heavy evidence is added
        self._outbox.release(incident_id, int(sequence), evidence)
        self._wake()

    def _followed(self, key: ProcessKey, job: str, evidence: Evidence) -> None:
        """Take over a second look; one that found nothing, as the process has ended, tells nothing."""
        if evidence.directory:
            self._captured(key, job, evidence)


def _was_taken(alarms: Sequence[Alert]) -> bool:
    """Whether the latest has evidence of its own; it goes out with that of the one before until then."""
    *before, latest = (one.evidence.directory if one.evidence else "" for one in alarms)
    return latest not in ("", *before)
