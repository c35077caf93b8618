"""A thread that takes one turn after another, and outlives every failure of one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.clock import Clock
    from agent.model import Instant


class Routine(ABC):
    """What is done again and again beside the ticks."""

    def __init__(self, name: str, clock: Clock, first_wait_s: float = 0.0) -> None:
        self._clock = clock
        self._first_wait_s = first_wait_s
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Take turns from now on; once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End; True when a turn under way ended in time."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @abstractmethod
    def turn(self, now: Instant) -> float:
        """Do what is to be done at this moment, and return how long to wait then, in seconds."""

    @abstractmethod
    def failed(self, error: Exception) -> float:
        """Say that a turn has failed, and return how long to wait then, in seconds."""

    def _run(self) -> None:
        wait_s = self._first_wait_s
        while not self._stopping:
            self._clock.wait(self._wake, wait_s)
            if self._stopping:
                return
            try:
                wait_s = self.turn(self._clock.now())
            except Exception as error:  # noqa: BLE001 - what kind it is, is told by `failed`
                wait_s = self.failed(error)
