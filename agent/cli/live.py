"""Some processes followed for a while: the daemon's own poll and judgement, without its state."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent.config import default_config
from agent.daemon.judge import Judge
from agent.daemon.watched import WatchedSet
from agent.detect.leak import Finding, LeakDetector
from agent.model import Estimate, Instant, Limit, Process, Reason, Sample, State
from agent.watch.cgroups import LimitReader
from agent.watch.probes.chosen import ChosenProbes
from agent.watch.processes import Sampler
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.daemon.watched import Watched
    from agent.model import ProcessKey, Verdict

LOOK_LEVEL = 2
"""Every fourth poll each series is looked at in full, which costs up to 30 ms a process."""
TREND_S = 60.0
ENOUGH_POLLS = 13
"""Then the first look has seen the eight blocks that it needs."""
_NOTHING_RISES = (Reason("rising", passed=False, text="nothing rises"),)


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at one poll; without a sample where it could not be read, or has ended."""

    process: Process
    now: Instant
    sample: Sample | None = None
    limit: Limit | None = None
    rate: Estimate | None = None
    """Growth of the heap an hour, as far as it can be told; None before that."""
    state: State = State.SOUND
    reasons: tuple[Reason, ...] = ()
    trend: tuple[tuple[float, float], ...] = ()
    """Time and heap of the polls of the last minute."""
    gone: str = ""
    """How it ended; empty while it lives."""

    @property
    def percent(self) -> float | None:
        """Heap as percent of the limit."""
        if self.sample is None or self.limit is None:
            return None
        return 100.0 * self.sample.heap_bytes / self.limit.limit_bytes

    @property
    def why(self) -> str:
        """The leading reason: of an alarm what speaks for it, of everything else what speaks against."""
        alarms = self.state > State.SOUND
        return next((reason.text for reason in self.reasons if reason.passed == alarms), "")


@dataclass(slots=True)
class _Followed:
    """What is kept of a process between two polls."""

    process: Process
    look: Finding | None = None
    trend: deque[tuple[float, float]] = field(default_factory=deque)
    gone: str = ""
    polls: int = 0


class LiveWatch:
    """Polls the given processes and judges them as the daemon would that has just started. Close it."""

    def __init__(self, processes: Sequence[Process], interval_s: float, now: Instant) -> None:
        config = replace(default_config(), poll_interval_s=interval_s)
        self._judge = Judge(config)
        self._detector = LeakDetector(self._judge.rings, config.detection)
        self._watched = WatchedSet(Sampler(), LimitReader(), ChosenProbes())
        self._followed = {process.key: _Followed(process) for process in processes}
        targets = [Target(process.name, process, {}, None) for process in processes]
        for one in self._watched.update(targets, now.t_s)[0]:
            self._judge.open(one.key, one.birth_t_s)

    @property
    def ended(self) -> bool:
        """Whether all processes have ended."""
        return not len(self._watched)

    def poll(self, now: Instant) -> list[Reading]:
        """Sample and judge everybody; the ended ones stay in the list."""
        for departure in self._watched.poll(now.t_s):
            self._judge.close(departure.key)
            self._followed[departure.key].gone = departure.why
        alive = {one.key: one for one in self._watched}
        completed = self._judge.add(list(alive.values()), now.t_s)
        for one in alive.values():
            self._remember(one, completed, now.t_s)
        return [self._reading(key, followed, alive.get(key), now) for key, followed in self._followed.items()]

    def close(self) -> None:
        """Let go of all processes."""
        self._watched.close_all()

    def _remember(self, one: Watched, completed: Collection[int], t_s: float) -> None:
        followed = self._followed[one.key]
        followed.polls += 1
        if LOOK_LEVEL in completed:
            followed.look = self._detector.explain(self._judge.tracked(one.key).series["heap"], t_s)
        if one.sample is not None:
            followed.trend.append((t_s, float(one.sample.heap_bytes)))
        while followed.trend and t_s - followed.trend[0][0] > TREND_S:
            followed.trend.popleft()

    def _reading(self, key: ProcessKey, followed: _Followed, one: Watched | None, now: Instant) -> Reading:
        if one is None:
            return Reading(self._followed[key].process, now, gone=followed.gone or "exited")
        verdict, look = self._gravest(one, now.t_s), followed.look
        alarms = verdict is not None and verdict.state > State.SOUND
        unseen = _NOTHING_RISES if followed.polls >= ENOUGH_POLLS else ()
        return Reading(
            process=followed.process,
            now=now,
            sample=one.sample,
            limit=one.limit,
            rate=(verdict.rate if verdict else None) or (look.rate if look else None),
            state=verdict.state if verdict else State.SOUND,
            reasons=tuple(verdict.reasons if verdict and alarms else look.reasons if look else unseen),
            trend=tuple(followed.trend),
        )

    def _gravest(self, one: Watched, t_s: float) -> Verdict | None:
        return max(self._judge.verdicts(one, t_s), key=lambda verdict: verdict.state, default=None)
