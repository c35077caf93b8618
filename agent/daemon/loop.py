"""The daemon: one complete poll a tick, and the loop that ticks, reloads and stops."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.clock import Bell, Clock, monotonic_usec
from agent.daemon.baselines import BaselineRound
from agent.daemon.finding import Finder
from agent.daemon.gate import Gate
from agent.daemon.judge import Judge
from agent.daemon.keeper import IncidentKeeper
from agent.daemon.lineage import Lineage
from agent.daemon.memory import Memory
from agent.daemon.noticing import ChangeNews
from agent.daemon.publish import Publisher
from agent.daemon.watched import Departure, WatchedSet
from agent.logs import log_event
from agent.sdnotify import Notifier
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.config import Config
    from agent.daemon.watched import Watched
    from agent.model import Instant, ProcessKey
    from agent.watch.targets import Selection
    from agent.web.health import HealthView

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a daemon is made of; bootstrap fills it with the real ones."""

    clock: Clock
    gate: Gate
    finder: Finder
    watched: WatchedSet
    judge: Judge
    memory: Memory
    lineage: Lineage
    keeper: IncidentKeeper
    changes: ChangeNews
    publisher: Publisher
    notifier: Notifier
    baselines: BaselineRound


class Daemon:
    """Polls, judges and tells, until it is told to stop.

    `reload` reads the file again and hands it to the parts; it returns None where the file has mistakes.
    """

    def __init__(self, config: Config, parts: Parts, reload: Callable[[], Config | None]) -> None:
        self._interval_s = config.poll_interval_s
        self._parts = parts
        self._read_again = reload
        self._started = parts.clock.now()
        self._first = True
        self._ready = False
        self._failing = False
        self._spoken_of: list[ProcessKey] = []
        # Plain values: what signal handlers touch must not have a lock.
        self._stopping = False
        self._reloading = False
        self._wake = Bell()

    def view(self) -> HealthView:
        """Return how everything was after the latest tick; any thread may ask."""
        return self._parts.publisher.view

    def stop(self) -> None:
        """End the loop after the tick under way; safe in a signal handler."""
        self._stopping = True
        self._wake.set()

    def ask_reload(self) -> None:
        """Read the configuration again before the next tick; safe in a signal handler."""
        self._reloading = True
        self._wake.set()

    def run(self) -> None:
        """Tick at every interval until stopped."""
        due_t_s = self._parts.clock.now().t_s
        while not self._stopping:
            if self._reloading:
                self._reloading = False
                self.reload()
            now = self._parts.clock.now()
            if now.t_s >= due_t_s:
                self._parts.publisher.late += now.t_s - due_t_s > self._interval_s
                due_t_s = _next_due_s(due_t_s, self._interval_s, now.t_s)
                self._attempt(now)
            self._rest(due_t_s)

    def tick(self, now: Instant) -> None:
        """Do one complete poll: who is there, how much they use, what that means, who is told."""
        parts = self._parts
        selection = parts.finder.latest(parts.watched.keys)
        self._take_over(selection, now)
        self._close(parts.watched.poll(now.t_s), now)
        watched = list(parts.watched)
        changed, parts.watched.changed = parts.watched.changed, set()
        parts.memory.keep(parts.judge.add(watched, now.t_s, changed), watched)
        parts.lineage.look(now)
        parts.keeper.begin(watched, now, parts.watched.generation)
        for key, why in parts.keeper.take_disproved():
            parts.judge.disprove(key, why, now.t_s)
        for one in self._concerned(now):
            about = parts.keeper.subjects_of(one) | parts.lineage.subjects_of(one)
            one.verdicts = tuple(parts.judge.verdicts(one, now.t_s, about))
            for verdict in parts.lineage.told(one, one.verdicts, now):
                parts.keeper.observe(one, verdict, now)
        parts.keeper.release(parts.lineage.take_over(), now)
        parts.keeper.finish(now, parts.lineage.holds)
        parts.changes.look(watched, now, parts.watched.generation)
        parts.baselines.look(watched, now, parts.watched.generation)
        took_s = parts.clock.now().t_s - now.t_s
        parts.publisher.completed(now, took_s, watched, selection)

    def _concerned(self, now: Instant) -> list[Watched]:
        """Return about whom there may be something to say; of the others nothing is held any more."""
        parts = self._parts
        before, self._spoken_of = (
            self._spoken_of,
            sorted(parts.judge.concerned(now.t_s) | parts.keeper.members | parts.lineage.members),
        )
        concerned = parts.watched.of(self._spoken_of)
        for one in parts.watched.of(set(before).difference(self._spoken_of)):
            one.verdicts = ()
        return concerned

    def reload(self) -> None:
        """Take over the configuration file as it is now; a bad one is refused and the old stays in force."""
        parts = self._parts
        parts.notifier.reloading(monotonic_usec())
        try:
            config = self._read_again()
        except Exception as error:
            log_event(logger, "refused", level=logging.ERROR, why=f"{type(error).__name__}: {error}")
            logger.debug("reload failed", exc_info=True)
        else:
            if config is not None:
                self._interval_s = config.poll_interval_s
        parts.notifier.ready(parts.publisher.line)

    def shut_down(self) -> None:
        """Save what is known; the state on disk is complete after it."""
        self._parts.notifier.stopping()
        now = self._parts.clock.now()
        self._parts.keeper.save_all(now)
        self._parts.lineage.save()
        self._parts.watched.close_all()
        lasted = format_duration(now.t_s - self._started.t_s)
        log_event(logger, "stopped", after=lasted, ticks=self._parts.publisher.ticks)

    def _attempt(self, now: Instant) -> None:
        """Tick; a failure is said and the next tick comes all the same, but the watchdog is not fed."""
        try:
            with self._parts.gate:
                self.tick(now)
        except Exception as error:
            self._failing = True
            why = f"{type(error).__name__}: {error}"
            self._parts.publisher.failing = why
            log_event(logger, "failed", level=logging.ERROR, what="tick", why=why)
            logger.debug("tick failed", exc_info=True)
            return
        self._failing = False
        if not self._ready:
            self._ready = True
            gc.collect()
            gc.freeze()  # who is watched lives long: no collection need look at it again
            self._parts.notifier.ready(self._parts.publisher.line)
        self._parts.notifier.watchdog()

    def _rest(self, due_t_s: float) -> None:
        """Wait for the next tick, a signal, or the next time the watchdog must hear of a completed tick."""
        remaining_s = due_t_s - self._parts.clock.now().t_s
        feed_s = self._parts.notifier.watchdog_interval_s or remaining_s
        if remaining_s <= 0:
            return
        if self._parts.clock.wait(self._wake, min(remaining_s, feed_s)):
            self._wake.clear()
        elif feed_s < remaining_s and self._ready and not self._failing:
            self._parts.notifier.watchdog()

    def _take_over(self, selection: Selection, now: Instant) -> None:
        parts = self._parts
        opened, left = parts.watched.update(selection.targets, now.t_s)
        pids = parts.watched.pids_by_service() if opened else {}
        for one in opened:
            one.birth_t_s = parts.memory.birth(one)
            lent = parts.lineage.open(one, pids[one.target.service], now)
            parts.judge.open(one.key, one.birth_t_s, lent)
        self._close(left, now)
        if self._first:
            self._first = False
            parts.lineage.begin(parts.keeper.open_incidents, now)
            parts.keeper.depart_missing(parts.watched, now, parts.lineage.holds)
            known = parts.memory.restore(opened, now.t_s)
            for key, disproof in parts.keeper.disproofs(now):
                parts.judge.disprove(key, disproof.text, disproof.until_t_s, disproof.since_t_s)
            if known:
                parts.judge.look_again(opened, now.t_s)
                log_event(logger, "restored", processes=known, incidents=len(parts.keeper.open_incidents))

    def _close(self, departures: Sequence[Departure], now: Instant) -> None:
        """Take leave of processes: their runs are summed up before their series are forgotten."""
        parts = self._parts
        parts.lineage.end(departures, now)
        for departure in departures:
            if departure.key not in parts.watched:
                parts.judge.close(departure.key)
                parts.lineage.forget(departure.key)
        parts.keeper.depart(departures, now, parts.lineage.holds)


def _next_due_s(due_t_s: float, interval_s: float, now_t_s: float) -> float:
    """Return when the next tick is due: on the beat, or an interval from now when a beat was missed."""
    return due_t_s + interval_s if now_t_s < due_t_s + interval_s else now_t_s + interval_s
