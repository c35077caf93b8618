"""Publishes every completed tick: health view, gauges, systemd's line, the status file, the summary."""

from __future__ import annotations

import logging
from heapq import nlargest
from typing import TYPE_CHECKING

from agent import __version__
from agent.daemon.view import chances, channel_health, growing, service_health
from agent.logs import log_event
from agent.model import State
from agent.status_file import WRITE_EVERY_S, IncidentLine, ParkedDelivery, WatchedProcess
from agent.status_file import write as write_status
from agent.web.health import ChannelHealth, HealthView, ServiceHealth, SilenceHealth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.alerts.delivery import Deliverer
    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.daemon.gauges import Gauges
    from agent.daemon.keeper import IncidentKeeper
    from agent.daemon.watched import Watched
    from agent.incidents import Incident
    from agent.model import Instant
    from agent.sdnotify import Notifier
    from agent.watch.targets import Selection

logger = logging.getLogger(__name__)

SUMMARY_EVERY_S = 3600.0
SERVICES_EVERY_S = 5.0
"""How often the services are summed up anew where no incident opens or ends: not at every poll a second."""
_SOUND = State.SOUND  # looked up once: of a thousand processes it takes a while
MAX_LISTED = 200
"""Of thousands of processes the status file lists so many."""
CHANNELS_EVERY_S = 10.0
"""How often the outbox is asked how the channels deliver."""


class Publisher:
    """Holds the newest view, and tells the changes of it."""

    def __init__(  # noqa: PLR0913 - everything that is told and everybody who is
        self,
        config: Config,
        started: Instant,
        *,
        keeper: IncidentKeeper,
        outbox: Outbox,
        deliverer: Deliverer,
        notifier: Notifier,
        gauges: Gauges,
        state_dir: Path,
        config_path: str,
    ) -> None:
        self._config = config
        self._started = started
        self._keeper = keeper
        self._outbox = outbox
        self._deliverer = deliverer
        self._notifier = notifier
        self._gauges = gauges
        self._state_dir = state_dir
        self._config_path = config_path
        self._channels: tuple[ChannelHealth, ...] = ()
        self._channels_t_s = float("-inf")
        self._services: tuple[ServiceHealth, ...] = ()
        self._services_t_s = float("-inf")
        self._services_at: tuple[str, ...] = ()
        self._written_t_s = float("-inf")
        self._summary_t_s = started.t_s
        self._cannot_write = ""
        self.ticks = 0
        self.late = 0
        self.failing = ""
        """Why the latest tick failed; empty when it was completed."""
        self.line = ""
        """The last status line."""
        self.view = HealthView(__version__, started.t_s, config.poll_interval_s, None, 0.0, 0, 0, 0)

    def reconfigure(self, config: Config) -> None:
        """Publish by another configuration from now on."""
        self._config = config
        self._channels_t_s = float("-inf")
        self._gauges.reconfigure(config)

    def completed(
        self, now: Instant, took_s: float, watched: Sequence[Watched], selection: Selection
    ) -> None:
        """Publish one completed tick."""
        self.ticks += 1
        self.failing = ""
        incidents = self._keeper.open_incidents
        self.view = self._view(now, took_s, watched, incidents)
        self._gauges.publish(watched, incidents)
        changed = self._tell_systemd(len(watched), incidents)
        if changed or now.t_s - self._written_t_s >= WRITE_EVERY_S:
            self._written_t_s = now.t_s
            self._write(now, watched, incidents, selection)
        if now.t_s - self._summary_t_s >= SUMMARY_EVERY_S:
            self._summary_t_s = now.t_s
            self._summarise(len(watched), incidents)

    def _view(
        self, now: Instant, took_s: float, watched: Sequence[Watched], incidents: Sequence[Incident]
    ) -> HealthView:
        if now.t_s - self._channels_t_s >= CHANNELS_EVERY_S:
            self._channels_t_s = now.t_s
            self._channels = channel_health(self._config.live_channels, self._outbox, self._deliverer, now)
        critical = sum(i.state is State.CRITICAL for i in incidents)
        return HealthView(
            version=__version__,
            started_t_s=self._started.t_s,
            interval_s=self._config.poll_interval_s,
            last_tick_t_s=now.t_s,
            tick_s=took_s,
            ticks=self.ticks,
            warnings_open=len(incidents) - critical,
            criticals_open=critical,
            services=self._services_now(now, watched, incidents),
            channels=self._channels,
            silences=tuple(
                SilenceHealth(one.pattern, now.wall_s + one.left_s(now), one.by)
                for one in self._keeper.silences
            ),
        )

    def _services_now(
        self, now: Instant, watched: Sequence[Watched], incidents: Sequence[Incident]
    ) -> tuple[ServiceHealth, ...]:
        """Return how the services are, as of a few seconds ago at most."""
        at = (str(len(watched)), *(incident.incident_id for incident in incidents))
        if at != self._services_at or now.t_s - self._services_t_s >= SERVICES_EVERY_S:
            self._services_at, self._services_t_s = at, now.t_s
            self._services = service_health(watched, incidents, self._keeper.last_alert_wall_s)
        return self._services

    def _tell_systemd(self, watching: int, incidents: Sequence[Incident]) -> bool:
        over = len({i.service for i in incidents if not growing(i)})
        line = f"watching {watching}, {_leaking(incidents)} leaking" + (
            f", {over} over a limit" if over else ""
        )
        if line == self.line:
            return False
        self.line = line
        self._notifier.status(line)
        return True

    def _write(
        self, now: Instant, watched: Sequence[Watched], incidents: Sequence[Incident], selection: Selection
    ) -> None:
        parked = [ParkedDelivery(d.alert.incident_id, d.channel, d.last_error) for d in self._outbox.parked()]
        listed = _listed(watched, incidents)
        try:
            write_status(
                self._state_dir,
                self.view,
                now,
                watching=[_watched_line(one, incidents) for one in listed],
                unlisted=len(watched) - len(listed),
                incidents=[self._incident_line(one, now) for one in incidents],
                parked=parked,
                dropped=selection.dropped,
                denied=len(selection.denied),
                config_path=self._config_path,
            )
        except OSError as error:
            self._say_cannot_write(str(error.strerror))
        else:
            self._cannot_write = ""

    def _say_cannot_write(self, why: str) -> None:
        if why != self._cannot_write:
            self._cannot_write = why
            log_event(logger, "status", level=logging.WARNING, why=f"cannot be written: {why}")

    def _incident_line(self, incident: Incident, now: Instant) -> IncidentLine:
        evidence = self._keeper.evidence_of(incident.incident_id)
        return IncidentLine(
            incident.incident_id,
            incident.service,
            incident.subject,
            incident.state,
            incident.onset_wall_s,
            incident.event,
            evidence.directory if evidence else "",
            incident.lead.verdict.probability,
            incident.lead.verdict.kind,
            self._keeper.standing_of(incident, now),
        )

    def _summarise(self, watching: int, incidents: Sequence[Incident]) -> None:
        log_event(
            logger,
            "summary",
            watching=watching,
            services=len(self.view.services),
            leaking=_leaking(incidents),
            critical=self.view.criticals_open,
            ticks=self.ticks,
            late=self.late,
            undelivered=sum(channel.pending + channel.parked for channel in self.view.channels),
            silenced=",".join(one.service for one in self.view.silences) or None,
        )


def _leaking(incidents: Sequence[Incident]) -> int:
    """Return how many services have something that grows."""
    return len({incident.service for incident in incidents if growing(incident)})


def _listed(watched: Sequence[Watched], incidents: Sequence[Incident]) -> Sequence[Watched]:
    """Return those that people ask for: who grows, and the largest of the others."""
    if len(watched) <= MAX_LISTED:
        return watched
    members = {member.key for incident in incidents for member in incident.living}
    return nlargest(MAX_LISTED, watched, key=lambda one: (one.key in members, bool(one.verdicts), _heap(one)))


def _heap(watched: Watched) -> int:
    return watched.sample.heap_bytes if watched.sample else 0


def _watched_line(watched: Watched, incidents: Sequence[Incident]) -> WatchedProcess:
    members = [m for i in incidents if (m := i.member(watched.key))]
    worst = max(members, key=lambda m: m.state) if members else None
    return WatchedProcess(
        service=watched.target.service,
        pid=watched.key.pid,
        name=watched.target.process.name,
        heap_bytes=_heap(watched),
        limit_bytes=watched.limit.limit_bytes if watched.limit else None,
        state=worst.state if worst else _SOUND,
        rate_bytes_per_hour=worst.verdict.rate.value if worst and worst.verdict.rate else None,
        probability=max((chance.probability for chance in chances(watched.verdicts)), default=None),
        disproof=next((v.disproof.text for v in watched.verdicts if v.disproof), ""),
    )
