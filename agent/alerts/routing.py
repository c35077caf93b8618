"""Which channels get an alert: the entry's own, or the routes that fit; an end goes where it began."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from agent.alerts.base import takes_changes
from agent.alerts.options import Route
from agent.model import Event, State, Transition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from agent.alerts.base import Channel
    from agent.model import Alert


class Judged(NamedTuple):
    """What a route makes of an alert."""

    route: Route
    why_not: tuple[str, ...]
    """Why it does not fit, a clause each; empty when it adds its channels."""

    @property
    def fits(self) -> bool:
        """Whether it adds its channels."""
        return not self.why_not


def channels_for(
    alert: Alert,
    channels: Mapping[str, Channel],
    routes: Sequence[Route],
    *,
    own: Sequence[str] | None = None,
    told: Collection[str] = (),
) -> tuple[str, ...]:
    """Return the names of the channels that get this alert, in the order of the configuration.

    `own` are the channels that the watch entry names instead of the routes. `told` are those that heard of
    the incident before: they hear of its end, and nobody else does; what comes in between they hear too,
    as far as they want it. A name that is no longer configured is left out.
    """
    if alert.transition.ends:
        return tuple(name for name in channels if name in told)
    chosen = set(_routed(alert, channels, routes) if own is None else own)
    if alert.transition is not Transition.OPENED:
        chosen |= set(told)
    if alert.event is Event.CHANGE:
        asked = _asked_for_changes(alert, routes)
        chosen = {name for name in chosen if name in asked or takes_changes(channels.get(name))}
    return tuple(name for name, channel in channels.items() if name in chosen and channel.wants(alert))


def quiet_until(
    alert: Alert,
    names: Collection[str],
    routes: Sequence[Route],
    *,
    own: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return for which of these channels the alert waits, and until which wall time.

    Only warnings wait, and only where every route that leads to the channel is quiet at the alert's time.
    The channels of a watch entry know no quiet hours, nor does a rehearsal.
    """
    if own is not None or alert.severity is State.CRITICAL or alert.drill:
        return {}
    fitting = [judged.route for judged in judge(alert, routes) if judged.fits]
    ends = {name: _quiet_end_s(alert, _leading_to(name, fitting, routes)) for name in names}
    return {name: end_s for name, end_s in ends.items() if end_s is not None}


def judge(alert: Alert, routes: Sequence[Route]) -> tuple[Judged, ...]:
    """Return what each route makes of an alert; a default route fits only where no other does."""
    if alert.event is Event.WATCHER:
        return tuple(Judged(route, tuple(_against_watcher(route, alert, routes))) for route in routes)
    first = [Judged(route, tuple(_against(route, alert))) for route in routes]
    taken = any(judged.fits and not judged.route.default for judged in first)
    return tuple(
        Judged(route, (*why_not, "another route fits") if route.default and taken else why_not)
        for route, why_not in first
    )


def _routed(alert: Alert, channels: Mapping[str, Channel], routes: Sequence[Route]) -> Collection[str]:
    """Return the channels of the routes; trouble of leakwatch itself that no route is for goes to all."""
    if not routes or (alert.event is Event.WATCHER and not _for_watcher(routes)):
        return tuple(channels)
    return {name for judged in judge(alert, routes) if judged.fits for name in judged.route.channels}


def _asked_for_changes(alert: Alert, routes: Sequence[Route]) -> set[str]:
    """Return the channels of routes that name the event: they get changes whatever their kind."""
    fitting = [judged.route for judged in judge(alert, routes) if judged.fits]
    return {name for route in fitting if Event.CHANGE in route.events for name in route.channels}


def _against(route: Route, alert: Alert) -> Iterator[str]:
    """Yield what speaks against a route. That something has changed is neither a warning nor critical."""
    if route.events and str(alert.event) not in route.events:
        yield f"event {alert.event} is not {_any_of(route.events)}"
    if not any(fnmatchcase(alert.service, pattern) for pattern in route.services):
        yield f"service {alert.service} is not {_any_of(route.services)}"
    for name, pattern in route.labels.items():
        if not fnmatchcase(alert.labels.get(name, ""), pattern):
            yield f'label {name} is "{alert.labels.get(name, "")}", not {pattern}'
    if route.kinds and not _kinds(alert) & {*route.kinds}:
        yield f"kind {' and '.join(sorted(_kinds(alert))) or 'none'} is not {_any_of(route.kinds)}"
    if alert.event is not Event.CHANGE:
        yield from _against_severity(route, alert)


def _kinds(alert: Alert) -> set[str]:
    """Return what grows and what it is about; what is about no single process is of no kind."""
    return set() if alert.headline else {alert.kind or str(alert.subject), str(alert.subject)}


def _against_watcher(route: Route, alert: Alert, routes: Sequence[Route]) -> Iterator[str]:
    """Yield what speaks against a route for trouble of leakwatch itself, which is of no service and kind."""
    if route not in _for_watcher(routes):
        yield "another route is for trouble of leakwatch itself"
    yield from _against_severity(route, alert)


def _against_severity(route: Route, alert: Alert) -> Iterator[str]:
    if str(alert.severity) not in route.severities:
        yield f"severity {alert.severity} is not {_any_of(route.severities)}"


def _for_watcher(routes: Sequence[Route]) -> list[Route]:
    """Return the routes that name the event, else the default ones, else those without conditions."""
    named = [route for route in routes if Event.WATCHER in route.events]
    return named or [route for route in routes if route.default] or [r for r in routes if _takes_all(r)]


def _takes_all(route: Route) -> bool:
    plain = Route(route.channels)
    return replace(route, quiet=None, days=plain.days, timezone=plain.timezone) == plain


def _leading_to(name: str, fitting: Sequence[Route], routes: Sequence[Route]) -> list[Route]:
    """Return the fitting routes to a channel; to one that was told by others before, any that name it."""
    return [r for r in fitting if name in r.channels] or [r for r in routes if name in r.channels]


def _quiet_end_s(alert: Alert, routes: Sequence[Route]) -> float | None:
    """Return when the first of the routes takes warnings again; None when one does now."""
    ends = [hours.until(alert.at_wall_s) if (hours := r.quiet_hours) else None for r in routes]
    known = [end_s for end_s in ends if end_s is not None]
    return min(known) if known and len(known) == len(ends) else None


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(names)
