"""Decides whose baseline is taken next: of everybody who has settled, one at a time, at a low rate."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from agent.consent import Consent
from agent.model import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.config import Config
    from agent.daemon.watched import Watched
    from agent.evidence.worker import CaptureWorker
    from agent.model import Instant, ProcessKey

SETTLED_S = 900.0
"""Most programs have loaded what they load after a quarter of an hour; a slow one is looked at again."""
AGAIN_S = 7 * 86400.0
"""The longer ago, the less of the difference is noise; but after a week much of it is another state."""
EVERY_S = 10.0
"""Between two looks: a thousand processes are looked at within three hours."""
RETRY_S = 600.0
"""One that could not be looked at is tried again after this."""


class BaselineRound:
    """Asks the worker for baselines, tick by tick."""

    def __init__(
        self, config: Config, captures: CaptureWorker, taken_t_s: Callable[[ProcessKey], float | None]
    ) -> None:
        self._config = config
        self._captures = captures
        self._taken_t_s = taken_t_s
        self._watched: dict[ProcessKey, Watched] = {}
        self._turns: list[tuple[float, ProcessKey]] = []
        """When whose turn is: a heap; of those who have left an entry stays until then."""
        self._generation: int | None = None
        self._next_t_s = 0.0

    def reconfigure(self, config: Config) -> None:
        """Go by another configuration from now on."""
        self._config = config

    def look(self, watched: Iterable[Watched], now: Instant, generation: int) -> None:
        """Ask for one baseline at most, when it is time; same `generation`, nobody has come or gone."""
        if not (self._config.evidence.enabled and self._config.evidence.baselines):
            return
        if generation != self._generation:
            self._generation = generation
            self._take_over(watched)
        while self._turns and self._turns[0][0] <= now.t_s and self._next_t_s <= now.t_s:
            one = self._watched.get(heappop(self._turns)[1])
            if one is not None:
                self._look(one, now)

    def _take_over(self, watched: Iterable[Watched]) -> None:
        before, self._watched = self._watched, {one.key: one for one in watched}
        for key, one in self._watched.items():
            if key not in before:
                heappush(self._turns, (one.target.process.started_t_s + SETTLED_S, key))

    def _look(self, one: Watched, now: Instant) -> None:
        """Ask for the baseline of one whose turn it is, and say when its next turn is."""
        taken_t_s = self._taken_t_s(one.key)
        if taken_t_s is not None and now.t_s - taken_t_s < AGAIN_S:
            heappush(self._turns, (taken_t_s + AGAIN_S, one.key))
            return
        heappush(self._turns, (now.t_s + RETRY_S, one.key))
        if self._wanted(one, known=taken_t_s is not None):
            consent = one.target.entry.allow if one.target.entry else Consent()
            self._captures.baseline(one.target.process, now, consent)
            self._next_t_s = now.t_s + EVERY_S

    def _wanted(self, one: Watched, *, known: bool) -> bool:
        """Whether a baseline is to be taken now; a suspect's is not replaced: its growth would be in it."""
        entry = one.target.entry
        wanted = self._config.snapshots if entry is None or entry.snapshots is None else entry.snapshots
        suspected = any(verdict.state >= State.SUSPECT for verdict in one.verdicts)
        return wanted and not (known and suspected)
