"""The only reader of clocks: hands out instants, waits, and can run fast for a rehearsal."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from agent.model import Instant


class Waking(Protocol):
    """What cuts a wait short: a `threading.Event`, or a `Bell` where a signal handler may ring it."""

    def set(self) -> None:
        """Cut the wait short, or the next one."""

    def is_set(self) -> bool:
        """Return whether the next wait would be cut short."""
        ...

    def clear(self) -> None:
        """Let the next wait last."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for so many seconds at most; True when it was cut short."""
        ...


class Bell:
    """A `Waking` for one thread, the main one, that its own signal handlers may ring at any moment.

    An Event is not that: a handler that sets it while the same thread holds its lock waits for ever.
    SimpleQueue.put() may interrupt itself and get() (https://docs.python.org/3/library/queue.html).
    """

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ring."""
        self._rings.put(None)

    def is_set(self) -> bool:
        """Return whether it has been rung since."""
        return not self._rings.empty()

    def clear(self) -> None:
        """Forget that it was rung."""
        with suppress(Empty):
            while True:
                self._rings.get_nowait()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a ring, which is over with that, for so many seconds at most; True when it rang."""
        with suppress(Empty):
            self._rings.get(timeout=timeout)
            return True
        return False


class Clock(Protocol):
    """What the shell needs of time; the core takes an `Instant` as an argument instead."""

    def now(self) -> Instant:
        """Return the present."""
        ...

    def wait(self, event: Waking, seconds: float) -> bool:
        """Wait until `event` is set or `seconds` have passed; True when it was set."""
        ...


class SystemClock:
    """CLOCK_BOOTTIME for durations (it counts through suspend and survives our restart) and wall time.

    `scale` makes a rehearsal: one real second counts as `scale` seconds of both clocks, from `begins` on
    where that is later than the present: a rehearsal that is started again goes on where it was.
    """

    def __init__(self, scale: float = 1.0, begins: Instant | None = None) -> None:
        self._scale = scale
        self._start_t_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._begins = Instant(self._start_t_s, time.time())
        if begins is not None and begins.t_s > self._start_t_s:
            self._begins = begins

    def now(self) -> Instant:
        """Return the present, hurried by the scale."""
        t_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._scale == 1.0:
            return Instant(t_s, time.time())
        passed_s = (t_s - self._start_t_s) * self._scale
        return Instant(self._begins.t_s + passed_s, self._begins.wall_s + passed_s)

    def wait(self, event: Waking, seconds: float) -> bool:
        """Wait for the event or for that many seconds of this clock."""
        return event.wait(max(0.0, seconds) / self._scale)


def monotonic_usec() -> int:
    """Return CLOCK_MONOTONIC in microseconds, which systemd compares with its own."""
    return time.monotonic_ns() // 1000
