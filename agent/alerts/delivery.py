"""The workers between outbox and channels: a thread each, so that a slow one holds nobody else back."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING

from agent.alerts.sending import Sender, unexpected
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.alerts.base import Channel
    from agent.alerts.outbox import Outbox
    from agent.clock import Clock
    from agent.model import Instant

logger = logging.getLogger(__name__)

TROUBLE_WAIT_S = 10.0
"""How long a worker rests after a failure of its own."""


class Deliverer:
    """Starts, replaces and stops the workers. What waits for a channel that is no more is parked."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._wakes: dict[str, threading.Event] = {}
        self._stopping = threading.Event()
        self._started = False
        self._senders: dict[str, Sender] = {}
        self._take(channels)

    def start(self) -> None:
        """Start a worker for each channel."""
        self._park_removed()
        with self._lock:
            self._started = True
            for name in self._senders:
                if name not in self._threads:
                    self._start_worker(name)

    def replace(self, channels: Mapping[str, Channel]) -> None:
        """Go on with the channels of a new configuration; a send that is under way is not disturbed."""
        with self._lock:
            self._take(channels)
        if self._started:
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

    def troubles(self, now: Instant) -> dict[str, str]:
        """Return the channels that are taken to be down: since when, why, and when they are tried again."""
        troubles = {name: sender.trouble(now) for name, sender in self._active().items()}
        return {name: why for name, why in troubles.items() if why}

    def failing_s(self, now: Instant) -> dict[str, float]:
        """Return for how long each channel that is taken to be down has failed."""
        lasted = {name: sender.open_s(now) for name, sender in self._active().items()}
        return {name: seconds for name, seconds in lasted.items() if seconds}

    def drain_once(self, now: Instant, channel: str | None = None) -> int:
        """Try everything that is due at `now`, of all channels or one, and return how many attempts that was.

        Every delivery is tried at most once, and those that follow a sent one of their incident as well.
        """
        if channel is None:
            self._park_removed()
        senders = self._active()
        return sum(senders[name].drain(now) for name in senders if channel in (None, name))

    def _active(self) -> dict[str, Sender]:
        with self._lock:
            return {name: sender for name, sender in self._senders.items() if not sender.retired}

    def _take(self, channels: Mapping[str, Channel]) -> None:
        for name in self._senders.keys() - channels.keys():
            self._senders[name].retire()
        for name, channel in channels.items():
            if name in self._senders:
                self._senders[name].take(channel)
            else:
                self._senders[name] = Sender(channel, self._outbox, self._clock, self._jitter, self._stopping)

    def _park_removed(self) -> None:
        for name in self._outbox.pending_channels() - self._active().keys():
            why = f"channel {name} is no longer configured"
            count = self._outbox.park_channel(name, why)
            log_event(logger, "parked", level=logging.ERROR, channel=name, alerts=count, why=why)

    def _start_worker(self, name: str) -> None:
        self._wakes[name] = threading.Event()
        sender = self._senders[name]
        thread = threading.Thread(target=self._work, args=(sender,), name=f"deliver-{name}", daemon=True)
        self._threads[name] = thread
        thread.start()

    def _work(self, sender: Sender) -> None:
        wake = self._wakes[sender.name]
        while not self._ends(sender):
            wake.clear()
            try:
                wait_s = sender.cycle()
            except Exception as error:  # noqa: BLE001 - the worker outlives every trouble of the state file
                why = unexpected(error)
                log_event(logger, "delayed", level=logging.ERROR, channel=sender.name, why=why)
                wait_s = TROUBLE_WAIT_S
            if not self._stopping.is_set():
                self._clock.wait(wake, wait_s)

    def _ends(self, sender: Sender) -> bool:
        """Whether this worker is to end; decided under the lock, so that `start` never misses a worker."""
        with self._lock:
            ends = self._stopping.is_set() or sender.retired
            if ends:
                self._threads.pop(sender.name, None)
            if sender.retired:
                del self._senders[sender.name]
            return ends
