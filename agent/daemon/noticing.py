"""Tells what belongs to no incident of a service: trouble of leakwatch itself, and changes of services."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.alerts.routing import channels_for, quiet_until
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Outbox
    from agent.config import Config
    from agent.daemon.changes import Changes
    from agent.daemon.watched import Watched
    from agent.model import Alert, Instant

logger = logging.getLogger(__name__)


class Noticer:
    """Stores notices for the channels of the routes; any thread may tell one."""

    def __init__(
        self, config: Config, outbox: Outbox, channels: Mapping[str, Channel], wake: Callable[[], None]
    ) -> None:
        self._outbox = outbox
        self._wake = wake
        self._now: tuple[Config, Mapping[str, Channel]] = (config, channels)

    @property
    def config(self) -> Config:
        """Return what is in force."""
        return self._now[0]

    @property
    def channels(self) -> Mapping[str, Channel]:
        """Return the channels that alerts can be sent through."""
        return self._now[1]

    def reconfigure(self, config: Config, channels: Mapping[str, Channel]) -> None:
        """Tell by new routes and channels from now on."""
        self._now = (config, channels)

    def tell(
        self,
        alert: Alert,
        now: Instant,
        *,
        own: Sequence[str] | None = None,
        without: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Store it before it is sent, and return who hears of it; `without` are channels that are broken."""
        config, channels = self._now
        told = self._outbox.channels_told(alert.incident_id)
        names = channels_for(alert, channels, config.routes, own=own, told=told)
        names = tuple(name for name in names if name not in without)
        quiet = quiet_until(alert, names, config.routes, own=own)
        self._outbox.record_notices([(name, alert) for name in names], now, quiet_until_wall_s=quiet)
        self._wake()
        return names


class ChangeNews:
    """Tells every change of a service that a tick has seen."""

    def __init__(self, changes: Changes, noticer: Noticer) -> None:
        self._changes = changes
        self._noticer = noticer

    def look(self, watched: Sequence[Watched], now: Instant, generation: int | None = None) -> None:
        """Compare with who was watched before, and tell what is to be told."""
        for alert in self._changes.look(watched, now, generation):
            entry = next((e for e in self._noticer.config.watch if e.service == alert.service), None)
            names = self._noticer.tell(alert, now, own=entry.channels if entry else None)
            channels = ",".join(names) or "none"
            log_event(logger, "changed", service=alert.service, channels=channels, why=alert.headline)
