"""Random schedules of faults for the outbox and its delivery, on a real file, with the clock in hand.

Transitions are recorded, receivers fail in every way, the disk fills up, the clock is set, the process is
killed or stopped at any moment, and after every step what is promised must hold.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, ClassVar

from fakes import FakeClock
from fault_disks import Disk, MountError, small_disk
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
GOES_ON = (
    Transition.WORSENED,
    Transition.UPDATED,
    Transition.ACKNOWLEDGED,
    Transition.REMINDED,
    Transition.RESOLVED,
    Transition.GONE,
)
ANSWERS = {
    "503": DeliveryError("503 from host"),
    "429": DeliveryError("429 from host", retry_after_s=120.0),
    "429 for years": DeliveryError("429 from host", retry_after_s=9e9),
    "no network": DeliveryError("host cannot be reached: [Errno 101] Network is unreachable"),
    "no name": socket.gaierror(-3, "Temporary failure in name resolution"),
    "a bug": ValueError("a bug"),
}


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """One transition for one channel."""

    channel: str
    incident_id: str
    sequence: int


class KilledError(BaseException):
    """The process dies here: whatever comes after the send does not happen."""


class Receiver:
    """A channel whose next answers the test decides; notes what arrived."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: list[BaseException] = []
        self.arrived: list[tuple[Told, Alert]] = []

    def wants(self, alert: Alert) -> bool:
        return bool(alert)

    def send(self, alert: Alert) -> None:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None or isinstance(answer, KilledError):
            self.arrived.append((Told(self.name, alert.incident_id, alert.sequence), alert))
        if answer is not None:
            raise answer


class OutboxMachine(RuleBasedStateMachine):
    """What people were promised, against whatever happens to network, disk, clock and process."""

    tally: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp())
        self.disk: Disk | None = None
        with suppress(MountError):
            self.disk = self.stack.enter_context(small_disk(self.folder / "disk"))
        self.path = (self.disk.path if self.disk else self.folder) / "state.db"
        self.clock = FakeClock()
        self.receivers = {name: Receiver(name) for name in CHANNELS}
        self.configured = set(CHANNELS)
        self.recorded: list[Told] = []
        self.unwritten: set[Told] = set()
        """What memory alone knows of: recorded, sent or given up while nothing could be written."""
        self.may_be_lost: set[Told] = set()
        self.done: set[Told] = set()
        """Sent, given up or merged: forgotten a month later, also by a clock that is set forward."""
        self.may_come_again: Counter[Told] = Counter()
        self.may_come_late: set[Told] = set()
        """Told by a later one, or given up, as memory alone knew when the process was killed."""
        self.open: dict[str, tuple[Incident, Alert]] = {}
        self.incidents = 0
        self.start()

    def start(self) -> None:
        self.outbox = Outbox(self.path)
        channels = {name: self.receivers[name] for name in self.configured}
        self.deliverer = Deliverer(self.outbox, channels, self.clock, Random(1).random)  # noqa: S311 - jitter

    def teardown(self) -> None:
        if self.disk:
            self.disk.free()
        self.outbox.close()
        self.stack.close()
        shutil.rmtree(self.folder)
        self.tally["schedules"] += 1
        self.tally["transitions times channels"] += len(self.recorded)
        arrived = [told for receiver in self.receivers.values() for told, _ in receiver.arrived]
        self.tally["deliveries"] += len(arrived)
        self.tally["duplicates"] += len(arrived) - len(set(arrived))

    def record(self, incident: Incident, alert: Alert, hold_s: float) -> None:
        told = [Told(name, alert.incident_id, alert.sequence) for name in sorted(self.configured)]
        self.outbox.record(incident, [(one.channel, alert) for one in told], self.clock.now(), hold_s)
        self.recorded += told
        self.note_unwritten(told)

    def note_unwritten(self, told: list[Told]) -> None:
        if self.outbox.adrift:
            self.unwritten.update(told)
        else:
            self.unwritten.clear()

    @rule(held=st.booleans())
    def opens(self, held: bool) -> None:  # noqa: FBT001 - drawn
        self.incidents += 1
        incident, change = opened(self.incidents)
        alert = replace(change.alert("web-3", {}), at_wall_s=self.clock.now().wall_s)
        self.open[incident.incident_id] = incident, alert
        self.record(incident, alert, HOLD_S if held else 0.0)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), word=st.sampled_from(GOES_ON))
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
        self.note_unwritten([])

    @rule(name=st.sampled_from(CHANNELS), answer=st.sampled_from(sorted(ANSWERS)), times=st.integers(1, 12))
    def will_fail(self, name: str, answer: str, times: int) -> None:
        self.receivers[name].answers += [ANSWERS[answer]] * times
        self.tally[f"answers: {answer}"] += times

    @rule()
    def is_drained(self) -> None:
        before, now = self.failed(), self.clock.now()
        self.drain()
        for key, (attempts, next_attempt_wall_s) in self.failed().items():
            if attempts != before.get(key, (0, 0.0))[0]:
                assert attempts == before.get(key, (0, 0.0))[0] + 1
                assert now.wall_s < next_attempt_wall_s <= now.wall_s + MAX_WAIT_S

    def drain(self) -> int:
        counts = {name: len(receiver.arrived) for name, receiver in self.receivers.items()}
        try:
            return self.deliverer.drain_once(self.clock.now())
        finally:
            arrived = [told for n, r in self.receivers.items() for told, _ in r.arrived[counts[n] :]]
            self.note_unwritten(arrived)

    def failed(self) -> dict[str, tuple[int, float]]:
        query = (
            "SELECT id, attempts, next_attempt_wall_s FROM deliveries WHERE state = 'pending' AND attempts"
        )
        rows = self.outbox._file.run(lambda c: c.execute(query).fetchall())  # noqa: SLF001 - what is stored
        return {key: (attempts, next_attempt_wall_s) for key, attempts, next_attempt_wall_s in rows}

    @rule(name=st.sampled_from(CHANNELS))
    def one_is_refused_for_good(self, name: str) -> None:
        answers = self.receivers[name].answers
        refusal = DeliveryError("400 invalid payload", permanent=True)
        answers[:0] = [refusal]
        self.drain()
        if refusal in answers:
            answers.remove(refusal)
        else:
            self.tally["refused for good"] += 1

    @rule(name=st.sampled_from(CHANNELS), times=st.integers(1, 3))
    def is_killed_while_sending(self, name: str, times: int) -> None:
        """A kill after so many more were sent and marked."""
        receiver, kill = self.receivers[name], KilledError()
        receiver.answers[times - 1 : times - 1] = [kill]
        before = len(receiver.arrived)
        try:
            self.drain()
            receiver.answers.remove(kill)
        except KilledError:
            assert len(receiver.arrived) > before
            self.may_come_again[receiver.arrived[-1][0]] += 1
            self.tally["killed between sending and marking"] += 1
        self.dies()

    @rule()
    def is_killed(self) -> None:
        self.dies()

    def dies(self) -> None:
        """What was in memory alone is gone, and what was sent from there may be sent again."""
        self.tally["kills"] += 1
        if self.outbox.adrift:
            self.forget_unwritten()
        file = self.outbox._file  # noqa: SLF001 - dropped without its farewell, as a kill does
        file._memory = None  # noqa: SLF001 - the same
        file._close_file()  # noqa: SLF001 - the same
        self.start()

    def forget_unwritten(self) -> None:
        self.tally["alerts at risk while nothing could be written"] += len(self.unwritten)
        self.may_be_lost |= self.unwritten
        self.may_come_late |= {
            one for told in self.unwritten for one in self.recorded if self.follows(told, one)
        }
        self.may_come_again.update(self.unwritten)
        self.unwritten.clear()

    @rule()
    def is_stopped_and_started(self) -> None:
        self.tally["stops"] += 1
        assert self.deliverer.stop(1.0)
        adrift_before = self.outbox.adrift
        full = self.disk is not None and self.disk.is_full
        self.outbox.close()
        if adrift_before and full:
            self.forget_unwritten()
        self.start()

    @precondition(lambda self: self.disk and not self.disk.is_full)
    @rule()
    def the_disk_fills_up(self) -> None:
        assert self.disk
        self.disk.fill()
        self.tally["full disks"] += 1

    @rule()
    def keeps_room(self) -> None:
        """From now on a full disk is no reason to go on in memory, also after a kill."""
        self.outbox._file.keep_room()  # noqa: SLF001 - what the thread that writes does
        self.tally["room kept"] += 1

    @precondition(lambda self: self.disk)
    @rule()
    def there_is_room_again(self) -> None:
        assert self.disk
        self.disk.free()

    @precondition(lambda self: self.disk and not self.disk.is_full)
    @rule()
    def is_started_on_a_read_only_disk(self) -> None:
        assert self.disk
        self.outbox.close()
        with self.disk.read_only(), suppress(OSError):
            Outbox(self.path)
            raise AssertionError("it runs without a state that it can write")
        self.tally["read-only starts"] += 1
        self.start()

    @rule(names=st.sampled_from([{"slack"}, set(CHANNELS)]))
    def is_reloaded(self, names: set[str]) -> None:
        self.configured = set(names)
        self.deliverer.replace({name: self.receivers[name] for name in names})
        self.tally["reloads"] += 1

    @rule(seconds=st.sampled_from([1.0, 4.0, 60.0, MAX_BACKOFF_S]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-9e8, -5000.0, -100.0, 100.0, 9e8]))
    def clock_is_set(self, seconds: float) -> None:
        self.clock.step_wall(seconds)
        self.tally["clock steps"] += 1

    def states(self) -> dict[Told, str]:
        query = "SELECT channel, incident_id, sequence, state FROM deliveries"
        rows = self.outbox._file.run(lambda c: c.execute(query).fetchall())  # noqa: SLF001 - what is stored
        return {Told(*key): state for *key, state in rows}

    @invariant()
    def nothing_is_lost(self) -> None:
        states, arrived = self.states(), {t for r in self.receivers.values() for t, _ in r.arrived}
        missing = set(self.recorded) - states.keys()
        assert missing <= self.may_be_lost | self.done
        self.done |= {told for told, state in states.items() if state != "pending"}
        for told, state in states.items():
            if state == "sent":
                assert told in arrived
            if state == "merged":
                later = [(t.sequence, s) for t, s in states.items() if self.follows(t, told)]
                assert later, "it was merged into nothing"
                assert max(later)[1] != "merged", "the last one was merged into nothing"

    def follows(self, later: Told, earlier: Told) -> bool:
        place = (earlier.channel, earlier.incident_id)
        return (later.channel, later.incident_id) == place and later.sequence > earlier.sequence

    @invariant()
    def nothing_is_sent_again_but_after_a_kill(self) -> None:
        for receiver in self.receivers.values():
            for told, times in Counter(told for told, _ in receiver.arrived).items():
                assert times <= 1 + self.may_come_again[told]

    @invariant()
    def order_holds_and_duplicates_carry_the_same_key(self) -> None:
        for receiver in self.receivers.values():
            last: dict[str, int] = {}
            keys: dict[Told, tuple[str, Transition]] = {}
            for told, alert in receiver.arrived:
                late = told in self.may_come_again or told in self.may_come_late
                assert told.sequence >= last.get(told.incident_id, 0) or late
                last[told.incident_id] = max(told.sequence, last.get(told.incident_id, 0))
                key = (alert.dedup_key, alert.transition)
                assert keys.setdefault(told, key) == key

    @invariant()
    def no_wait_is_longer_than_the_longest(self) -> None:
        wait_s = self.outbox.next_due_s(self.clock.now())
        assert wait_s is None or 0 <= wait_s <= MAX_WAIT_S

    @rule()
    def the_network_comes_back(self) -> None:
        """Everything arrives within the longest wait for each row that still queues behind another."""
        if self.disk:
            self.disk.free()
        for receiver in self.receivers.values():
            receiver.answers.clear()
        while any(state == "pending" for state in self.states().values()):
            self.clock.advance(MAX_WAIT_S)
            assert self.drain() > 0 or "pending" not in self.states().values()
        states, arrived = self.states(), {t for r in self.receivers.values() for t, _ in r.arrived}
        for told in set(self.recorded) - self.may_be_lost - arrived:
            assert states.get(told, "forgotten") in ("merged", "parked", "forgotten")
