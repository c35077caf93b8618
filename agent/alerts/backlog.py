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
STORE_WAIT_S = 0.25
"""A transition is stored before it is logged, unless the disk takes longer than this."""
CLOSE_WAIT_S = 3.0
ROOM_AFTER_S = 5.0
"""On a slow disk it takes a while to take room: not while the daemon starts, unless there is work to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to be written, all or nothing."""

    work: Work[Any]
    """May be done twice."""
    deliveries: tuple[tuple[str, str], ...] = ()
    """Incident and channel of each that it stores."""
    awaited: bool = False
    """Whether it is waited for a moment until it is stored."""


class Backlog:
    """What is handed over counts as undelivered until it is stored; only what is stored is sent.

    `stored` is told of the results after each transaction, on the backlog's thread.
    """

    def __init__(self, file: StateFile, stored: Callable[[Sequence[Any]], None]) -> None:
        self._file = file
        self._stored = stored
        self._changed = threading.Condition()
        self._jobs: list[Job] = []
        self._done = 0
        self._behind = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="leakwatch-state", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Hand over a job. An awaited one is stored on return, unless the disk is slow or was just now.

        While `MAX_UNWRITTEN` wait it waits for as long as it takes.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._jobs) < MAX_UNWRITTEN)
            self._jobs.append(job)
            number = self._done + len(self._jobs)
            self._changed.notify_all()
            if job.awaited and not self._behind:
                self._behind = not self._changed.wait_for(lambda: self._done >= number, STORE_WAIT_S)

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
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing, ROOM_AFTER_S)
        self._file.keep_room()
        while jobs := self._next():
            self._stored(self._write(jobs))
            with self._changed:
                del self._jobs[: len(jobs)]
                self._done += len(jobs)
                self._behind = self._behind and bool(self._jobs)
                self._changed.notify_all()
            self._file.keep_room()

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
