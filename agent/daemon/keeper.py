"""Keeps the open incidents: verdicts become transitions, and the clock, commands and successors do too."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from typing import TYPE_CHECKING

from agent import incident_rules
from agent.daemon.disproofs import KEPT_S, stored
from agent.daemon.lines import log_suspect
from agent.daemon.teller import Teller, Told
from agent.incident_ends import Successor
from agent.incidents import Observation
from agent.logs import log_event
from agent.model import State, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.daemon.course import History
    from agent.daemon.lineage import Over
    from agent.daemon.watched import Departure, Watched
    from agent.evidence.worker import CaptureWorker
    from agent.incidents import Change, Incident
    from agent.model import Disproof, Evidence, Instant, ProcessKey, Verdict
    from agent.silences import Silence
    from agent.watch.options import WatchEntry

logger = logging.getLogger(__name__)

EVIDENCE_HOLD_S = 5.0
"""An alert waits at most this long for its evidence."""
SAVE_EVERY_S = 60.0
"""An incident's latest figures are stored this often; transitions at once."""
SUSPECT_AGAIN_S = 3600.0
"""A process that is suspected again is told of only if it was not for this long."""
LEAST_PATIENCE_S = 120.0
MAX_PATIENCE_S = 900.0
"""A successor is waited for during two searches for processes, within these bounds."""


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
        self._outbox = outbox
        self._teller = Teller(config, host, outbox, channels, captures, wake, hold_s)
        self._open = {(i.service, i.subject): i for i in outbox.open_incidents()}
        self._ended: dict[tuple[str, Subject], Incident] | None = None
        """Those that were resolved lately and may relapse; None before the first tick."""
        self._saved_t_s: dict[str, float] = {}
        self._suspects: dict[tuple[ProcessKey, Subject], float] = {}
        self._running: dict[str, list[Watched]] = {}
        self._generation: int | None = None

    def recall_by(self, history: Callable[[Change], History]) -> None:
        """Let alerts carry what that tells of the time before a change."""
        self._teller.history = history

    @property
    def last_alert_wall_s(self) -> Mapping[str, float]:
        """When people were last told of a service."""
        return self._teller.last_alert_wall_s

    @property
    def silences(self) -> tuple[Silence, ...]:
        """Return the silences that hold."""
        return self._teller.silences

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """Return what is open."""
        return tuple(self._open.values())

    def take_disproved(self) -> Iterator[tuple[ProcessKey, str]]:
        """Yield whose growth captures have shown to be no leak since the last call, and why."""
        return self._teller.capturing.take_disproved()

    def disproofs(self, now: Instant) -> Iterator[tuple[ProcessKey, Disproof]]:
        """Yield what an earlier run of the agent knew, by incidents that are open or have ended lately."""
        return stored([*self._outbox.ledger.ended_since(now.wall_s - KEPT_S), *self._open.values()])

    def reconfigure(self, config: Config, channels: Mapping[str, Channel]) -> None:
        """Tell by new routes and channels from now on; incidents stay open."""
        self._config = config
        self._teller.reconfigure(config, channels)

    def evidence_of(self, incident_id: str) -> Evidence | None:
        """Return the newest evidence taken for an incident since the agent started."""
        return self._teller.capturing.of(incident_id)

    def standing_of(self, incident: Incident, now: Instant) -> str:
        """Return why nobody hears of an incident at present, in clauses; empty where people do."""
        silence = self._teller.silence_of(incident.service, now)
        return "; ".join(text for text in (incident.standing(), silence.told(now) if silence else "") if text)

    @property
    def members(self) -> set[ProcessKey]:
        """Return the processes that belong to an open incident."""
        return {member.key for incident in self._open.values() for member in incident.living}

    def subjects_of(self, watched: Watched) -> set[Subject]:
        """Return the subjects on which a process belongs to an open incident."""
        service = watched.target.service
        return {
            subject
            for subject in Subject
            if (incident := self._open.get((service, subject))) and incident.member(watched.key)
        }

    def begin(self, watched: Iterable[Watched], now: Instant, generation: int | None = None) -> None:
        """Take in who is watched in this tick, and what commands have written since the last one.

        With the same `generation` as before nobody has come or gone.
        """
        if generation is None or generation != self._generation:
            self._generation = generation
            running: dict[str, list[Watched]] = defaultdict(list)
            for one in watched:
                running[one.target.service].append(one)
            self._running = dict(running)
        if self._ended is None:
            recent = self._outbox.ledger.ended_since(now.wall_s - self._config.incidents.resolve_after_s)
            self._ended = {(i.service, i.subject): i for i in recent if i.resolved}
            self._resume(now)
        silences, acknowledged = self._outbox.ledger.inbox()
        self._teller.hear_silences(silences, now)
        for incident_id, given in acknowledged.items():
            self._teller.acknowledge_storm(incident_id, given.by, given.why, now)
            for incident in [i for i in self._open.values() if incident_id in (i.incident_id, i.storm)]:
                self._keep(*incident_rules.acknowledge(incident, given, now), now)
        if acknowledged:
            self._outbox.ledger.forget_acknowledgements(acknowledged)

    def observe(self, watched: Watched, verdict: Verdict, now: Instant) -> None:
        """Take in one verdict; tell whom it concerns when it changes something."""
        service, options = watched.target.service, self._config.incidents
        self._tell_suspect(watched, verdict)
        source = watched.limit.source if watched.limit else ""
        seen = Observation(service, watched.target.process, verdict, source)
        place = (service, verdict.subject)
        before = self._open.get(place) or (self._ended or {}).get(place)
        quiet = self._teller.silence_of(service, now) is not None
        incident, changes = incident_rules.observe(before, seen, now, options, quiet=quiet)
        if incident is not None:
            self._keep(incident, changes, now, watched)

    def depart(
        self, departures: Iterable[Departure], now: Instant, holds: Callable[[str], bool] = _never
    ) -> None:
        """Take in that processes have ended or are no longer watched; `holds` tells of lineages."""
        for key, service, why in departures:
            self._suspects = {k: v for k, v in self._suspects.items() if k[0] != key}
            for incident in [i for i in self._open.values() if i.service == service and i.member(key)]:
                after, changes = incident_rules.depart(
                    incident,
                    key,
                    now,
                    why,
                    held=incident.subject is Subject.HEAP and holds(service),
                    awaited=self._awaits(service),
                )
                self._keep_departed(incident, after, changes, now)

    def depart_missing(
        self, watched: Iterable[Watched], now: Instant, holds: Callable[[str], bool] = _never
    ) -> None:
        """Take in who ended while the agent was not there to see it; `holds` tells of lineages."""
        present = {(one.target.service, one.key) for one in watched}
        for incident in list(self._open.values()):
            alive = {key for service, key in present if service == incident.service}
            after, changes = incident_rules.depart_missing(
                incident,
                alive,
                now,
                why="ended while leakwatch was not running",
                held=incident.subject is Subject.HEAP and holds(incident.service),
                awaited=self._awaits(incident.service),
            )
            if after != incident:
                self._keep_departed(incident, after, changes, now)

    def release(self, over: Iterable[Over], now: Instant) -> None:
        """Take in of which services the lineage is over, and why."""
        for service, why, sound in over:
            incident = self._open.get((service, Subject.HEAP))
            if incident is not None:
                self._keep(*incident_rules.release(incident, now, why, sound=sound), now)

    def finish(self, now: Instant, holds: Callable[[str], bool] = _never) -> None:
        """Take in what the clock brings at the end of a tick: successors, reminders, silences, storms."""
        for incident in list(self._open.values()):
            if incident.orphaned and not (incident.subject is Subject.HEAP and holds(incident.service)):
                self._succeed(incident, now)
            elif self._teller.silence_of(incident.service, now) is None:
                self._remind(incident, now)
        options = self._config.incidents
        recent = (self._ended or {}).items()
        self._ended = {k: v for k, v in recent if incident_rules.may_relapse(v, now, options)}
        self._teller.capturing.follow_up(now)
        self._teller.settle({i.incident_id for i in self._open.values()}, now)

    def save_all(self, now: Instant) -> None:
        """Store the latest figures of every open incident."""
        for incident in self._open.values():
            self._outbox.save(incident, now)

    def _resume(self, now: Instant) -> None:
        """Let evidence be taken that an earlier run of the agent did not live to see."""
        for incident in self._open.values():
            alarms = self._outbox.ledger.alarms(incident.incident_id)
            self._teller.capturing.resume(incident, alarms, now, self._entry(incident.service))

    def _remind(self, incident: Incident, now: Instant) -> None:
        """Tell again what has been open for long, and at last what a silence has kept from people."""
        after, changes = incident_rules.speak_up(incident, now)
        if not changes:
            after, changes = incident_rules.remind(incident, now, self._config.incidents)
        if after != incident:
            self._keep(after, changes, now)

    def _succeed(self, incident: Incident, now: Instant) -> None:
        patience_s = min(MAX_PATIENCE_S, max(LEAST_PATIENCE_S, 2 * self._config.discovery_interval_s))
        successors = [
            Successor(one.key.pid, self._sound_s(one, incident, now))
            for one in self._running.get(incident.service, ())
            if incident.member(one.key) is None
        ]
        options = self._config.incidents
        after, changes = incident_rules.succeed(incident, successors, now, options, patience_s)
        if after != incident:
            self._keep(after, changes, now)

    def _sound_s(self, one: Watched, incident: Incident, now: Instant) -> float:
        """Return how long nothing has been suspected of a process since the incident's last one ended."""
        since_t_s = incident.orphaned.since.t_s if incident.orphaned else now.t_s
        suspected_t_s = self._suspects.get((one.key, incident.subject), -math.inf)
        return now.t_s - min(now.t_s, max(one.birth_t_s, since_t_s, suspected_t_s))

    def _awaits(self, service: str) -> bool:
        """Whether a process of the service can be followed by another.

        Not one that is named by its pid, nor one whose entry is no longer in the file.
        """
        entry = self._entry(service)
        return self._config.discovers if entry is None else entry.match.pid is None

    def _keep_departed(
        self, before: Incident, after: Incident, changes: tuple[Change, ...], now: Instant
    ) -> None:
        if after.orphaned and not before.orphaned:
            why = f"{after.orphaned.why}; a successor that stays sound is waited for"
            log_event(logger, "waiting", service=after.service, incident=after.incident_id, why=why)
        self._keep(after, changes, now)

    def _keep(
        self, incident: Incident, changes: Iterable[Change], now: Instant, watched: Watched | None = None
    ) -> None:
        place, told = (incident.service, incident.subject), False
        for change in changes:
            incident, told = self._teller.tell(change, now, self._told(incident, watched)), True
        if incident.ended:
            self._open.pop(place, None)
            self._teller.capturing.forget(incident.incident_id)
            self._saved_t_s.pop(incident.incident_id, None)
            if incident.resolved and self._ended is not None:
                self._ended[place] = incident
        else:
            self._open[place] = incident
            (self._ended or {}).pop(place, None)
        if not told and now.t_s - self._saved_t_s.get(incident.incident_id, 0.0) >= SAVE_EVERY_S:
            self._saved_t_s[incident.incident_id] = now.t_s
            self._outbox.save(incident, now)

    def _told(self, incident: Incident, watched: Watched | None) -> Told:
        running = self._running.get(incident.service, ())
        if watched is not None:
            return Told(watched.target.entry, watched.target.labels, len(running))
        entry = self._entry(incident.service)
        return Told(entry, entry.labels if entry else {}, len(running))

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
