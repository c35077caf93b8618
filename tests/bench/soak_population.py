"""Processes on paper that come and go: what each of them uses follows from its number and its age; pure."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

from agent.model import Process, ProcessKey, Sample
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_PID = 2**22 + 1
"""Beyond PID_MAX_LIMIT (include/linux/threads.h): no real process has such a number."""
BOOT_ID = "50a4b007"
A_SERVICE = 10
"""Processes of one service."""
LEAKS_EVERY = 20
"""One process in so many leaks."""
TICKS_PER_S, HOUR_S, MB = 100, 3600.0, 1e6
LEAK_BYTES_PER_H = 60 * MB
WARM_S = 900.0


class Population:
    """So many processes at any time, the oldest of which are replaced when asked."""

    def __init__(self, size: int, t_s: float) -> None:
        self._size = size
        self._numbers = count()
        self._alive: dict[ProcessKey, Target] = {}
        self._grow(t_s)

    def __contains__(self, key: ProcessKey) -> bool:
        """Whether it is one of this population, alive or not."""
        return key.boot_id == BOOT_ID

    @property
    def targets(self) -> Sequence[Target]:
        """Return who lives, oldest first."""
        return tuple(self._alive.values())

    def replace(self, many: int, t_s: float) -> None:
        """End the oldest and start as many."""
        for key in list(self._alive)[:many]:
            del self._alive[key]
        self._grow(t_s)

    def sample(self, key: ProcessKey, t_s: float) -> Sample | None:
        """Return what a process uses; None when it has ended."""
        target = self._alive.get(key)
        if target is None:
            return None
        return use(key.pid - FIRST_PID, t_s - target.process.started_t_s)

    def _grow(self, t_s: float) -> None:
        while len(self._alive) < self._size:
            target = _target(next(self._numbers), self._size, t_s)
            self._alive[target.process.key] = target


def use(number: int, age_s: float) -> Sample:
    """Return what a process of this number uses at this age."""
    grown = 30 * MB * (1.0 - math.exp(-age_s / WARM_S))
    collected = 5 * MB * math.modf(age_s / (300.0 + number % 7) + number / 3.0)[0]
    noise = 0.5 * MB * math.sin(12.9898 * number + 78.233 * age_s)
    leaked = LEAK_BYTES_PER_H * age_s / HOUR_S if leaks(number) else 0.0
    heap_bytes = int(80 * MB + grown + collected + noise + leaked)
    shared_bytes = 20_000_000
    return Sample(
        rss_bytes=heap_bytes + shared_bytes,
        heap_bytes=heap_bytes,
        shared_bytes=shared_bytes,
        swap_bytes=0,
        threads=4 + number % 3,
        fds=20 + number % 5,
        cpu_s=0.02 * age_s,
        children=0,
    )


def leaks(number: int) -> bool:
    """Whether the process of this number leaks."""
    return number % LEAKS_EVERY == 0


def _target(number: int, size: int, t_s: float) -> Target:
    """Return a process that starts now in the place of the one that is `size` numbers older."""
    service = f"paper{number % size // A_SERVICE}"
    key = ProcessKey(FIRST_PID + number, int(t_s * TICKS_PER_S), BOOT_ID)
    command = f"{service} --number {number}"
    process = Process(key, service, command, f"/usr/bin/{service}", "tester", 1, "/", t_s, "native")
    return Target(service, process, {}, None, children=0)
