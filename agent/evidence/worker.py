"""Captures in the background: one at a time, quick ones first, every job answered in any case."""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent import malloc
from agent.consent import Consent
from agent.evidence.source import Tier
from agent.logs import log_event
from agent.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.captures import Captures
    from agent.model import Alert, Instant, Process, ProcessKey

logger = logging.getLogger(__name__)

MAX_WAITING = 8
"""More at once mean that the host is in trouble already; their alerts go out without."""
NO_CONSENT = Consent()


class Order(NamedTuple):
    """What is to be captured, and what it may cost."""

    job_id: str
    """What the answer is given by."""
    process: Process
    label: str
    now: Instant
    """The time of the capture."""
    consent: Consent = NO_CONSENT
    tier: Tier = Tier.MEDIUM
    alert: Alert | None = None
    """What it is taken for."""


class _Job(NamedTuple):
    order: Order
    done: Callable[[str, Evidence], None]


class CaptureWorker:
    """Runs captures on a thread of its own.

    Every job is answered through its `done(job_id, evidence)`: on the worker's thread, or at once on the
    caller's when it cannot be taken. Where heavy evidence is allowed it is taken after that, when nothing
    quick waits, and `done` is called once more with all of it. A capture ends by itself: each tool in it has
    a time.
    """

    def __init__(self, captures: Captures) -> None:
        self._captures = captures
        self._changed = threading.Condition()
        self._quick: deque[_Job] = deque()
        self._heavy: deque[tuple[_Job, Evidence]] = deque()
        self._baseline: Callable[[], None] | None = None
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="leakwatch-evidence", daemon=True)

    def start(self) -> None:
        """Begin to work; once."""
        self._thread.start()

    def submit(self, order: Order, done: Callable[[str, Evidence], None]) -> None:
        """Queue a capture. Returns at once."""
        job = _Job(order, done)
        with self._changed:
            refusal = self._refusal()
            if not refusal:
                self._quick.append(job)
                self._changed.notify()
        if refusal:
            _answer(job, _not_taken(refusal))

    def baseline(self, process: Process, now: Instant, consent: Consent) -> bool:
        """Let a baseline be taken when there is nothing else to do. Return False where there is."""
        with self._changed:
            if self._busy or self._stopping or self._quick or self._heavy or self._baseline:
                return False
            self._baseline = partial(self._captures.baseline, process, now, consent)
            self._changed.notify()
        return True

    def unpaired(self, key: ProcessKey) -> bool:
        """Whether the newest capture of a process could not tell what grew: a later one will."""
        return self._captures.unpaired(key)

    def stop(self, timeout_s: float) -> bool:
        """Answer what waits without taking it, and let a running capture end. True when it did in time."""
        with self._changed:
            self._stopping = True
            waiting = list(self._quick)
            self._quick.clear()
            self._heavy.clear()
            self._baseline = None
            self._changed.notify()
        for job in waiting:
            _answer(job, _not_taken("leakwatch is stopping"))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            work()
            malloc.give_back()  # what a capture reads is many times what the daemon needs otherwise

    def _next(self) -> Callable[[], None] | None:
        """Return what to do next; None when it is time to stop."""
        with self._changed:
            self._busy = False
            while not self._stopping:
                if self._quick:
                    work: Callable[[], None] | None = partial(self._take, self._quick.popleft())
                elif self._heavy:
                    work = partial(self._deepen, *self._heavy.popleft())
                else:
                    work, self._baseline = self._baseline, None
                if work is not None:
                    self._busy = True
                    return work
                self._changed.wait()
        return None

    def _take(self, job: _Job) -> None:
        order = job.order
        evidence = self._captures.capture(
            order.process,
            order.label,
            order.now,
            consent=order.consent,
            tier=order.tier,
            alert=order.alert,
        )
        _log(order, evidence)
        _answer(job, evidence)
        grave = order.tier >= Tier.MEDIUM and bool(evidence.directory)
        if grave and self._captures.wants_heavy(order.process, order.consent):
            with self._changed:
                if not self._stopping and len(self._heavy) < MAX_WAITING:
                    self._heavy.append((job, evidence))

    def _deepen(self, job: _Job, evidence: Evidence) -> None:
        order = job.order
        deeper = self._captures.deepen(
            order.process, evidence, order.now, consent=order.consent, alert=order.alert
        )
        _log(order, deeper)
        _answer(job, deeper)

    def _refusal(self) -> str:
        if self._stopping:
            return "leakwatch is stopping"
        return f"{MAX_WAITING} captures are waiting already" if len(self._quick) >= MAX_WAITING else ""


def _not_taken(why: str) -> Evidence:
    return Evidence("", missing=(f"captures: not taken, {why}",))


def _answer(job: _Job, evidence: Evidence) -> None:
    try:
        job.done(job.order.job_id, evidence)
    except Exception as error:  # noqa: BLE001 - the next capture must not suffer
        log_event(logger, "refused", level=logging.ERROR, capture=job.order.label, error=repr(error))


def _log(order: Order, evidence: Evidence) -> None:
    told = {key.replace(" ", "_"): text for key, _, text in (line.partition(": ") for line in evidence.gist)}
    log_event(
        logger,
        "evidence",
        incident=order.label,
        pid=order.process.key.pid,
        top=told.get("top_stack"),
        grew=told.get("grew"),
        holds=told.get("holds"),
        missing="; ".join(evidence.missing) or None,
        dir=evidence.directory or None,
    )
