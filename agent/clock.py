"""The only reader of clocks: hands out instants, waits, and can run fast for a rehearsal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from agent.model import Instant

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """What the shell needs of time; the core takes an `Instant` as an argument instead."""

    def now(self) -> Instant:
        """Return the present."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
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

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for the event or for that many seconds of this clock."""
        return event.wait(max(0.0, seconds) / self._scale)


def monotonic_usec() -> int:
    """Return CLOCK_MONOTONIC in microseconds, which systemd compares with its own."""
    return time.monotonic_ns() // 1000
