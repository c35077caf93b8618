from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fakes import FakeClock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from incident_samples import opened

from agent.alerts.base import DeliveryError
from agent.alerts.breaker import MAX_BACKOFF_S
from agent.alerts.delivery import Deliverer
from agent.alerts.outbox import MAX_WAIT_S, Outbox
from agent.model import Alert, Evidence, Transition

if TYPE_CHECKING:
    from agent.incidents import Incident

CHANNELS = ("slack", "pagerduty")
HOLD_S = 5.0
Told = tuple[str, str, int]


class KilledError(BaseException):
    """The process dies here: whatever comes after the send does not happen."""


class Receiver:
    """A channel whose next answers the test decides; notes what arrived."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: list[BaseException] = []
        self.arrived: list[Told] = []

    def wants(self, alert: Alert) -> bool:
        return bool(alert)

    def send(self, alert: Alert) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None or isinstance(answer, KilledError):
            self.arrived.append((self.name, alert.incident_id, alert.sequence))
        if answer is not None:
            raise answer


class OutboxMachine(RuleBasedStateMachine):
    """Records, failures, successes, crashes and clock steps in any order, against a real file."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.receivers = {name: Receiver(name) for name in CHANNELS}
        self.recorded: list[Told] = []
        self.parked: set[Told] = set()
        self.killed_in: Counter[Told] = Counter()
        self.open: dict[str, tuple[Incident, Alert]] = {}
        self.incidents = 0
        self.start()

    def start(self) -> None:
        self.outbox = Outbox(self.directory / "state.db")
        self.deliverer = Deliverer(self.outbox, self.receivers, self.clock, Random(1).random)  # noqa: S311 - jitter

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.directory)

    def record(self, incident: Incident, alert: Alert, hold_s: float) -> None:
        self.outbox.record(incident, [(name, alert) for name in CHANNELS], self.clock.now(), hold_s)
        self.recorded += [(name, alert.incident_id, alert.sequence) for name in CHANNELS]

    @rule(held=st.booleans())
    def opens(self, held: bool) -> None:  # noqa: FBT001 - drawn
        self.incidents += 1
        incident, change = opened(self.incidents)
        alert = change.alert("web-3", {})
        self.open[incident.incident_id] = incident, alert
        self.record(incident, alert, HOLD_S if held else 0.0)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), word=st.sampled_from([Transition.REMINDED, Transition.RESOLVED]))
    def goes_on(self, data: st.DataObject, word: Transition) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        incident, alert = self.open.pop(key)
        incident = replace(incident, sequence=incident.sequence + 1, ended=word.ends)
        alert = replace(alert, sequence=incident.sequence, transition=word)
        if not word.ends:
            self.open[key] = incident, alert
        self.record(incident, alert, 0.0)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def evidence_comes(self, data: st.DataObject) -> None:
        incident, alert = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        self.outbox.release(incident.incident_id, alert.sequence, Evidence("/captures/1"))

    @rule(
        name=st.sampled_from(CHANNELS),
        answer=st.sampled_from(
            [
                DeliveryError("503 from host"),
                DeliveryError("429 from host", retry_after_s=120.0),
                DeliveryError("429 from host", retry_after_s=9e9),
                ValueError("a bug"),
            ]
        ),
        times=st.integers(1, 12),
    )
    def will_fail(self, name: str, answer: Exception, times: int) -> None:
        self.receivers[name].answers += [answer] * times

    @rule()
    def is_drained(self) -> None:
        before, now = self.failed(), self.clock.now()
        self.deliverer.drain_once(now)
        for key, (attempts, next_attempt_wall_s) in self.failed().items():
            if (attempts, next_attempt_wall_s) != before.get(key):
                assert attempts == before.get(key, (0, 0.0))[0] + 1
                assert now.wall_s < next_attempt_wall_s <= now.wall_s + MAX_WAIT_S

    def failed(self) -> dict[str, tuple[int, float]]:
        query = (
            "SELECT id, attempts, next_attempt_wall_s FROM deliveries WHERE state = 'pending' AND attempts"
        )
        rows = self.outbox._file.run(lambda c: c.execute(query).fetchall())  # noqa: SLF001 - what is stored
        return {key: (attempts, next_attempt_wall_s) for key, attempts, next_attempt_wall_s in rows}

    @rule(name=st.sampled_from(CHANNELS))
    def one_is_refused_for_good(self, name: str) -> None:
        due = self.outbox.due(self.clock.now(), name)
        self.receivers[name].answers[:0] = [DeliveryError("400 invalid payload", permanent=True)]
        before = len(self.receivers[name].answers)
        self.deliverer.drain_once(self.clock.now(), name)
        if due and len(self.receivers[name].answers) < before:
            self.parked.add((name, due[0].alert.incident_id, due[0].alert.sequence))
        else:
            self.receivers[name].answers.pop(0)

    @rule(name=st.sampled_from(CHANNELS))
    def is_killed_while_sending(self, name: str) -> None:
        receiver, kill = self.receivers[name], KilledError()
        receiver.answers[:0] = [kill]
        try:
            self.deliverer.drain_once(self.clock.now(), name)
            receiver.answers.remove(kill)
        except KilledError:
            self.killed_in[receiver.arrived[-1]] += 1
        self.outbox.close()
        self.start()

    @rule(seconds=st.sampled_from([1.0, 4.0, 60.0, MAX_BACKOFF_S]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-9e8, -5000.0, -100.0, 100.0, 9e8]))
    def clock_is_set(self, seconds: float) -> None:
        self.clock.step_wall(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        pending = sum(states.get("pending", 0) for states in self.outbox.counts().values())
        arrived = {told for receiver in self.receivers.values() for told in receiver.arrived}
        # One that arrived just before the kill is both: it arrived and will be sent again.
        assert set(self.recorded) >= arrived | self.parked
        assert pending + len(arrived | self.parked) >= len(self.recorded)

    @invariant()
    def nothing_is_sent_again_but_after_a_kill(self) -> None:
        for receiver in self.receivers.values():
            for told, times in Counter(receiver.arrived).items():
                assert times <= 1 + self.killed_in[told]

    @invariant()
    def order_holds_for_each_incident_and_channel(self) -> None:
        for receiver in self.receivers.values():
            last: dict[str, int] = {}
            for _, incident_id, sequence in receiver.arrived:
                assert sequence >= last.get(incident_id, 0)
                last[incident_id] = sequence

    @invariant()
    def no_wait_is_longer_than_the_longest(self) -> None:
        wait_s = self.outbox.next_due_s(self.clock.now())
        assert wait_s is None or 0 <= wait_s <= MAX_WAIT_S

    @rule()
    def the_network_comes_back(self) -> None:
        """Everything arrives within the longest wait for each row that still queues behind another."""
        for receiver in self.receivers.values():
            receiver.answers.clear()
        while any("pending" in states for states in self.outbox.counts().values()):
            assert self.deliverer.drain_once(self.clock.advance(MAX_WAIT_S)) > 0
        arrived = {told for receiver in self.receivers.values() for told in receiver.arrived}
        assert arrived | self.parked == set(self.recorded)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
