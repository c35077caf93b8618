"""Whose baseline is taken next, and whose second look is due."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from incident_samples import process, seen

from agent.config import Config
from agent.daemon.baselines import AGAIN_S, EVERY_S, RETRY_S, SETTLED_S, BaselineRound
from agent.daemon.follow_ups import FollowUps
from agent.daemon.watched import Watched
from agent.evidence.options import EvidenceOptions
from agent.evidence.worker import Order
from agent.model import Instant, Process, ProcessKey, State
from agent.watch.options import Match, WatchEntry
from agent.watch.targets import Target

if TYPE_CHECKING:
    from agent.consent import Consent


@dataclass
class Worker:
    """Notes whom it is asked for; takes nothing unless it is told to."""

    asked: list[int] = field(default_factory=list)
    taken: dict[ProcessKey, float] = field(default_factory=dict)
    idle: bool = True

    def baseline(self, process: Process, now: Instant, consent: Consent) -> bool:  # noqa: ARG002 - the worker's
        self.asked.append(process.key.pid)
        if self.idle:
            self.taken[process.key] = now.t_s
        return self.idle


def watched(pid: int, started_t_s: float = 0.0, entry: WatchEntry | None = None) -> Watched:
    one = replace(process(pid), started_t_s=started_t_s)
    return Watched(Target("api", one, {}, entry), started_t_s)


def at(t_s: float) -> Instant:
    return Instant(t_s, 1_800_000_000.0 + t_s)


def test_each_who_has_settled_is_asked_for_once_one_at_a_time() -> None:
    worker = Worker()
    turns = BaselineRound(Config(), worker, worker.taken.get)  # type: ignore[arg-type]
    everybody = [watched(pid) for pid in (1, 2, 3)] + [watched(4, started_t_s=SETTLED_S)]

    turns.look(everybody, at(SETTLED_S - 1), 1)
    assert worker.asked == []
    for step in range(20):
        turns.look(everybody, at(SETTLED_S + step * EVERY_S / 2), 1)
    assert sorted(worker.asked) == [1, 2, 3]
    turns.look(everybody, at(2 * SETTLED_S), 1)
    assert worker.asked[-1] == 4
    for step in range(100):
        turns.look(everybody, at(3 * SETTLED_S + step * 60), 1)
    assert len(worker.asked) == 4


def test_one_that_could_not_be_taken_is_asked_for_again_later() -> None:
    worker = Worker(idle=False)
    turns = BaselineRound(Config(), worker, worker.taken.get)  # type: ignore[arg-type]
    turns.look([watched(1)], at(SETTLED_S), 1)
    turns.look([watched(1)], at(SETTLED_S + RETRY_S - 1), 1)
    assert worker.asked == [1]

    turns.look([watched(1)], at(SETTLED_S + RETRY_S), 1)
    assert worker.asked == [1, 1]


def test_after_a_week_a_sound_process_is_looked_at_again_and_a_suspect_is_not() -> None:
    worker = Worker()
    turns = BaselineRound(Config(), worker, worker.taken.get)  # type: ignore[arg-type]
    one = watched(1)
    turns.look([one], at(SETTLED_S), 1)
    one.verdicts = (seen(State.SUSPECT, SETTLED_S).verdict,)
    turns.look([one], at(SETTLED_S + AGAIN_S), 1)
    assert worker.asked == [1]

    one.verdicts = ()
    turns.look([one], at(SETTLED_S + AGAIN_S + RETRY_S), 1)
    assert worker.asked == [1, 1]


def test_a_baseline_of_an_earlier_run_of_leakwatch_is_kept() -> None:
    worker = Worker(taken={process(1).key: SETTLED_S})
    turns = BaselineRound(Config(), worker, worker.taken.get)  # type: ignore[arg-type]

    turns.look([watched(1)], at(2 * SETTLED_S), 1)

    assert worker.asked == []


def test_where_snapshots_or_baselines_are_off_nobody_is_asked_for() -> None:
    worker = Worker()
    off = Config(evidence=EvidenceOptions(baselines=False))
    entry = WatchEntry("api", Match(), snapshots=False)

    BaselineRound(off, worker, worker.taken.get).look([watched(1)], at(9e4), 1)  # type: ignore[arg-type]
    BaselineRound(Config(), worker, worker.taken.get).look(  # type: ignore[arg-type]
        [watched(1, entry=entry)], at(9e4), 1
    )

    assert worker.asked == []


def test_who_has_left_is_not_asked_for() -> None:
    worker = Worker()
    turns = BaselineRound(Config(), worker, worker.taken.get)  # type: ignore[arg-type]
    turns.look([watched(1)], at(0), 1)

    turns.look([], at(2 * SETTLED_S), 2)

    assert worker.asked == []


def order(label: str, t_s: float) -> Order:
    return Order(f"{label}/1", process(1), label, at(t_s))


def test_a_second_look_is_due_once_where_the_first_could_not_be_compared() -> None:
    looks = FollowUps()
    looks.plan(order("a", 0.0), 600.0)
    looks.plan(order("b", 0.0), 600.0)
    looks.plan(order("a", 500.0), 600.0)
    looks.forget("b")

    assert looks.due(at(599), lambda _: True) == []
    assert [(one.label, one.now) for one in looks.due(at(600), lambda _: True)] == [("a", at(600))]
    assert looks.due(at(9999), lambda _: True) == []


def test_what_was_compared_with_a_baseline_needs_no_second_look() -> None:
    looks = FollowUps()
    looks.plan(order("a", 0.0), 600.0)

    assert looks.due(at(600), lambda _: False) == []
