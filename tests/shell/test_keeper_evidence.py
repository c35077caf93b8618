"""Which evidence the keeper asks for, and where the answers go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from keeper_rig import KeeperRig

from agent.evidence.source import Tier
from agent.evidence.worker import Order
from agent.model import Evidence, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import ProcessKey

WARNING, CRITICAL = State.WARNING, State.CRITICAL
FOUND = Evidence("/c/1", ("holds: [heap] 58MB",), (), ("smaps.json",))
DISPROVED = Evidence("/c/3", ("a full collection took it back",), disproof="a full collection took it back")
COMPARED = Evidence("/c/2", ("grew: [heap] +58MB in 10m",), (), ("smaps.json",))


@dataclass
class Worker:
    """Takes orders, and answers when it is told to."""

    orders: list[tuple[Order, Callable[[str, Evidence], None]]] = field(default_factory=list)
    lacks: bool = True

    def submit(self, order: Order, done: Callable[[str, Evidence], None]) -> None:
        self.orders.append((order, done))

    def unpaired(self, key: ProcessKey) -> bool:  # noqa: ARG002 - the worker's
        return self.lacks

    def answer(self, evidence: Evidence) -> None:
        order, done = self.orders[-1]
        done(order.job_id, evidence)

    @property
    def tiers(self) -> list[Tier]:
        return [order.tier for order, _ in self.orders]


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def rig(tmp_path: Path, worker: Worker) -> Iterator[KeeperRig]:
    with KeeperRig(tmp_path, captures=worker) as one:
        one.runs("api", 1)
        yield one


def test_a_warning_is_worth_a_cheap_look_and_a_critical_leak_more(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, WARNING))
    rig.tick((1, CRITICAL))

    assert worker.tiers == [Tier.CHEAP, Tier.MEDIUM]
    assert worker.orders[0][0].alert is not None


def test_heavy_evidence_is_told_with_the_next_message(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, WARNING))
    worker.answer(FOUND)
    worker.answer(COMPARED)  # once more, when what is heavy was taken
    rig.tick((1, CRITICAL))

    first, second = rig.alerts("slack")
    assert first.evidence == COMPARED
    assert second.evidence == COMPARED


def test_a_second_look_follows_once_where_nothing_could_be_compared(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    worker.answer(FOUND)
    rig.ticks(590, (1, CRITICAL))
    assert len(worker.orders) == 1

    rig.ticks(30, (1, CRITICAL))
    assert len(worker.orders) == 2
    worker.answer(COMPARED)
    rig.ticks(1200, (1, CRITICAL))

    assert len(worker.orders) == 2
    (incident,) = rig.keeper.open_incidents
    assert rig.keeper.evidence_of(incident.incident_id) == COMPARED


def test_a_second_look_at_what_has_ended_takes_nothing_away(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    worker.answer(FOUND)
    rig.ticks(620, (1, CRITICAL))
    worker.answer(Evidence("", missing=("process 1 has ended",)))

    (incident,) = rig.keeper.open_incidents
    assert rig.keeper.evidence_of(incident.incident_id) == FOUND


def test_what_was_compared_at_once_needs_no_second_look(rig: KeeperRig, worker: Worker) -> None:
    worker.lacks = False
    rig.tick((1, CRITICAL))
    worker.answer(COMPARED)
    rig.ticks(700, (1, CRITICAL))

    assert len(worker.orders) == 1


def test_evidence_that_comes_after_the_end_is_not_held(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    (incident,) = rig.keeper.open_incidents
    rig.ends(1)
    rig.ticks(1200)
    assert rig.keeper.open_incidents == ()
    worker.answer(FOUND)

    assert rig.keeper.evidence_of(incident.incident_id) is None


def test_a_disproof_is_handed_over_once_with_whose_it_is(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    worker.answer(DISPROVED)
    worker.answer(replace(DISPROVED, files=("heap.hprof",)))  # once more, when what is heavy was taken
    key = rig.running[1].key

    assert list(rig.keeper.take_disproved()) == [(key, DISPROVED.disproof)]
    assert list(rig.keeper.take_disproved()) == []
    (alert,) = rig.alerts("slack")
    assert alert.evidence is not None
    assert alert.evidence.disproof == DISPROVED.disproof


def test_a_disproof_of_a_second_look_is_handed_over_too(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    worker.answer(FOUND)
    rig.ticks(620, (1, CRITICAL))
    worker.answer(DISPROVED)

    assert list(rig.keeper.take_disproved()) == [(rig.running[1].key, DISPROVED.disproof)]


def test_a_disproof_that_comes_after_the_end_says_nothing(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    rig.ends(1)
    rig.ticks(1200)
    worker.answer(DISPROVED)

    assert list(rig.keeper.take_disproved()) == []


def test_a_capture_that_was_lost_with_the_agent_is_taken_after_its_restart(
    rig: KeeperRig, worker: Worker
) -> None:
    rig.tick((1, WARNING))
    worker.answer(FOUND)
    rig.tick((1, CRITICAL))
    rig.restart(30.0)
    rig.ticks(60, (1, CRITICAL))

    assert worker.tiers == [Tier.CHEAP, Tier.MEDIUM, Tier.MEDIUM]
    order, _ = worker.orders[-1]
    assert order.process == rig.running[1].target.process
    worker.answer(COMPARED)
    first, second = rig.alerts("slack")
    assert (first.evidence, second.evidence) == (FOUND, COMPARED)


@pytest.mark.parametrize(
    "answer", [Evidence("", missing=("captures: not taken, leakwatch is stopping",)), None]
)
def test_what_could_not_be_taken_before_a_restart_is_taken_once_after_it(
    rig: KeeperRig, worker: Worker, answer: Evidence | None
) -> None:
    rig.tick((1, CRITICAL))
    if answer is not None:
        worker.answer(answer)
    rig.restart()
    rig.ticks(1200, (1, CRITICAL))

    assert len(worker.orders) == 2


def test_a_restart_asks_for_nothing_that_was_taken(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    worker.answer(FOUND)
    rig.restart()
    rig.ticks(600, (1, CRITICAL))

    assert len(worker.orders) == 1


def test_a_restart_asks_for_nothing_about_a_warning(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, WARNING))
    rig.restart()
    rig.ticks(600, (1, WARNING))

    assert len(worker.orders) == 1


def test_a_restart_asks_for_nothing_about_a_process_that_has_ended(rig: KeeperRig, worker: Worker) -> None:
    rig.tick((1, CRITICAL))
    del rig.running[1]
    rig.restart()
    rig.ticks(60)

    assert len(worker.orders) == 1
