"""Decides when the run of a process goes to the disk: at its end, and now and then while it lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.history.runs import Run
    from agent.history.store import HistoryWriter
    from agent.model import Instant

WRITE_EVERY_S = 60.0
"""What is to be stored goes to the disk together: a transaction rewrites whole pages."""
LONGER, AGAIN_S = 1.5, 6 * 3600.0
"""A run that goes on is stored again when it has lasted that much longer: so much of it is lost when the
agent is killed and the process ends before the next start."""


class RunWriting:
    """What is to be stored, until it is handed over."""

    def __init__(self, writer: HistoryWriter[Sequence[Run]]) -> None:
        self._writer = writer
        self._waiting: dict[str, Run] = {}
        self._lasted_s: dict[str, float] = {}
        """How long each living run had lasted when it was last stored, or is about to be."""
        self._due_t_s = float("-inf")

    def note(self, run: Run) -> None:
        """Take in a run as it is now."""
        before_s = self._lasted_s.get(run.key, 0.0)
        if run.ended_wall_s or run.watched_s >= min(LONGER * before_s, before_s + AGAIN_S):
            self._waiting[run.key] = run
            self._lasted_s[run.key] = run.watched_s

    def forget(self, key: str) -> None:
        """Let go of a process that has left; what waits of it is stored all the same."""
        self._lasted_s.pop(key, None)

    def write(self, now: Instant) -> None:
        """Hand over what waits, where it is time."""
        if now.t_s >= self._due_t_s:
            self._due_t_s = now.t_s + WRITE_EVERY_S
            self.write_all({})

    def write_all(self, more: Mapping[str, Run]) -> None:
        """Hand over what waits, and more runs by their keys."""
        runs = tuple((dict(more) | self._waiting).values())
        self._waiting = {}
        if runs:
            self._writer.put(runs)
