"""Sends what the outbox holds for one channel: attempts, its breaker, the refreshing of what forgets."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from agent.alerts.base import DeliveryError, Refreshing
from agent.alerts.breaker import Breaker, retry_wait_s
from agent.logs import log_event
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from agent.alerts.base import Channel
    from agent.alerts.deliveries import Delivery
    from agent.alerts.outbox import Outbox
    from agent.clock import Clock
    from agent.model import Alert, Instant

logger = logging.getLogger(__name__)

IDLE_WAIT_S = 30.0
"""A worker looks again after this also when nothing is known to be due: the clock may have been set."""
LATE_S = 60.0
"""What could be sent for longer may be told by a later alert of its incident, also when no attempt failed."""
LEAST_WAIT_S = 0.2
"""A worker never spins, whatever the clocks say."""


class Sender:
    """One channel's way out of the outbox. One thread sends; any thread may ask for its trouble."""

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        clock: Clock,
        jitter: Callable[[], float],
        stopping: threading.Event,
    ) -> None:
        self.name = channel.name
        self._channel: Channel | None = channel
        self._outbox = outbox
        self._clock = clock
        self._jitter = jitter
        self._stopping = stopping
        self._breaker = Breaker()
        self._refresh_t_s = float("-inf")
        self._refresh_why = ""

    @property
    def retired(self) -> bool:
        """Whether the channel is no longer configured."""
        return self._channel is None

    def retire(self) -> None:
        """Send nothing more after what is under way."""
        self._channel = None

    def take(self, channel: Channel) -> None:
        """Go on with the channel of a new configuration: what was wrong with the old one may be corrected."""
        self._channel = channel
        self._breaker = Breaker()
        self._refresh_t_s = float("-inf")

    def open_s(self, now: Instant) -> float:
        """Return for how long the channel has failed; 0 while it is not taken to be down."""
        return self._breaker.open_s(now)

    def trouble(self, now: Instant) -> str:
        """Return since when and why the channel is taken to be down; empty while it is not."""
        breaker = self._breaker
        if not breaker.is_open:
            return ""
        waiting = self._outbox.counts().get(self.name, {}).get("pending", 0)
        lasted, next_s = format_duration(breaker.open_s(now)), format_duration(breaker.wait_s(now))
        return f"{breaker.why}; failing for {lasted}, {waiting} waiting, next try in {next_s}"

    def cycle(self) -> float:
        """Send what is due, refresh, and return how long to wait then."""
        self.drain(self._clock.now())
        refresh_s = self._refresh(self._clock.now())
        now = self._clock.now()
        due_s = self._outbox.next_due_s(now, self.name)
        waits = [IDLE_WAIT_S, refresh_s] + ([] if due_s is None else [max(due_s, self._breaker.wait_s(now))])
        return max(LEAST_WAIT_S, min(waits))

    def drain(self, now: Instant) -> int:
        """Try everything that is due at `now`, each at most once, and return how many attempts that was."""
        tried: set[str] = set()
        attempts = 0
        while self._may_send(now) and (batch := self._untried(now, tried)):
            for delivery in batch:
                if not self._may_send(now):
                    break
                tried.add(delivery.delivery_id)
                chosen = self._gather(delivery, now)
                if chosen is not None:
                    tried.add(chosen.delivery_id)
                    attempts += 1
                    self._attempt(chosen)
        return attempts

    def _may_send(self, now: Instant) -> bool:
        return not (self._stopping.is_set() or self.retired or self._breaker.wait_s(now))

    def _untried(self, now: Instant, tried: set[str]) -> list[Delivery]:
        """Return what is due and was not tried in this drain.

        Sending takes time: asked by the time at which the drain began, a failure of just now would look like
        one of the future, that is like a clock that was set back, and be due again at once.
        """
        present = max(now, self._clock.now(), key=lambda instant: instant.wall_s)
        return [d for d in self._outbox.due(present, self.name) if d.delivery_id not in tried]

    def _gather(self, delivery: Delivery, now: Instant) -> Delivery | None:
        """Return what to send in the place of a delivery that came late, else the delivery itself."""
        failed, created_wall_s = self._breaker.failed, delivery.created_wall_s
        held_up = failed is not None and created_wall_s <= failed.wall_s
        waited_s = now.wall_s - max(created_wall_s, delivery.hold_until_wall_s)
        late = bool(delivery.last_error) or held_up or waited_s >= LATE_S
        why = delivery.last_error or (self._breaker.why if held_up else "")
        found = self._outbox.gather(delivery, why, late=late)
        if found is None:
            return None
        chosen, merged = found
        if merged:
            _log("merged", chosen, earlier=merged, why=why or "they waited for long")
        return chosen

    def _attempt(self, delivery: Delivery) -> None:
        channel = self._channel
        if channel is None:
            return
        begun = self._clock.now()
        try:
            channel.send(delivery.alert)
        except DeliveryError as error:
            self._failed(delivery, error)
        except Exception as error:  # noqa: BLE001 - a bug in one channel must not silence it for ever
            self._failed(delivery, unexpected(error))
        else:
            after = self._clock.now()
            self._outbox.mark_sent(delivery.delivery_id, after)
            took_s = max(0.0, after.t_s - begun.t_s)
            _log("delivered", delivery, attempt=delivery.attempts + 1, took=f"{took_s:.1f}s")
            self._answered()

    def _failed(self, delivery: Delivery, error: DeliveryError) -> None:
        why, failures = one_line(str(error)), delivery.attempts + 1
        if error.permanent:
            self._outbox.park(delivery.delivery_id, why)
            what_to_do = f"{why}; correct the channel {delivery.channel} in the configuration, then reload"
            _log("parked", delivery, logging.ERROR, attempt=failures, why=what_to_do)
            self._answered()
            return
        now, before, jitter = self._clock.now(), self._breaker, self._jitter()
        breaker = self._breaker = before.after_failure(why, now, error.retry_after_s, jitter)
        own_s = retry_wait_s(failures, error.retry_after_s, jitter)
        wait_s = breaker.wait_s(now) if breaker.is_open else own_s
        self._outbox.mark_failed(delivery.delivery_id, why, now, wait_s)
        if why != delivery.last_error or failures.bit_count() == 1:
            pairs = {"attempt": failures, "next": format_duration(wait_s)}
            _log("delayed", delivery, logging.WARNING, **pairs, why=f"{why}; will keep trying")
        if breaker.is_open and not before.is_open:
            log_event(logger, "delayed", level=logging.WARNING, channel=self.name, why=self.trouble(now))

    def _answered(self) -> None:
        """Close the breaker; what waits because of earlier failures is due at once."""
        before, self._breaker = self._breaker, self._breaker.after_answer()
        if before.is_open:
            waiting = self._outbox.hasten(self.name)
            lasted = format_duration(before.open_s(self._clock.now()))
            log_event(logger, "recovered", channel=self.name, after=lasted, waiting=waiting)

    def _refresh(self, now: Instant) -> float:
        """Tell a receiver that forgets once more what is open; return when to do so again, in seconds."""
        channel = self._channel
        if not isinstance(channel, Refreshing) or self._stopping.is_set():
            return IDLE_WAIT_S
        if now.t_s >= self._refresh_t_s:
            self._refresh_t_s = now.t_s + channel.refresh_every_s
            alerts = self._outbox.firing(self.name)
            self._note_refresh(_refresh_problem(channel, alerts) if alerts else "")
        return max(0.0, self._refresh_t_s - self._clock.now().t_s)

    def _note_refresh(self, why: str) -> None:
        if why == self._refresh_why:
            return
        self._refresh_why = why
        if why:
            why = f"what is open could not be told again: {why}; will keep trying"
            log_event(logger, "delayed", level=logging.WARNING, channel=self.name, why=why)
        else:
            log_event(logger, "recovered", channel=self.name, why="what is open is told again")


def _refresh_problem(channel: Refreshing, alerts: list[Alert]) -> str:
    try:
        channel.refresh(alerts)
    except DeliveryError as error:
        return one_line(str(error))
    except Exception as error:  # noqa: BLE001 - as for a delivery
        return str(unexpected(error))
    return ""


def unexpected(error: Exception) -> DeliveryError:
    """Say what broke and where, without the message: it may quote an address with a secret in it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return DeliveryError(f"unexpected {type(error).__name__}{place}")


def _log(word: str, delivery: Delivery, level: int = logging.INFO, **pairs: object) -> None:
    alert = delivery.alert
    known = {"incident": alert.incident_id, "transition": alert.transition, "channel": delivery.channel}
    log_event(logger, word, level=level, **known, **pairs)
