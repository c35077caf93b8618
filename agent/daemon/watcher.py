"""Watches leakwatch itself on a thread of its own, and tells its trouble through the channels that work."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.daemon.routine import Routine
from agent.daemon.troubles import LABEL, TroubleBook, channel_trouble, outbox_trouble, tick_trouble
from agent.logs import log_event
from agent.model import Event, State
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.delivery import Deliverer
    from agent.alerts.outbox import Outbox
    from agent.clock import Clock
    from agent.daemon.noticing import Noticer
    from agent.daemon.publish import Publisher
    from agent.daemon.troubles import Trouble
    from agent.model import Alert, Instant

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0
FAILS_FOR_S = 600.0
"""A channel that has failed for so long is told of; before that it may be the receiver's own restart."""
REFUSED_WITHIN_S = 86400.0


class Watcher(Routine):
    """Sees ticks that do not end or fail, channels that do not deliver, and an outbox that cannot store."""

    def __init__(
        self,
        host: str,
        outbox: Outbox,
        deliverer: Deliverer,
        noticer: Noticer,
        publisher: Publisher,
        clock: Clock,
    ) -> None:
        self._outbox = outbox
        self._deliverer = deliverer
        self._noticer = noticer
        self._publisher = publisher
        super().__init__("leakwatch-watcher", clock, LOOK_EVERY_S)
        self._book = TroubleBook(host, outbox.notices.still_open(Event.WATCHER))
        self._failing = False

    def look(self, now: Instant) -> None:
        """Find out what is wrong now, and tell what has begun or ended."""
        found = list(self._found(now))
        for alert in self._book.look(found, now):
            self._tell(alert, found, now)

    def turn(self, now: Instant) -> float:
        """Look once."""
        self.look(now)
        self._failing = False
        return LOOK_EVERY_S

    def failed(self, error: Exception) -> float:
        """Say once that looking fails."""
        if not self._failing:
            why = f"{type(error).__name__}: {error}"
            log_event(logger, "failed", level=logging.ERROR, what="watcher", why=why)
            logger.debug("look failed", exc_info=error)
        self._failing = True
        return LOOK_EVERY_S

    def _found(self, now: Instant) -> Iterator[Trouble]:
        view = self._publisher.view
        last_t_s = view.started_t_s if view.last_tick_t_s is None else view.last_tick_t_s
        tick = tick_trouble(last_t_s, self._noticer.config.poll_interval_s, self._publisher.failing, now)
        outbox = outbox_trouble(self._outbox.troubles(now))
        yield from (trouble for trouble in (tick, outbox) if trouble is not None)
        yield from (channel_trouble(name, why) for name, why in self._not_delivering(now).items())

    def _not_delivering(self, now: Instant) -> dict[str, str]:
        """Return the channels that fail for long, or that refused the last they were sent, and why."""
        refusing = self._outbox.notices.refusing(now.wall_s - REFUSED_WITHIN_S)
        found = {name: f"refused: {why}" for name, why in refusing.items() if name in self._noticer.channels}
        reasons = self._deliverer.troubles(now)
        for name, lasted_s in self._deliverer.failing_s(now).items():
            if lasted_s >= FAILS_FOR_S:
                found[name] = reasons.get(name, f"failing for {format_duration(lasted_s)}")
        return found

    def _tell(self, alert: Alert, found: list[Trouble], now: Instant) -> None:
        """Tell it through the channels that are to hear of it and are not broken themselves."""
        broken = {trouble.channel for trouble in found} | {*self._deliverer.failing_s(now)}
        names = self._noticer.tell(alert, now, without=() if alert.transition.ends else broken)
        _log(alert, names)


def _log(alert: Alert, names: tuple[str, ...]) -> None:
    what, incident, channels = alert.labels.get(LABEL), alert.incident_id, ",".join(names) or "none"
    if alert.transition.ends:
        after = format_duration(alert.at_wall_s - alert.since_wall_s)
        log_event(
            logger, "resolved", what=what, incident=incident, channels=channels, after=after, why=alert.note
        )
        return
    level = logging.ERROR if alert.severity is State.CRITICAL else logging.WARNING
    why = "; ".join(alert.items)
    log_event(logger, "trouble", level=level, what=what, incident=incident, channels=channels, why=why)
