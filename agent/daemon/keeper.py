"""Keeps the open incidents: verdicts become transitions, stored with their alerts; evidence is taken."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from agent import incident_rules
from agent.alerts.routing import channels_for
from agent.daemon.lines import log_change, log_suspect
from agent.incidents import Observation
from agent.model import State, Subject, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.daemon.lineage import Over
    from agent.daemon.watched import Departure, Watched
    from agent.evidence.worker import CaptureWorker
    from agent.incidents import Change, Incident
    from agent.model import Evidence, Instant, ProcessKey, Verdict
    from agent.watch.options import WatchEntry

EVIDENCE_HOLD_S = 5.0
"""An alert waits at most this long for its evidence."""
MAX_NOTED_SERVICES = 1000
SAVE_EVERY_S = 60.0
"""An incident's latest figures are stored this often; transitions at once."""
SUSPECT_AGAIN_S = 3600.0
"""A process that is suspected again is told of only if it was not for this long."""


def _never(_: str) -> bool:
    return False


class IncidentKeeper:
    """All open incidents, by service and subject."""

    def __init__(
        self,
        config: Config,
        host: str,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        captures: CaptureWorker | None,
        wake: Callable[[], None],
        hold_s: float = EVIDENCE_HOLD_S,
    ) -> None:
        self._config = config
        self._host = host
        self._outbox = outbox
        self._channels = channels
        self._captures = captures
        self._wake = wake
        self._hold_s = hold_s
        self._open = {(i.service, i.subject): i for i in outbox.open_incidents()}
        self._saved_t_s: dict[str, float] = {}
        self._suspects: dict[tuple[ProcessKey, Subject], float] = {}
        self._evidence: dict[str, Evidence] = {}
        self.last_alert_wall_s: dict[str, float] = {}
        self.course: Callable[[Change], tuple[tuple[float, float], ...]] = lambda _: ()
        """Tells the growth that an alert draws."""

    def reconfigure(self, config: Config, channels: Mapping[str, Channel]) -> None:
        """Tell by new routes and channels from now on; incidents stay open."""
        self._config, self._channels = config, channels

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Return what is open."""
        return tuple(self._open.values())

    def evidence_of(self, incident_id: str) -> Evidence | None:
        """Return the newest evidence taken for an incident since the agent started."""
        return self._evidence.get(incident_id)

    def subjects_of(self, watched: Watched) -> set[Subject]:
        """Return the subjects on which a process belongs to an open incident."""
        service = watched.target.service
        return {
            subject
            for subject in Subject
            if (incident := self._open.get((service, subject))) and incident.member(watched.key)
        }

    def observe(self, watched: Watched, verdict: Verdict, now: Instant) -> None:
        """Take in one verdict; tell whom it concerns when it changes something."""
        service = watched.target.service
        self._tell_suspect(watched, verdict)
        source = watched.limit.source if watched.limit else ""
        seen = Observation(service, watched.target.process, verdict, source)
        before = self._open.get((service, verdict.subject))
        incident, changes = incident_rules.observe(before, seen, now, self._config.incidents)
        if incident is not None:
            self._keep(incident, changes, now, watched.target.entry, watched.target.labels)

    def depart(
        self, departures: Iterable[Departure], now: Instant, holds: Callable[[str], bool] = _never
    ) -> None:
        """Take in that processes have ended or are no longer watched; `holds` tells of lineages."""
        for key, service, why in departures:
            self._suspects = {k: v for k, v in self._suspects.items() if k[0] != key}
            for incident in [i for i in self._open.values() if i.service == service and i.member(key)]:
                held = incident.subject is Subject.HEAP and holds(service)
                after, changes = incident_rules.depart(incident, key, now, why, held=held)
                self._keep(after, changes, now, self._entry(service))

    def depart_missing(
        self, watched: Iterable[Watched], now: Instant, holds: Callable[[str], bool] = _never
    ) -> None:
        """Take in who ended while the agent was not there to see it; `holds` tells of lineages."""
        present = {(one.target.service, one.key) for one in watched}
        for incident in list(self._open.values()):
            alive = {key for service, key in present if service == incident.service}
            held = incident.subject is Subject.HEAP and holds(incident.service)
            after, changes = incident_rules.depart_missing(
                incident, alive, now, why="ended while leakwatch was not running", held=held
            )
            if after != incident:
                self._keep(after, changes, now, self._entry(incident.service))

    def release(self, over: Iterable[Over], now: Instant) -> None:
        """Take in of which services the lineage is over, and why."""
        for service, why, sound in over:
            incident = self._open.get((service, Subject.HEAP))
            if incident is not None:
                after, changes = incident_rules.release(incident, now, why, sound=sound)
                self._keep(after, changes, now, self._entry(service))

    def remind(self, now: Instant) -> None:
        """Tell again what has been open for long."""
        for incident in list(self._open.values()):
            after, changes = incident_rules.remind(incident, now, self._config.incidents)
            if changes:
                self._keep(after, changes, now, self._entry(incident.service))

    def save_all(self, now: Instant) -> None:
        """Store the latest figures of every open incident."""
        for incident in self._open.values():
            self._outbox.save(incident, now)

    def _keep(
        self,
        incident: Incident,
        changes: Iterable[Change],
        now: Instant,
        entry: WatchEntry | None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        place = (incident.service, incident.subject)
        changes = tuple(changes)
        for change in changes:
            self._tell(change, now, entry, dict(labels or (entry.labels if entry else {})))
        if incident.ended:
            self._open.pop(place, None)
            self._evidence.pop(incident.incident_id, None)
            self._saved_t_s.pop(incident.incident_id, None)
        else:
            self._open[place] = incident
        if not changes and now.t_s - self._saved_t_s.get(incident.incident_id, 0.0) >= SAVE_EVERY_S:
            self._saved_t_s[incident.incident_id] = now.t_s
            self._outbox.save(incident, now)

    def _tell(self, change: Change, now: Instant, entry: WatchEntry | None, labels: dict[str, str]) -> None:
        incident = change.incident
        links = self._config.links
        alert = replace(
            change.alert(self._host, labels),
            evidence=self._evidence.get(incident.incident_id),
            course=self.course(change),
            runbook_url=links.runbook,
            page_url=links.page,
        )
        told = self._outbox.channels_told(incident.incident_id)
        own = entry.channels if entry else None
        names = channels_for(alert, self._channels, self._config.routes, own=own, told=told)
        capture = self._wants_evidence(change, entry)
        hold_s = self._hold_s if capture else 0.0
        self._outbox.record(incident, [(name, alert) for name in names], now, hold_s)
        self._note_alert(incident.service, now.wall_s)
        log_change(change, alert, names, capturing=capture)
        if capture and self._captures is not None:
            job = f"{incident.incident_id}/{incident.sequence}"
            self._captures.submit(job, change.lead.process, incident.incident_id, now, self._captured)
        self._wake()

    def _note_alert(self, service: str, wall_s: float) -> None:
        """Note when people were last told of a service; the oldest of very many are forgotten."""
        self.last_alert_wall_s.pop(service, None)
        self.last_alert_wall_s[service] = wall_s
        if len(self.last_alert_wall_s) > MAX_NOTED_SERVICES:
            del self.last_alert_wall_s[next(iter(self.last_alert_wall_s))]

    def _wants_evidence(self, change: Change, entry: WatchEntry | None) -> bool:
        wanted = self._config.snapshots if entry is None or entry.snapshots is None else entry.snapshots
        begins = change.transition in (Transition.OPENED, Transition.WORSENED)
        grave = change.incident.state is State.CRITICAL
        return bool(wanted and self._config.evidence.enabled and self._captures) and begins and grave

    def _captured(self, job: str, evidence: Evidence) -> None:
        """Release the waiting alerts; runs on the thread that took the evidence."""
        incident_id, sequence = job.split("/")
        self._evidence[incident_id] = evidence
        self._outbox.release(incident_id, int(sequence), evidence)
        self._wake()

    def _entry(self, service: str) -> WatchEntry | None:
        return next((entry for entry in self._config.watch if entry.service == service), None)

    def _tell_suspect(self, watched: Watched, verdict: Verdict) -> None:
        """Say that a suspicion begins; not of one that goes on, nor beside an open incident."""
        place = (watched.key, verdict.subject)
        if verdict.state is not State.SUSPECT:
            return
        seen_t_s = self._suspects.get(place, -math.inf)
        self._suspects[place] = verdict.t_s
        incident = self._open.get((watched.target.service, verdict.subject))
        known = incident is not None and incident.member(watched.key) is not None
        if known or verdict.t_s - seen_t_s < SUSPECT_AGAIN_S:
            return
        log_suspect(watched.target.service, watched.key.pid, verdict)
