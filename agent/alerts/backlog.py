"""Writes the state behind the tick's back: in order, on a thread of its own, many at a time."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.alerts.state_schema import Work
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.alerts.state_file import StateFile

logger = logging.getLogger(__name__)

MAX_UNWRITTEN = 20_000
"""A disk so slow that more waits to be written slows down the tick in the end: nothing is dropped."""
CLOSE_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to be written, all or nothing."""

    work: Work[Any]
    """May be done twice."""
    deliveries: tuple[tuple[str, str], ...] = ()
    """Incident and channel of each that it stores."""


class Backlog:
    """What is handed over counts as undelivered until it is stored; only what is stored is sent.

    `stored` is told of the results after each transaction, on the backlog's thread.
    """

    def __init__(self, file: StateFile, stored: Callable[[Sequence[Any]], None]) -> None:
        self._file = file
        self._stored = stored
        self._changed = threading.Condition()
        self._jobs: list[Job] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="leakwatch-state", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Hand over a job; returns at once unless `MAX_UNWRITTEN` wait already."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < MAX_UNWRITTEN)
            self._jobs.append(job)
            self._changed.notify_all()

    def unwritten(self) -> list[tuple[str, str]]:
        """Return incident and channel of every delivery that is not stored yet."""
        with self._changed:
            return [place for job in self._jobs for place in job.deliveries]

    def close(self) -> bool:
        """Write what waits and end; False when the disk does not let it, some seconds long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_WAIT_S)
        if self._thread.is_alive():
            lost = len(self.unwritten())
            log_event(logger, "stopped", level=logging.ERROR, unwritten_alerts=lost, why="the disk hangs")
        return not self._thread.is_alive()

    def _run(self) -> None:
        while jobs := self._next():
            self._stored(self._write(jobs))
            with self._changed:
                del self._jobs[: len(jobs)]
                self._changed.notify_all()

    def _next(self) -> list[Job]:
        """Wait for jobs and return them all; none when it is time to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing)
            return list(self._jobs)

    def _write(self, jobs: Sequence[Job]) -> list[Any]:
        try:
            return self._file.run(lambda connection: [job.work(connection) for job in jobs])
        except Exception as error:  # noqa: BLE001 - one job that cannot be written must not take others with it
            if len(jobs) > 1:
                return [result for job in jobs for result in self._write([job])]
            log_event(
                logger,
                "refused",
                level=logging.ERROR,
                why=f"cannot be stored: {type(error).__name__}: {error}",
            )
            return []
