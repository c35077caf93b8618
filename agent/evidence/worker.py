"""Captures in the background: one at a time on the host, behind a short queue, answered in any case."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from agent.logs import log_event
from agent.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.captures import Captures
    from agent.model import Instant, Process

logger = logging.getLogger(__name__)

MAX_WAITING = 8
"""More at once mean that the host is in trouble already; their alerts go out without."""


class _Job(NamedTuple):
    job_id: str
    process: Process
    label: str
    now: Instant
    done: Callable[[str, Evidence], None]


class CaptureWorker:
    """Runs captures on a thread of its own.

    Every job is answered once, through its `done(job_id, evidence)`: on the worker's thread, or at once on
    the caller's when it cannot be taken. A capture ends by itself: each tool in it has a time.
    """

    def __init__(self, captures: Captures) -> None:
        self._captures = captures
        self._queue: queue.Queue[_Job | None] = queue.Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="leakwatch-evidence", daemon=True)

    def start(self) -> None:
        """Begin to work; once."""
        self._thread.start()

    def submit(
        self,
        job_id: str,
        process: Process,
        label: str,
        now: Instant,
        done: Callable[[str, Evidence], None],
    ) -> None:
        """Queue a capture; `now` becomes its time. Returns at once."""
        job = _Job(job_id, process, label, now, done)
        refusal = self._enqueue(job)
        if refusal is not None:
            _answer(job, refusal)

    def stop(self, timeout_s: float) -> bool:
        """Answer what waits without taking it, and let a running capture end. True when it did in time."""
        with self._lock:
            self._stopping = True
            waiting = self._drain()
            self._queue.put(None)
        for job in waiting:
            _answer(job, _refusal("leakwatch is stopping"))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            evidence = self._captures.capture(job.process, job.label, job.now)
            _log(job, evidence)
            _answer(job, evidence)

    def _enqueue(self, job: _Job) -> Evidence | None:
        with self._lock:
            if self._stopping:
                return _refusal("leakwatch is stopping")
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                return _refusal(f"{MAX_WAITING} captures are waiting already")
        return None

    def _drain(self) -> list[_Job]:
        jobs = []
        while not self._queue.empty():
            with suppress(queue.Empty):  # the worker takes from it too
                jobs.append(self._queue.get_nowait())
        return [job for job in jobs if job is not None]


def _refusal(why: str) -> Evidence:
    return Evidence("", missing=(f"captures: not taken, {why}",))


def _answer(job: _Job, evidence: Evidence) -> None:
    try:
        job.done(job.job_id, evidence)
    except Exception as error:  # noqa: BLE001 - the next capture must not suffer
        log_event(logger, "refused", level=logging.ERROR, capture=job.label, error=repr(error))


def _log(job: _Job, evidence: Evidence) -> None:
    told = {key.replace(" ", "_"): text for key, _, text in (line.partition(": ") for line in evidence.gist)}
    log_event(
        logger,
        "evidence",
        incident=job.label,
        pid=job.process.key.pid,
        top=told.get("top_stack"),
        grew=told.get("grew"),
        holds=told.get("holds"),
        missing="; ".join(evidence.missing) or None,
        dir=evidence.directory or None,
    )
