"""Which channels get an alert: the entry's own, or the routes that fit; an end goes where it began."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agent.model import Transition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from agent.alerts.base import Channel
    from agent.alerts.options import Route
    from agent.model import Alert


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
    return tuple(name for name, channel in channels.items() if name in chosen and channel.wants(alert))


def _routed(alert: Alert, channels: Mapping[str, Channel], routes: Sequence[Route]) -> Collection[str]:
    if not routes:
        return tuple(channels)
    return {name for route in routes if _fits(route, alert) for name in route.channels}


def _fits(route: Route, alert: Alert) -> bool:
    named = any(fnmatchcase(alert.service, pattern) for pattern in route.services)
    return named and str(alert.severity) in route.severities
