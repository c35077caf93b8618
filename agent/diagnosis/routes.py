"""Where an alert would go: the daemon's own routing, asked about an alert that is made up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agent.alerts.base import DeliveryError
from agent.alerts.quiet import shown_time
from agent.alerts.routing import channels_for, judge, quiet_until
from agent.model import Alert, Event, Kind, State, Subject, Transition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.alerts.base import Channel
    from agent.alerts.options import Route
    from agent.alerts.routing import Judged
    from agent.config import Config

DECLINED = "it does not take such alerts (its own options)"

_SUBJECT_OF = {
    Kind.FILES: Subject.SHARED,
    Kind.SHARED_MEMORY: Subject.SHARED,
    Kind.THREADS: Subject.THREADS,
    Kind.DESCRIPTORS: Subject.FDS,
    Kind.CHILDREN: Subject.CHILDREN,
}
"""What an incident of a kind is about, where that is not the heap."""


class RouteAnswer(NamedTuple):
    """What one route makes of the alert."""

    channels: tuple[str, ...]
    why_not: tuple[str, ...]
    """Empty when it fits."""
    quiet: str
    """Until when it takes no warnings, e.g. "Mon 07:00 CEST"; empty outside of its quiet hours."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon would do with the alert."""

    alert: Alert
    entry: bool
    """Whether an entry under "watch" has that name."""
    own: tuple[str, ...] | None
    """The channels that the watch entry names instead of the routes."""
    routes: tuple[RouteAnswer, ...]
    channels: dict[str, str]
    """Who is told, each with the time until which quiet hours hold it; empty for at once."""
    not_told: dict[str, str]
    """Who is led to and not told, each with the reason."""


def made_up(service: str, severity: State, kind: str, event: Event, wall_s: float) -> Alert:
    """Return an alert that begins an incident; `kind` is one of `Kind` or of `Subject`."""
    known = kind in set(Kind)
    subject = _SUBJECT_OF.get(Kind(kind), Subject.HEAP) if known else Subject(kind)
    return Alert(
        incident_id="made-up",
        sequence=1,
        transition=Transition.OPENED,
        event=event,
        subject=subject,
        severity=severity,
        service=service,
        host="",
        at_wall_s=wall_s,
        since_wall_s=wall_s,
        kind=kind if known else "",
        headline="" if event in (Event.LEAK, Event.THRESHOLD) else str(event),
    )


def ask(config: Config, channels: Mapping[str, Channel], alert: Alert, labels: Mapping[str, str]) -> Answer:
    """Return what the daemon would do; `labels` are laid over those of the service's entry."""
    entry = next((entry for entry in config.watch if entry.service == alert.service), None)
    own = entry.channels if entry and not alert.headline else None
    alert = replace(alert, labels={**(entry.labels if entry else {}), **labels})
    told = channels_for(alert, channels, config.routes, own=own)
    held = quiet_until(alert, told, config.routes, own=own)
    led_to = channels_for(alert, {name: _Anybody(name) for name in config.channels}, config.routes, own=own)
    return Answer(
        alert,
        entry is not None,
        own,
        tuple(_route_answer(judged, alert) for judged in judge(alert, config.routes)),
        {name: _waits(name, held.get(name), config.routes) for name in told},
        {name: config.off.get(name) or DECLINED for name in led_to if name not in told},
    )


@dataclass(frozen=True, slots=True)
class _Anybody:
    """Takes whatever the routes bring."""

    name: str

    def wants(self, _alert: Alert) -> bool:
        return True

    def send(self, alert: Alert) -> None:
        raise DeliveryError(f"{alert.dedup_key} is made up", permanent=True)


def _route_answer(judged: Judged, alert: Alert) -> RouteAnswer:
    route, hours = judged.route, judged.route.quiet_hours
    end_s = hours.until(alert.at_wall_s) if hours else None
    quiet = shown_time(end_s, hours.zone) if hours and end_s is not None else ""
    return RouteAnswer(route.channels, judged.why_not, quiet)


def _waits(name: str, end_s: float | None, routes: Sequence[Route]) -> str:
    """Return the end of the waiting by the clock of a route that leads to the channel."""
    if end_s is None:
        return ""
    return next(
        shown_time(end_s, hours.zone) for r in routes if name in r.channels and (hours := r.quiet_hours)
    )
