"""Asks servers for figures on a few threads of its own; the poll only takes what has arrived.

Who answers quickly is asked by two threads. Who does not, or has not yet, waits for a third one: a server
that hangs takes the time of its like. Everything but the asking itself happens on the thread that polls.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from agent.text import one_line
from agent.watch.probes.base import Asked, ProbeError, RuntimeFigures
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from agent.clock import Clock
    from agent.model import ProcessKey

logger = logging.getLogger(__name__)

QUICK_THREADS = 2
STALE_POLLS = 3
"""Figures that were asked for so many polls ago are none any more; so many failures in a row are a state."""
MAX_REST_POLLS = 30
"""Who fails is asked ever more seldom: five minutes apart at the usual interval."""
SLOW_S = 0.5
"""Whoever takes longer is asked by the third thread."""
MAX_WHY_CHARS = 200
_NO_ANSWER = "no answer yet"


class _Outcome(NamedTuple):
    """What a question came to."""

    figures: RuntimeFigures | None
    why: str = ""
    at: int = 0
    """The number of the poll in which it was put."""
    slow: bool = False


@dataclass(slots=True)
class _One:
    """One process that is asked. Only `outcome` is set by another thread than the one that polls."""

    target: Target
    asked: Asked
    figures_at: int
    """The number of the poll in which `figures` were asked for; before the first ones when it was begun."""
    before: _One | None = None
    """The same process as it was followed until now, if that is still being asked about."""
    figures: RuntimeFigures | None = None
    why: str = _NO_ANSWER
    outcome: _Outcome | None = None
    under_way: bool = False
    closed: bool = False
    next_at: int = 0
    failures: int = 0
    """In a row."""
    quick: bool = False
    """Whether the newest question was answered, and soon."""

    @property
    def busy(self) -> bool:
        """Whether a question is under way, whose answer is not taken over yet."""
        if self.before is not None and (self.before.outcome is not None or not self.before.busy):
            self.before = None
        return self.before is not None or self.under_way

    def take(self, outcome: _Outcome) -> None:
        """Take over what a question came to."""
        self.under_way, self.outcome = False, None
        self.quick = outcome.figures is not None and not outcome.slow
        if outcome.figures is not None:
            self.figures, self.figures_at = outcome.figures, outcome.at
            self.failures, self.why = 0, _NO_ANSWER
            return
        self.failures, self.why = self.failures + 1, outcome.why
        doublings = min(max(0, self.failures - STALE_POLLS), MAX_REST_POLLS.bit_length())
        self.next_at = outcome.at + min(2**doublings, MAX_REST_POLLS)


class Background:
    """Follows processes by what answers for them; `poll` asks, and takes what was answered since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ones: dict[ProcessKey, _One] = {}
        self._polls = 0
        self._quick = _Lane("leakwatch-probe", QUICK_THREADS, self._ask)
        self._doubtful = _Lane("leakwatch-probe-slow", 1, self._ask)

    def __contains__(self, key: ProcessKey) -> bool:
        return key in self._ones

    @property
    def pending(self) -> int:
        """How many processes have been asked about and have not answered yet."""
        return sum(one.under_way and one.outcome is None for one in self._ones.values())

    def follow(self, target: Target, asked: Asked) -> None:
        """Ask about a process from the next poll on; one that is followed is begun anew."""
        before = self._ones.get(target.process.key)
        self.close(target.process.key)
        busy = before is not None and before.busy
        self._ones[target.process.key] = _One(target, asked, self._polls, before if busy else None)

    def poll(self) -> None:
        """Take what was answered, and have everybody asked again whose turn it is. Never waits."""
        self._polls += 1
        pids: defaultdict[str, set[int]] = defaultdict(set)
        for key, one in self._ones.items():
            pids[one.target.service].add(key.pid)
            if one.outcome is not None:
                one.take(one.outcome)
        for key, one in self._ones.items():
            if not one.busy and self._polls >= one.next_at:
                one.under_way = True
                lane = self._quick if one.quick else self._doubtful
                lane.put(one, pids[one.target.service] - {key.pid})

    def newest(self, key: ProcessKey) -> RuntimeFigures | None:
        """Return the newest figures of a process that is followed; None where they are too old."""
        one = self._ones.get(key)
        return None if one is None or self._is_stale(one) else one.figures

    def why(self, key: ProcessKey) -> str:
        """Return why there are no figures, as a sentence; empty where there are, and until it is sure."""
        one = self._ones.get(key)
        return one.why if one is not None and self._is_stale(one) else ""

    def close(self, key: ProcessKey) -> None:
        """Ask about a process no more; an unknown one is no error."""
        one = self._ones.pop(key, None)
        if one is not None:
            one.closed = True
            one.asked.forget(key)

    def stop(self, timeout_s: float) -> None:
        """End the threads, as soon as what is asked for now was answered or given up."""
        lanes = (self._quick, self._doubtful)
        for lane in lanes:
            lane.end()
        for lane in lanes:
            lane.join(timeout_s / (QUICK_THREADS + 1))

    def _ask(self, one: _One, others: AbstractSet[int]) -> None:
        """Put one question, on the thread of a lane."""
        at, began_s = self._polls, self._clock.now().t_s
        outcome = _Outcome(None) if one.closed else _answer(one, others)
        one.outcome = outcome._replace(at=at, slow=self._clock.now().t_s - began_s > SLOW_S)
        if one.closed:
            one.asked.forget(one.target.process.key)

    def _is_stale(self, one: _One) -> bool:
        return self._polls - one.figures_at > STALE_POLLS


class _Lane:
    """Threads that ask one process after the other; they start with the first one."""

    def __init__(self, name: str, threads: int, ask: Callable[[_One, AbstractSet[int]], None]) -> None:
        self._ask = ask
        self._queue: SimpleQueue[tuple[_One, AbstractSet[int]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        self._ended = False

    def put(self, one: _One, others: AbstractSet[int]) -> None:
        self._queue.put((one, others))
        if not self._ended and not self._threads[0].ident:
            for thread in self._threads:
                thread.start()

    def end(self) -> None:
        self._ended = True
        for _ in self._threads:
            self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        for thread in self._threads:
            if thread.ident:
                thread.join(timeout_s)

    def _run(self) -> None:
        for one, others in self._waiting():
            self._ask(one, others)

    def _waiting(self) -> Iterator[tuple[_One, AbstractSet[int]]]:
        while not self._ended and (item := self._queue.get()) is not None:
            yield item


def _answer(one: _One, others: AbstractSet[int]) -> _Outcome:
    try:
        return _Outcome(one.asked.ask(one.target, others))
    except ProbeError as error:
        return _Outcome(None, one_line(str(error), MAX_WHY_CHARS))
    except Exception as error:
        logger.debug("probe failed", exc_info=True)
        return _Outcome(None, one_line(f"{type(error).__name__}: {error}", MAX_WHY_CHARS))
