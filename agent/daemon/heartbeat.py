"""The dead man's switch: somebody outside hears of completed ticks, and takes silence for the alarm."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agent.alerts.base import DeliveryError
from agent.daemon.routine import Routine
from agent.daemon.troubles import LEAST_SILENCE_S, MISSED_INTERVALS
from agent.logs import log_event
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.alerts.base import Beat
    from agent.clock import Clock
    from agent.model import Instant
    from agent.web.health import HealthView

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 5.0
"""After so long it is seen whether a tick was completed since."""
RETRY_S = 10.0


class Heartbeat(Routine):
    """Beats at a steady pace on a thread of its own, but only for ticks that were completed lately.

    A tick that hangs, ticks that fail and a process that is gone stop it alike.
    """

    def __init__(
        self, name: str, beat: Beat, every_s: float, view: Callable[[], HealthView], clock: Clock
    ) -> None:
        self._name = name
        self._beat = beat
        super().__init__(f"heartbeat-{name}", clock)
        self._every_s = every_s
        self._view = view
        self._told_t_s = float("-inf")
        """When the tick was completed that was told last."""
        self._why = ""

    def turn(self, now: Instant) -> float:
        """Beat if a tick was completed lately that was not told of; return how long to wait then."""
        view = self._view()
        ticked_t_s = view.last_tick_t_s
        fresh_s = max(MISSED_INTERVALS * view.interval_s, LEAST_SILENCE_S)
        if ticked_t_s is None or ticked_t_s <= self._told_t_s or now.t_s - ticked_t_s > fresh_s:
            return min(LOOK_AGAIN_S, self._every_s)
        try:
            self._beat.beat(now)
        except DeliveryError as error:
            self._say(one_line(str(error)))
            return max(RETRY_S, error.retry_after_s or 0.0)
        self._say("")
        self._told_t_s = ticked_t_s
        return self._every_s

    def failed(self, error: Exception) -> float:
        """Say so without the error's text, which may quote the address."""
        self._say(f"unexpected {type(error).__name__}")
        return RETRY_S

    def _say(self, why: str) -> None:
        """Log once when beats begin to fail, for another reason, or arrive again."""
        if why == self._why:
            return
        before, self._why = self._why, why
        if why:
            log_event(
                logger, "delayed", level=logging.WARNING, what=self._name, why=f"{why}; will keep trying"
            )
        elif before:
            log_event(logger, "delivered", what=self._name)
