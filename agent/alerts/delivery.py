"""Sends what the outbox holds: a thread for each channel, so that a slow one holds nobody else back."""

from __future__ import annotations

import logging
import random
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from agent.alerts.base import DeliveryError
from agent.alerts.outbox import MAX_WAIT_S
from agent.logs import log_event
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Delivery, Outbox
    from agent.clock import Clock
    from agent.model import Instant

logger = logging.getLogger(__name__)

FIRST_WAIT_S = 2.0
MAX_BACKOFF_S = 600.0
IDLE_WAIT_S = 30.0
"""A worker looks again after this also when nothing is known to be due: the clock may have been set."""
LEAST_WAIT_S = 0.2
"""A worker never spins, whatever the clocks say."""
TROUBLE_WAIT_S = 10.0
"""How long a worker rests after a failure of its own."""


def backoff_s(failures: int, jitter: float) -> float:
    """Return how long to wait after so many failures in a row: doubling, half of it left to chance.

    `jitter` is a random number from 0 to 1; it keeps many deliveries from coming back at one moment
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "equal jitter").

    >>> backoff_s(1, 1.0), backoff_s(3, 1.0), backoff_s(3, 0.0), backoff_s(99, 1.0)
    (2.0, 8.0, 4.0, 600.0)
    """
    doubled_s: float = FIRST_WAIT_S * 2 ** min(failures - 1, 16)
    return min(MAX_BACKOFF_S, doubled_s) * (0.5 + 0.5 * jitter)


def retry_wait_s(failures: int, retry_after_s: float | None, jitter: float) -> float:
    """Return the wait before the next attempt: the receiver's wish where it is longer, within an hour."""
    own_s = backoff_s(failures, jitter)
    return own_s if retry_after_s is None else min(MAX_WAIT_S, max(own_s, retry_after_s))


class Deliverer:
    """The workers between the outbox and the channels."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._channels = dict(channels)
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._wakes: dict[str, threading.Event] = {}
        self._stopping = threading.Event()
        self._rest_until_t_s: dict[str, float] = {}

    def start(self) -> None:
        """Start a worker for each channel; what waits for a channel that is no more is parked."""
        self._park_removed()
        with self._lock:
            for name in self._channels:
                if name not in self._threads:
                    self._start_worker(name)

    def replace(self, channels: Mapping[str, Channel]) -> None:
        """Go on with the channels of a new configuration; a send that is under way is not disturbed."""
        with self._lock:
            self._channels = dict(channels)
        self.start()
        self.wake()

    def wake(self) -> None:
        """Tell the workers that something was recorded or released."""
        for event in list(self._wakes.values()):
            event.set()

    def stop(self, timeout_s: float) -> bool:
        """End the workers; False when a send took longer than `timeout_s`: it is repeated later."""
        self._stopping.set()
        self.wake()
        end_t_s = self._clock.now().t_s + timeout_s
        threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, end_t_s - self._clock.now().t_s))
        return not any(thread.is_alive() for thread in threads)

    def drain_once(self, now: Instant, channel: str | None = None) -> int:
        """Try everything that is due at `now`, of all channels or one, and return how many attempts that was.

        Every delivery is tried at most once, and those that follow a sent one of their incident as well.
        """
        if channel is None:
            self._park_removed()
        names = list(self._channels) if channel is None else [channel]
        return sum(self._drain_channel(name, now) for name in names)

    def _drain_channel(self, name: str, now: Instant) -> int:
        tried: set[str] = set()
        while name in self._channels and (batch := self._untried(name, now, tried)):
            for delivery in batch:
                if self._stopping.is_set() or self._rests(name, now):
                    return len(tried)
                tried.add(delivery.delivery_id)
                self._attempt(delivery)
        return len(tried)

    def _untried(self, name: str, now: Instant, tried: set[str]) -> list[Delivery]:
        """Return what is due and was not tried in this drain.

        Sending takes time: asked by the time at which the drain began, a failure of just now would look like
        one of the future, that is like a clock that was set back, and be due again at once.
        """
        present = max(now, self._clock.now(), key=lambda instant: instant.wall_s)
        return [d for d in self._outbox.due(present, name) if d.delivery_id not in tried]

    def _rests(self, name: str, now: Instant) -> bool:
        """Whether the channel asked to be left alone: a Retry-After is meant for all it gets."""
        return now.t_s < self._rest_until_t_s.get(name, now.t_s)

    def _attempt(self, delivery: Delivery) -> None:
        channel = self._channels.get(delivery.channel)
        if channel is None:
            return
        begun = self._clock.now()
        try:
            channel.send(delivery.alert)
        except DeliveryError as error:
            self._failed(delivery, error)
        except Exception as error:  # noqa: BLE001 - a bug in one channel must not silence it for ever
            self._failed(delivery, _unexpected(error))
        else:
            after = self._clock.now()
            self._outbox.mark_sent(delivery.delivery_id, after)
            took_s = max(0.0, after.t_s - begun.t_s)
            _log("delivered", delivery, attempt=delivery.attempts + 1, took=f"{took_s:.1f}s")

    def _failed(self, delivery: Delivery, error: DeliveryError) -> None:
        why, failures = one_line(str(error)), delivery.attempts + 1
        if error.permanent:
            self._outbox.park(delivery.delivery_id, why)
            what_to_do = f"{why}; correct the channel {delivery.channel} in the configuration, then reload"
            _log("parked", delivery, logging.ERROR, attempt=failures, why=what_to_do)
            return
        now = self._clock.now()
        wait_s = retry_wait_s(failures, error.retry_after_s, self._jitter())
        self._outbox.mark_failed(delivery.delivery_id, why, now, wait_s)
        if error.retry_after_s is not None:
            self._rest_until_t_s[delivery.channel] = now.t_s + min(MAX_WAIT_S, error.retry_after_s)
        if why != delivery.last_error or failures.bit_count() == 1:
            pairs = {"attempt": failures, "next": format_duration(wait_s)}
            _log("delayed", delivery, logging.WARNING, **pairs, why=f"{why}; will keep trying")

    def _park_removed(self) -> None:
        for name in self._outbox.pending_channels() - self._channels.keys():
            why = f"channel {name} is no longer configured"
            count = self._outbox.park_channel(name, why)
            log_event(logger, "parked", level=logging.ERROR, channel=name, alerts=count, why=why)

    def _start_worker(self, name: str) -> None:
        self._wakes[name] = threading.Event()
        thread = threading.Thread(target=self._work, args=(name,), name=f"deliver-{name}", daemon=True)
        self._threads[name] = thread
        thread.start()

    def _work(self, name: str) -> None:
        wake = self._wakes[name]
        while not self._ends(name):
            wake.clear()
            try:
                wait_s = self._cycle(name)
            except Exception as error:  # noqa: BLE001 - the worker outlives every trouble of the state file
                why = _unexpected(error)
                log_event(logger, "delayed", level=logging.ERROR, channel=name, why=why)
                wait_s = TROUBLE_WAIT_S
            if not self._stopping.is_set():
                self._clock.wait(wake, wait_s)

    def _ends(self, name: str) -> bool:
        """Whether this worker is to end; decided under the lock, so that `start` never misses a worker."""
        with self._lock:
            ends = self._stopping.is_set() or name not in self._channels
            if ends:
                self._threads.pop(name, None)
            return ends

    def _cycle(self, name: str) -> float:
        """Send what is due and return how long to wait then."""
        self.drain_once(self._clock.now(), name)
        now = self._clock.now()
        due_s = self._outbox.next_due_s(now, name)
        rest_s = max(0.0, self._rest_until_t_s.get(name, now.t_s) - now.t_s)
        return IDLE_WAIT_S if due_s is None else min(IDLE_WAIT_S, max(due_s, rest_s, LEAST_WAIT_S))


def _unexpected(error: Exception) -> DeliveryError:
    """Say what broke and where, without the message: it may quote an address with a secret in it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return DeliveryError(f"unexpected {type(error).__name__}{place}")


def _log(word: str, delivery: Delivery, level: int = logging.INFO, **pairs: object) -> None:
    alert = delivery.alert
    known = {"incident": alert.incident_id, "transition": alert.transition, "channel": delivery.channel}
    log_event(logger, word, level=level, **known, **pairs)
