"""What a drill reports: one step after the other, each with how it went, how long it took and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from agent.text import one_line

if TYPE_CHECKING:
    from agent.clock import Clock


class DrillError(Exception):
    """A step cannot be done, nor those that stand on it; the message is a sentence for people."""


class Grade(StrEnum):
    """How a step counts."""

    OK = "ok"
    NOTE = "note"
    """Nothing was tried, and nothing was meant to be."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the table."""

    step: str
    grade: Grade
    result: str
    """One word, e.g. "delivered"."""
    took_s: float | None
    """Real time; None where nothing was tried."""
    reason: str
    """What was found, or why it did not work; one line, free of secrets."""


class Stopwatch:
    """Makes the rows of steps that follow each other: each takes as long as since the one before."""

    def __init__(self, clock: Clock, step: str) -> None:
        self._clock = clock
        self.begin(step)

    def begin(self, step: str) -> None:
        """Start with the next step."""
        self._step = step
        self._begun_t_s = self._clock.now().t_s

    def done(self, result: str, reason: str, grade: Grade = Grade.OK) -> Step:
        """Return the row of the step under way."""
        took_s = max(0.0, self._clock.now().t_s - self._begun_t_s)
        return Step(self._step, grade, result, took_s, one_line(reason))

    def failed(self, reason: str) -> Step:
        """Return the row of the step under way, which did not work."""
        return self.done("failed", reason, Grade.FAILED)
