"""Keeps the runs of every service: sums up who ends, lends to who starts, and says what restarts hide."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush, nsmallest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.daemon.run_writing import RunWriting
from agent.detect.course import floors_of_life, sum_up
from agent.detect.lineage import LineageFinding, across, explain, lend, recovered
from agent.history.runs import KEPT_RUNS, Run, kept
from agent.model import Event, Reason, State, Subject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from agent.config import Config
    from agent.daemon.judge import Judge
    from agent.daemon.watched import Departure, Watched
    from agent.detect.course import Course
    from agent.detect.lineage import Lent
    from agent.history.lineage import RunStore
    from agent.history.store import HistoryWriter
    from agent.incidents import Incident
    from agent.model import Instant, ProcessKey, Verdict

SUM_UP_EVERY_S, SUM_UP_AT_LEAST_S = 300.0, 3600.0
"""How often a living process is summed up: more seldom the longer it lives."""
SUM_UP_SHARE = 1 / 8
TURNS = 30
"""Processes that were opened together are summed up at so many different polls."""
ABSENT_S = 3600.0
"""A lineage without any process for so long is over: what is not started again hides nothing."""
MAX_SERVICES = 1000
WHOLE_S = 1.0
REASON = "lineage"


class _Place(NamedTuple):
    """Runs are compared within a program of a service."""

    service: str
    program: str


class Over(NamedTuple):
    """A lineage that has ended."""

    service: str
    why: str
    sound: bool
    """Whether later runs were sound; else nothing runs any more."""


class Lineage:
    """The runs of all services, living ones included, and the leaks that they show together."""

    def __init__(
        self, config: Config, judge: Judge, store: RunStore, writer: HistoryWriter[Sequence[Run]]
    ) -> None:
        self._config = config
        self._judge = judge
        self._writing = RunWriting(writer)
        self._runs: dict[str, dict[str, Run]] = {}
        self._living: dict[ProcessKey, Watched] = {}
        self._programs: dict[ProcessKey, str] = {}
        self._new: list[ProcessKey] = []
        """Who has no turn yet."""
        self._turns: list[tuple[float, ProcessKey]] = []
        """When whose turn is to be summed up: a heap."""
        self._held: dict[_Place, LineageFinding] = {}
        self._over: list[Over] = []
        for run in store.runs():
            self._runs.setdefault(run.service, {})[run.key] = run

    def reconfigure(self, config: Config) -> None:
        """Judge by new options from now on; without the detector there is no lineage either."""
        self._config = config
        if not config.detection.enabled:
            self._held.clear()

    def open(self, watched: Watched, pids: Collection[int], now: Instant) -> Lent | None:
        """Take in a process that has started; return what its service's earlier runs lend it.

        `pids` are those of its service: whose parent is among them is a worker.
        """
        process = watched.target.process
        worker = process.parent_pid in pids
        self._programs[watched.key] = f"{process.name} worker" if worker else process.name
        self._living[watched.key] = watched
        self._new.append(watched.key)
        place = self._place(watched)
        return None if place in self._held else lend(self._runs_at(place), now.wall_s)

    def begin(self, incidents: Iterable[Incident], now: Instant) -> None:
        """Close the runs that ended unseen, and take up the lineages of incidents that are still open."""
        alive = {str(key) for key in self._living}
        unseen = [
            replace(run, ended_wall_s=run.seen_wall_s)
            for runs in self._runs.values()
            for run in runs.values()
            if run.ended_wall_s is None and run.key not in alive
        ]
        self._keep(unseen, now)
        for incident in incidents:
            if incident.subject is Subject.HEAP:
                self._take_up(incident, now)

    def end(self, departures: Iterable[Departure], now: Instant) -> None:
        """Sum up who has ended; before the judge forgets them.

        Of very many at once only as many of a service as are kept: the longest lives.
        """
        leaving: dict[str, list[Watched]] = {}
        for key, service, _ in departures:
            if (watched := self._living.get(key)) is not None:
                leaving.setdefault(service, []).append(watched)
        ended = []
        for service, some in leaving.items():
            for watched in nsmallest(KEPT_RUNS, some, key=_started):
                run = self._gone_on(watched, now) or self._sum_up(watched, now)
                if run is not None:
                    ended.append(replace(run, service=service, ended_wall_s=now.wall_s))
        self._keep(ended, now)

    def forget(self, key: ProcessKey) -> None:
        """Let go of a process that is no longer watched; its run stays."""
        for kept_by_key in (self._living, self._programs):
            kept_by_key.pop(key, None)
        self._writing.forget(str(key))

    def look(self, now: Instant) -> None:
        """Sum up the living whose turn it is, and find out which lineages are over."""
        still, moved = [], []
        for watched in self._take_turns(now.t_s):
            if (run := self._gone_on(watched, now)) is not None:
                still.append(run)
            elif (run := self._sum_up(watched, now)) is not None:
                moved.append(run)
        self._remember(still, now)
        self._keep(moved + [run for run in still if _place_of(run) in self._held], now)
        self._writing.write(now)
        for place in [place for place in self._held if self._absent(place, now)]:
            self._end_lineage(place, "no process of it has run since", sound=False)

    def save(self) -> None:
        """Store everybody as they were last summed up: the agent stops."""
        living = {str(key) for key in self._living}
        self._writing.write_all(
            {key: run for runs in self._runs.values() for key, run in runs.items() if key in living}
        )

    def holds(self, service: str) -> bool:
        """Whether restarts are hiding a leak of this service: its incident outlives its processes.

        Also while it is not yet taken over that they no longer do.
        """
        held = [place.service for place in self._held]
        return service in (*held, *(over.service for over in self._over))

    @property
    def members(self) -> set[ProcessKey]:
        """Return the processes that may stand for a lineage which hides a leak."""
        return (
            {key for key, one in self._living.items() if self._place(one) in self._held}
            if self._held
            else set()
        )

    def subjects_of(self, watched: Watched) -> frozenset[Subject]:
        """Return the subjects on which a process stands for the lineage of its program."""
        held = self._place(watched) in self._held and self._newest(watched)
        return frozenset({Subject.HEAP} if held else ())

    def told(self, watched: Watched, verdicts: Iterable[Verdict], now: Instant) -> list[Verdict]:
        """Return the verdicts with what the lineage adds to that about the heap of its newest process."""
        finding = self._held.get(self._place(watched))
        if finding is None or not self._newest(watched):
            return list(verdicts)
        return [_with(v, finding, now) if v.subject is Subject.HEAP else v for v in verdicts]

    def take_over(self) -> list[Over]:
        """Return whose lineage has ended since the last call."""
        over, self._over = self._over, []
        return over

    def _place(self, watched: Watched) -> _Place:
        return _Place(watched.target.service, self._programs[watched.key])

    def _runs_at(self, place: _Place) -> list[Run]:
        return [run for run in self._runs.get(place.service, {}).values() if run.program == place.program]

    def _newest(self, watched: Watched) -> bool:
        """Whether no process of the same place started later."""
        place = self._place(watched)
        same = [one for one in self._living.values() if self._place(one) == place]
        return watched.key == max(same, key=_started).key

    def _absent(self, place: _Place, now: Instant) -> bool:
        if any(self._place(one) == place for one in self._living.values()):
            return False
        return all(now.wall_s - run.until_wall_s > ABSENT_S for run in self._runs_at(place))

    def _take_turns(self, t_s: float) -> list[Watched]:
        """Return the living whose turn it is to be summed up; the next turn of each is noted."""
        for key in self._new:
            if key in self._living:
                turn = self._judge.tracked(key).series["heap"].slot % TURNS
                heappush(self._turns, (t_s + SUM_UP_EVERY_S * (1 + turn / TURNS), key))
        self._new.clear()
        due = []
        while self._turns and t_s >= self._turns[0][0]:
            _, key = heappop(self._turns)
            if key in self._living:
                again_s = SUM_UP_SHARE * (t_s - self._living[key].birth_t_s)
                heappush(self._turns, (t_s + min(max(again_s, SUM_UP_EVERY_S), SUM_UP_AT_LEAST_S), key))
                due.append(self._living[key])
        return due

    def _gone_on(self, watched: Watched, now: Instant) -> Run | None:
        """Return the run of a process whose memory has never moved: only longer; None for any other."""
        known = self._runs.get(watched.target.service, {}).get(str(watched.key))
        one = self._judge.tracked(watched.key).series["heap"]
        if known is None or self._judge.rings.moving(np.array([one.slot]))[0]:
            return None
        longer_s = max(0.0, now.t_s - one.birth_t_s - known.watched_s)
        quiet_s = known.quiet_s + longer_s
        return replace(known, seen_wall_s=now.wall_s, watched_s=known.watched_s + longer_s, quiet_s=quiet_s)

    def _sum_up(self, watched: Watched, now: Instant) -> Run | None:
        """Return the run of a process so far; None while it is too short to have a course."""
        one = self._judge.tracked(watched.key).series["heap"]
        floors, block_s = floors_of_life(self._judge.rings, one.slot, one.birth_t_s, now.t_s)
        course = sum_up(floors, block_s, self._config.detection.min_rate_bytes_per_hour)
        if course is None:
            return None
        return _run(watched, self._programs[watched.key], course, one.birth_t_s, now)

    def _keep(self, runs: Sequence[Run], now: Instant) -> None:
        """Remember some runs, hand them to the disk, and judge the lineages that they belong to."""
        self._remember(runs, now)
        if self._config.detection.enabled:
            for place in {_place_of(run) for run in runs}:
                self._judge_lineage(place, now)

    def _remember(self, runs: Sequence[Run], now: Instant) -> None:
        for run in runs:
            self._writing.note(run)
            for others in self._runs.values():
                others.pop(run.key, None)  # it may have had another service's name
            self._runs.setdefault(run.service, {})[run.key] = run
        for service in {run.service for run in runs}:
            if len(self._runs[service]) > KEPT_RUNS:
                newest = kept(self._runs[service].values(), now.wall_s)
                self._runs[service] = {one.key: one for one in newest}
        if runs:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        for service in [service for service, runs in self._runs.items() if not runs]:
            del self._runs[service]
        while len(self._runs) > MAX_SERVICES:
            del self._runs[min(self._runs, key=self._last_seen_wall_s)]

    def _last_seen_wall_s(self, service: str) -> float:
        return max(run.until_wall_s for run in self._runs[service].values())

    def _judge_lineage(self, place: _Place, now: Instant) -> None:
        runs, options = self._runs_at(place), self._config.detection
        finding = across(runs, now.wall_s, options)
        if finding is not None:
            self._held[place] = finding
        elif place in self._held and (why := recovered(runs, options)):
            self._end_lineage(place, why, sound=True)

    def _end_lineage(self, place: _Place, why: str, *, sound: bool) -> None:
        del self._held[place]
        if not any(other.service == place.service for other in self._held):
            self._over.append(Over(place.service, why, sound))

    def _take_up(self, incident: Incident, now: Instant) -> None:
        """Hold an incident again that a lineage held when the agent stopped, unless that is over."""
        known = any(r.name == REASON for m in incident.members for r in m.verdict.reasons)
        options = self._config.detection
        for program in {run.program for run in self._runs.get(incident.service, {}).values()}:
            place = _Place(incident.service, program)
            runs = self._runs_at(place)
            finding = explain(runs, now.wall_s, options) if options.enabled else None
            if finding and (finding.leaks or (known and recovered(runs, options) is None)):
                self._held[place] = finding


def _place_of(run: Run) -> _Place:
    return _Place(run.service, run.program)


def _started(watched: Watched) -> tuple[float, int]:
    return watched.target.process.started_t_s, watched.key.pid


def _run(watched: Watched, program: str, course: Course, birth_t_s: float, now: Instant) -> Run:
    process = watched.target.process
    alarms = [v for v in watched.verdicts if v.subject is Subject.HEAP and v.state >= State.WARNING]
    return Run(
        key=str(watched.key),
        service=watched.target.service,
        program=program,
        started_wall_s=now.wall_at(process.started_t_s),
        ended_wall_s=None,
        seen_wall_s=now.wall_s,
        watched_s=now.t_s - birth_t_s,
        whole=birth_t_s <= process.started_t_s + WHOLE_S,
        warmup_s=course.warmup_s,
        base=course.base,
        last=course.last,
        peak=course.peak,
        level=course.level,
        rate=course.rate,
        late_rate=course.late_rate,
        quiet_s=course.quiet_s,
        leak=any(v.event is Event.LEAK for v in alarms),
    )


def _with(own: Verdict, finding: LineageFinding, now: Instant) -> Verdict:
    """Return a process's own verdict with the lineage's: its own where it alarms, else the lineage's."""
    reason = Reason(REASON, passed=True, text=finding.sentence)
    if own.state >= State.WARNING:
        return replace(own, reasons=(*own.reasons, reason))
    return replace(
        own,
        state=State.WARNING,
        event=Event.LEAK,
        rate=finding.rate,
        onset_t_s=now.t_s - (now.wall_s - finding.onset_wall_s),
        growth=finding.growth,
        exhaustion_hours=None,
        probability=None,  # that of this run alone
        reasons=(reason, *finding.reasons),
    )
