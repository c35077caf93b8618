"""Tells transitions: to the channels of the routes, within silences and storms, with story and evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agent import storm_news, storms
from agent.alerts.first_line import first_line
from agent.alerts.routing import channels_for, quiet_until
from agent.daemon.capturing import LOUD, Capturing
from agent.daemon.course import History
from agent.daemon.lines import log_change, log_silence, log_storm
from agent.daemon.view import growing
from agent.incident_rules import withhold
from agent.model import Transition
from agent.silences import silence_of
from agent.storms import Entry, Storm, Weather
from agent.watch.options import WatchEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.evidence.worker import CaptureWorker
    from agent.incidents import Change, Incident
    from agent.model import Alert, Instant
    from agent.silences import Silence

MAX_NOTED_SERVICES = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a service beside its incident."""

    entry: WatchEntry | None
    labels: Mapping[str, str]
    workers: int
    """How many processes of it are watched."""


class _Addressed(NamedTuple):
    """Who hears of a transition."""

    incident: Incident
    names: tuple[str, ...]
    quiet_until_wall_s: Mapping[str, float]
    silence: Silence | None = None
    storm: Storm | None = None
    """The storm that tells it instead, as it is with it."""


class Teller:
    """Decides who hears of a transition, and stores it with its deliveries before anything is sent."""

    def __init__(
        self,
        config: Config,
        host: str,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        captures: CaptureWorker | None,
        wake: Callable[[], None],
        hold_s: float,
    ) -> None:
        self._config = config
        self._host = host
        self._outbox = outbox
        self._channels = channels
        self._wake = wake
        self._hold_s = hold_s
        self.capturing = Capturing(config, outbox, captures, wake)
        """Knows the evidence."""
        self.last_alert_wall_s: dict[str, float] = {}
        self.history: Callable[[Change], History] = lambda _: History()
        """Tells of the time before a change."""
        self.silences: tuple[Silence, ...] = ()
        """Those that hold."""
        self.weather = Weather(storms=outbox.ledger.storms())

    def reconfigure(self, config: Config, channels: Mapping[str, Channel]) -> None:
        """Tell by new routes and channels from now on."""
        self._config, self._channels = config, channels
        self.capturing.reconfigure(config)

    def hear_silences(self, silences: Collection[Silence], now: Instant) -> None:
        """Take over the silences that are stored; those that are over are forgotten."""
        holding = tuple(one for one in silences if one.left_s(now) > 0)
        over = [one for one in silences if one not in holding]
        for one in holding:
            if one not in self.silences:
                log_silence(one, now, begins=True)
        for one in self.silences:
            if one.pattern not in {other.pattern for other in holding}:
                log_silence(one, now, begins=False)
        if over:
            self._outbox.ledger.forget_silences(over)
        self.silences = holding

    def silence_of(self, service: str, now: Instant) -> Silence | None:
        """Return the silence of a service; None where it may be spoken of."""
        return silence_of(service, self.silences, now)

    def tell(self, change: Change, now: Instant, about: Told) -> Incident:
        """Store a transition with its deliveries; return the incident as it is then."""
        alert = self._alert(change, about)
        to = self._addressed(change, alert, about, now)
        tier = self.capturing.tier(change.transition, change.incident.state, about.entry)
        capture = tier is not None
        self._outbox.record(
            to.incident,
            [(name, alert) for name in to.names],
            now,
            self._hold_s if capture else 0.0,
            story=alert,
            storm=to.storm,
            quiet_until_wall_s=to.quiet_until_wall_s,
        )
        self._note_alert(change.incident.service, now.wall_s)
        silenced_until_wall_s = now.wall_s + to.silence.left_s(now) if to.silence else None
        log_change(
            change,
            alert,
            to.names,
            capturing=capture,
            storm=to.incident.storm,
            silenced_until_wall_s=silenced_until_wall_s,
        )
        if tier is not None:
            self.capturing.ask(change, now, alert, tier, about.entry)
        self._wake()
        return to.incident

    def settle(self, open_ids: Collection[str], now: Instant) -> None:
        """Tell what there is to tell of storms."""
        if not self.weather.storms:
            return
        before = {storm.storm_id: storm for storm in self.weather.storms}
        self.weather, news = storm_news.settle(self.weather, open_ids, now, self._config.incidents)
        told = {one.storm.storm_id for one in news}
        for storm in self.weather.storms:
            if storm.storm_id not in told and storm != before[storm.storm_id]:
                self._outbox.ledger.save_storm(storm, now)
        for one in news:
            self._tell_storm(one, now)

    def acknowledge_storm(self, storm_id: str, by: str, why: str, now: Instant) -> None:
        """Tell that somebody takes care of a whole storm."""
        for storm in self.weather.storms:
            news = storm_news.acknowledge(storm, by, why, now) if storm.storm_id == storm_id else None
            if news is not None:
                self.weather = self.weather.with_storm(news.storm)
                self._tell_storm(news, now)

    def _alert(self, change: Change, about: Told) -> Alert:
        links = self._config.links
        alert, history = change.alert(self._host, dict(about.labels)), self.history(change)
        return replace(
            alert,
            note=alert.note if change.transition.ends else _with_workers(change, about.workers),
            evidence=self.capturing.of(change.incident.incident_id),
            course=history.course,
            heap_before=history.heap_before,
            runbook_url=links.runbook,
            page_url=links.page,
        )

    def _addressed(self, change: Change, alert: Alert, about: Told, now: Instant) -> _Addressed:
        """Return who hears of a transition: those of the routes, unless a silence or a storm holds it."""
        incident, transition = change.incident, change.transition
        told = self._outbox.channels_told(incident.incident_id)
        own = about.entry.channels if about.entry else None
        names = channels_for(alert, self._channels, self._config.routes, own=own, told=told)
        quiet = quiet_until(alert, names, self._config.routes, own=own)
        silence = self.silence_of(incident.service, now)
        if transition.ends:
            return _Addressed(incident, names, quiet, silence)
        if silence is not None:
            return _Addressed(withhold(incident, transition, now), (), quiet, silence)
        if transition in LOUD and names:
            storm = self._storm(incident, alert, names, quiet, now)
            incident = replace(incident, storm=storm.storm_id if storm else "")
            return _Addressed(incident, () if storm else names, quiet, storm=storm)
        if incident.storm or transition is Transition.ACKNOWLEDGED:
            names = tuple(name for name in names if name in told)
        return _Addressed(incident, names, quiet)

    def _storm(
        self,
        incident: Incident,
        alert: Alert,
        names: tuple[str, ...],
        quiet: Mapping[str, float],
        now: Instant,
    ) -> Storm | None:
        """Return the storm that tells of an incident; None when it is told singly."""
        said = first_line(replace(alert, transition=Transition.OPENED)).rpartition(" (host ")[0]
        entry = Entry(
            incident_id=incident.incident_id,
            service=incident.service,
            leaks=growing(incident),
            severity=incident.state,
            line=f"{said} (incident {incident.incident_id})",
            channels=names,
            quiet_until_wall_s=dict(quiet),
        )
        self.weather, storm = storms.arrive(self.weather, entry, now, self._config.incidents.storm_after)
        return storm

    def _tell_storm(self, news: storm_news.News, now: Instant) -> None:
        links, names = self._config.links, [name for name in news.channels if name in self._channels]
        alerts = [
            (name, replace(news.alert(name, self._host), runbook_url=links.runbook, page_url=links.page))
            for name in names
        ]
        quiet = news.quiet_until_wall_s()
        self._outbox.record_notices(alerts, now, storm=news.storm, quiet_until_wall_s=quiet)
        log_storm(news, names)
        self._wake()

    def _note_alert(self, service: str, wall_s: float) -> None:
        """Note when people were last told of a service; the oldest of very many are forgotten."""
        self.last_alert_wall_s.pop(service, None)
        self.last_alert_wall_s[service] = wall_s
        if len(self.last_alert_wall_s) > MAX_NOTED_SERVICES:
            del self.last_alert_wall_s[next(iter(self.last_alert_wall_s))]


def _with_workers(change: Change, workers: int) -> str:
    """Return why it is told, and how many of the service's processes it is about."""
    if workers <= 1:
        return change.note
    said = f"{len(change.incident.living)} of {workers} workers"
    return f"{change.note}; {said}" if change.note else said
