"""Which probe follows whom, what the poll takes of it, and what is said: the poll waits for nobody."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild
from probe_rig import LONG_S, Answering, beside, polled, settle, target_of
from receiver import Receiver

from agent.clock import Clock, SystemClock, Waking
from agent.daemon.watched import WatchedSet
from agent.logs import KeyValueFormatter
from agent.model import Instant
from agent.watch.cgroups import LimitReader
from agent.watch.probes import background
from agent.watch.probes.base import RuntimeFigures
from agent.watch.probes.chosen import FILE_AGAIN_S, ChosenProbes, all_asked
from agent.watch.processes import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.model import Process, ProcessKey
    from agent.watch.targets import Target

POLL_S = 10.0
OWN_PID = os.getpid()
HANGS, ANSWERS = 1_000_001, 1_000_002
"""Made-up pids: nobody looks at these processes."""


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def probes(answering: Answering) -> Iterator[ChosenProbes]:
    probes = ChosenProbes([answering])
    yield probes
    for event in answering.hangs.values():
        event.set()
    probes.stop(LONG_S)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "agent.watch.probes")
    formatter = KeyValueFormatter(timestamps=False)
    return lambda: [" ".join(formatter.format(record).split()) for record in caplog.records]


@pytest.fixture
def target() -> Target:
    return target_of(OWN_PID, runtime="node")


def many(probes: ChosenProbes, count: int, *, begin: int = 0) -> list[dict[int, RuntimeFigures | None]]:
    return [polled(probes, POLL_S * (begin + i)) for i in range(count)]


def heap(read: dict[int, RuntimeFigures | None], pid: int = OWN_PID) -> int | None:
    figures = read[pid]
    return figures.heap_bytes if figures else None


def test_a_poll_takes_what_the_poll_before_asked_for(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    answering.heap_bytes[OWN_PID] = 5
    assert probes.follow(target)

    first, second = many(probes, 2)
    answering.heap_bytes[OWN_PID] = 6
    third, fourth = many(probes, 2, begin=2)

    assert [heap(read) for read in (first, second, third, fourth)] == [None, 5, 5, 6]


def test_nobody_is_asked_twice_at_a_time(probes: ChosenProbes, answering: Answering, target: Target) -> None:
    answering.hangs[OWN_PID] = threading.Event()
    answering.heap_bytes[OWN_PID] = 5
    probes.follow(target)
    for i in range(5):
        polled(probes, POLL_S * i, settled=False)
    assert answering.began.acquire(timeout=LONG_S)
    probes.follow(target_of(OWN_PID, runtime="node", heap_metric="other"))
    polled(probes, POLL_S * 5, settled=False)
    assert len(answering.calls) == 1

    answering.hangs[OWN_PID].set()
    while len(answering.calls) < 2:
        polled(probes, POLL_S * 6)


def test_figures_of_more_than_three_polls_ago_are_none(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    answering.heap_bytes[OWN_PID] = 5
    probes.follow(target)
    many(probes, 2)
    answering.hangs[OWN_PID] = threading.Event()
    answered = [heap(polled(probes, POLL_S * i, settled=False)) for i in range(2, 8)]

    # The second poll asked as well, and its answer is as old as the third one's question.
    assert answered[:3] == [5, 5, 5]
    assert answered[-1] is None


def test_a_server_that_hangs_keeps_nobody_else_waiting(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    slow, quick = beside(target, HANGS), beside(target, ANSWERS)
    answering.heap_bytes |= {HANGS: 1, ANSWERS: 2}
    probes.follow(quick)
    many(probes, 2)
    answering.hangs[HANGS] = threading.Event()
    probes.follow(slow)

    told = []
    for i in range(2, 8):
        answering.heap_bytes[ANSWERS] = i
        read = polled(probes, POLL_S * i, settled=False)
        told.append(heap(read, ANSWERS))
        while probes.pending > 1:
            threading.Event().wait(0.002)

    assert told == [2, 2, 3, 4, 5, 6]
    assert heap(read, HANGS) is None


class Stopwatch:
    """Every look at it finds it a second later."""

    def __init__(self) -> None:
        self._looks = itertools.count()

    def now(self) -> Instant:
        return Instant(next(self._looks), 0.0)

    def wait(self, event: Waking, seconds: float) -> bool:
        return event.wait(seconds)


@pytest.mark.parametrize(("clock", "thread"), [(SystemClock(), "leakwatch-probe-"), (Stopwatch(), "-slow-")])
def test_who_answers_quickly_has_threads_of_his_own(
    answering: Answering, target: Target, clock: Clock, thread: str
) -> None:
    answering.heap_bytes[OWN_PID] = 5
    probes = ChosenProbes([answering], clock=clock)
    probes.follow(target)
    many(probes, 3)
    probes.stop(LONG_S)

    assert "-slow-" in answering.threads[0]
    assert all(thread in name for name in answering.threads[1:])
    assert thread == "-slow-" or "-slow-" not in "".join(answering.threads[1:])


def test_who_is_silent_for_long_is_asked_more_seldom(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    answering.hangs[OWN_PID] = threading.Event()
    answering.hangs[OWN_PID].set()
    probes.follow(target)

    many(probes, 120)

    # At 0, 1, 2, 3 and then 2, 4, 8, 16 and 30 polls apart.
    assert 8 <= len(answering.calls) <= 11


def test_those_of_the_same_service_are_told_apart(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    stranger = replace(beside(target, 3), service="web")
    answering.heap_bytes |= {OWN_PID: 1, ANSWERS: 2, 3: 3}
    for one in (target, beside(target, ANSWERS), stranger):
        probes.follow(one)

    many(probes, 1)

    assert dict(answering.calls) == {
        OWN_PID: frozenset({ANSWERS}),
        ANSWERS: frozenset({OWN_PID}),
        3: frozenset(),
    }


def test_missing_figures_are_said_once_and_their_return_too(
    probes: ChosenProbes, answering: Answering, target: Target, said: Callable[[], list[str]]
) -> None:
    answering.hangs[OWN_PID] = threading.Event()
    answering.hangs[OWN_PID].set()
    probes.follow(target)
    many(probes, 3)
    assert said() == []
    many(probes, 20, begin=3)
    (missing,) = said()
    answering.heap_bytes[OWN_PID] = 5
    many(probes, 40, begin=23)
    del answering.heap_bytes[OWN_PID]
    many(probes, 10, begin=63)

    assert missing == (
        f"probe service=api pid={OWN_PID} source=127.0.0.1:9100"
        ' why="127.0.0.1:9100: Connection refused"'
        ' then="its anonymous memory alone is judged" level=warning'
    )
    assert said()[1] == (
        f'probe service=api pid={OWN_PID} source=127.0.0.1:9100 why="the runtime\'s figures are there again"'
    )
    assert said()[2:] == [missing]


def test_of_one_service_with_one_reason_one_line_is_enough(
    probes: ChosenProbes, answering: Answering, target: Target, said: Callable[[], list[str]]
) -> None:
    for pid in range(11, 16):
        answering.hangs[pid] = threading.Event()
        answering.hangs[pid].set()
        probes.follow(beside(target, pid))

    many(probes, 10)

    assert len(said()) == 1


def test_a_short_silence_is_not_said(
    probes: ChosenProbes, answering: Answering, target: Target, said: Callable[[], list[str]]
) -> None:
    answering.heap_bytes[OWN_PID] = 5
    probes.follow(target)
    many(probes, 3)
    answering.hangs[OWN_PID] = threading.Event()
    answering.hangs[OWN_PID].set()
    del answering.heap_bytes[OWN_PID]
    many(probes, 2, begin=3)
    answering.heap_bytes[OWN_PID] = 6
    read = many(probes, 2, begin=5)

    assert heap(read[-1]) == 6
    assert said() == []


def test_one_who_left_is_forgotten_also_while_he_is_asked(
    probes: ChosenProbes, answering: Answering, target: Target
) -> None:
    answering.hangs[OWN_PID] = threading.Event()
    probes.follow(target)
    polled(probes, 0.0, settled=False)
    assert answering.began.acquire(timeout=LONG_S)
    probes.close(target.process.key)
    assert polled(probes, POLL_S) == {}
    answering.hangs[OWN_PID].set()
    probes.stop(LONG_S)

    assert answering.forgotten == [OWN_PID, OWN_PID]


def test_a_process_that_is_begun_anew_again_and_again_leaves_nothing_behind(
    probes: ChosenProbes, answering: Answering
) -> None:
    answering.heap_bytes[OWN_PID] = 5
    for i in range(100):
        probes.follow(target_of(OWN_PID, runtime="node", heap_metric=f"metric_{i}"))
        polled(probes, POLL_S * i)
    gc.collect()

    assert sum(isinstance(one, background._One) for one in gc.get_objects()) <= 2  # noqa: SLF001 - what is kept


def test_a_fault_of_a_probe_is_a_reason(target: Target, said: Callable[[], list[str]]) -> None:
    class Broken(Answering):
        def ask(self, *_: object) -> RuntimeFigures:
            raise ZeroDivisionError("oh")

    broken = Broken()
    broken.heap_bytes[OWN_PID] = 1
    faulty = ChosenProbes([broken])
    faulty.follow(target)
    many(faulty, 6)
    faulty.stop(LONG_S)

    assert 'why="ZeroDivisionError: oh"' in said()[0]


def test_threads_start_with_the_first_who_is_asked_and_end(answering: Answering, target: Target) -> None:
    before = threading.active_count()
    probes = ChosenProbes([answering])
    assert not probes.follow(target)
    polled(probes, 0.0)
    assert threading.active_count() == before
    answering.heap_bytes[OWN_PID] = 5
    probes.follow(target)
    many(probes, 3)
    assert before < threading.active_count() <= before + 3
    probes.stop(LONG_S)

    assert threading.active_count() == before


class FakeJvm:
    """Publishes a file for the pids it was told."""

    def __init__(self) -> None:
        self.files: set[int] = set()
        self.opened: list[int] = []

    def open(self, process: Process) -> bool:
        self.opened.append(process.key.pid)
        return process.key.pid in self.files

    def why(self, key: ProcessKey) -> str:
        return "" if key.pid in self.files else "it publishes no hsperfdata file"

    def read(self, key: ProcessKey) -> RuntimeFigures | None:
        return RuntimeFigures(77, 3, 100) if key.pid in self.files else None

    def close(self, key: ProcessKey) -> None: ...


def test_a_jvm_is_asked_until_it_has_a_file(answering: Answering) -> None:
    jvm, target = FakeJvm(), target_of(OWN_PID, runtime="jvm")
    answering.heap_bytes[OWN_PID] = 5
    probes = ChosenProbes([answering], jvm)
    probes.follow(target)
    asked = many(probes, 3)
    jvm.files.add(OWN_PID)
    read = polled(probes, FILE_AGAIN_S)
    calls = len(answering.calls)
    many(probes, 3, begin=100)
    probes.stop(LONG_S)

    assert [heap(one) for one in asked] == [None, 5, 5]
    assert read[OWN_PID] == RuntimeFigures(77, 3, 100)
    assert len(jvm.opened) == 2
    assert len(answering.calls) == calls


def test_a_jvm_without_a_file_is_said_once(said: Callable[[], list[str]]) -> None:
    probes = ChosenProbes((), FakeJvm())
    probes.follow(target_of(OWN_PID, runtime="jvm"))
    many(probes, 40)

    (line,) = said()
    assert "source=hsperfdata" in line
    assert 'why="it publishes no hsperfdata file"' in line


def test_a_file_that_makes_sense_every_other_time_fills_no_log(said: Callable[[], list[str]]) -> None:
    jvm = FakeJvm()
    jvm.files.add(OWN_PID)
    probes = ChosenProbes((), jvm)
    probes.follow(target_of(OWN_PID, runtime="jvm"))
    for number in range(20):
        polled(probes, POLL_S * number)
        jvm.files ^= {OWN_PID}
    assert said() == []

    jvm.files.clear()
    many(probes, 20, begin=1000)
    jvm.files.add(OWN_PID)
    many(probes, 20, begin=2000)

    missing, back = said()
    assert 'why="it publishes no hsperfdata file"' in missing
    assert "there again" in back


def test_another_entry_asks_elsewhere_and_the_figures_of_before_are_gone() -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, body=b"nodejs_heap_size_used_bytes 7e6\n")
        probes = ChosenProbes(all_asked())
        watched = WatchedSet(Sampler(), LimitReader(), probes)
        with LeakyChild() as child:
            with_page = target_of(child.pid, metrics=receiver.url, runtime="node")
            ((one,), _) = watched.update([with_page], 0.0)
            for t_s in (0.0, 10.0):
                watched.poll(t_s)
                settle(probes)
            before = one.figures
            watched.update([replace(with_page, service="api")], 11.0)
            same = one.figures
            watched.update([target_of(child.pid, runtime="node")], 12.0)
            after = one.figures
            watched.close_all()
        probes.stop(LONG_S)

    assert before == same == RuntimeFigures(7_000_000, None, None, garbage=True)
    assert after is None


def test_a_poll_does_not_wait_for_a_page_that_hangs() -> None:
    clock = SystemClock()
    with Receiver() as receiver, LeakyChild() as child:
        receiver.hang()
        probes = ChosenProbes(all_asked())
        watched = WatchedSet(Sampler(), LimitReader(), probes)
        watched.update([target_of(child.pid, metrics=receiver.url, runtime="node")], 0.0)
        watched.poll(0.0)
        receiver.wait_for(1)
        began_s = clock.now().t_s
        for i in range(50):
            watched.poll(POLL_S * i)
        took_s = clock.now().t_s - began_s
        pending = probes.pending
        watched.close_all()
        probes.stop(LONG_S)

    assert pending == 1
    assert took_s < 0.5  # of the two seconds that the page is given
