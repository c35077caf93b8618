from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from incident_samples import opened

from agent.alerts.base import DeliveryError
from agent.alerts.breaker import OPEN_AFTER
from agent.alerts.delivery import Deliverer
from agent.alerts.sending import LATE_S
from agent.model import Alert, Transition

if TYPE_CHECKING:
    from fakes import FakeClock

    from agent.alerts.outbox import Outbox

DOWN = DeliveryError("503 from host")


class Receiver:
    """A channel that is up or down, and notes what it took."""

    name = "slack"

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.took: list[Alert] = []

    def wants(self, alert: Alert) -> bool:
        return bool(alert)

    def send(self, alert: Alert) -> None:
        if self.error:
            raise self.error
        self.took.append(alert)

    @property
    def heard(self) -> list[str]:
        return [str(alert.transition) for alert in self.took]


@pytest.fixture
def slack() -> Receiver:
    return Receiver()


@pytest.fixture
def worker(outbox: Outbox, clock: FakeClock, slack: Receiver) -> Deliverer:
    return Deliverer(outbox, {"slack": slack}, clock, jitter=lambda: 1.0)


def tell(outbox: Outbox, clock: FakeClock, *words: Transition, pid: int = 4211, start: int = 1) -> None:
    """Record transitions of one incident, a second apart."""
    incident, change = opened(pid)
    for number, word in enumerate(words, start):
        now = clock.advance(1)
        alert = replace(
            change.alert("web-3", {}), sequence=number, transition=word, at_wall_s=now.wall_s, note=""
        )
        outbox.record(replace(incident, sequence=number, ended=word.ends), [("slack", alert)], now)


def states(outbox: Outbox) -> list[tuple[int, str, str]]:
    query = "SELECT sequence, state, last_error FROM deliveries ORDER BY incident_id, sequence"
    rows: list[tuple[int, str, str]] = outbox._file.run(lambda c: c.execute(query).fetchall())  # noqa: SLF001 - what is stored
    return rows


def test_an_incident_that_is_over_before_its_trigger_could_be_sent_is_one_message(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    slack.error = DOWN
    tell(outbox, clock, Transition.OPENED, Transition.WORSENED)
    worker.drain_once(clock.now())
    tell(outbox, clock, Transition.RESOLVED, start=3)
    slack.error = None
    assert worker.drain_once(clock.advance(600)) == 1
    (alert,) = slack.took
    assert (alert.sequence, alert.transition) == (3, Transition.RESOLVED)
    assert alert.note.startswith("opened 2027-01-15 08:00 UTC, over 2027-01-15 08:00 UTC; could not be")
    assert alert.note.endswith("could not be delivered before: 503 from host")
    told_by = "told by transition 3 (resolved): 503 from host"
    assert states(outbox) == [(1, "merged", told_by), (2, "merged", told_by), (3, "sent", "")]
    assert [r.getMessage() for r in caplog.records][-2:] == ["merged", "delivered"]
    assert outbox.channels_told(alert.incident_id) == {"slack"}


def test_what_the_breaker_held_back_says_so_though_it_was_never_tried(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    slack.error = DOWN
    for pid in range(1, OPEN_AFTER + 1):
        tell(outbox, clock, Transition.OPENED, pid=pid)
    worker.drain_once(clock.now())
    tell(outbox, clock, Transition.OPENED, Transition.GONE, pid=99)
    worker.drain_once(clock.advance(40))
    slack.error = None
    worker.drain_once(clock.advance(600))
    assert sorted(slack.heard) == ["gone"] + ["opened"] * OPEN_AFTER
    (end,) = (alert for alert in slack.took if alert.transition is Transition.GONE)
    assert "could not be delivered before: 503 from host" in end.note


def test_what_waited_for_long_without_a_failure_is_told_as_one_without_a_reason(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    tell(outbox, clock, Transition.OPENED, Transition.RESOLVED)
    worker.drain_once(clock.advance(LATE_S + 2))
    assert slack.heard == ["resolved"]
    assert slack.took[0].note.endswith("; told only now")


def test_what_comes_in_time_is_told_transition_by_transition(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    tell(outbox, clock, Transition.OPENED, Transition.UPDATED, Transition.RESOLVED)
    worker.drain_once(clock.advance(LATE_S / 2))
    assert slack.heard == ["opened", "updated", "resolved"]


def test_an_open_incident_is_still_triggered_and_then_told_its_newest_figures(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    slack.error = DOWN
    tell(outbox, clock, Transition.OPENED, Transition.UPDATED, Transition.REMINDED, Transition.UPDATED)
    worker.drain_once(clock.now())
    slack.error = None
    worker.drain_once(clock.advance(600))
    assert slack.heard == ["opened", "updated"]
    assert slack.took[1].note.startswith("stands for 2 earlier messages since")
    assert (slack.took[1].sequence, slack.took[1].dedup_key) == (4, slack.took[0].dedup_key)


def test_a_merged_message_that_is_sent_again_after_a_kill_says_the_same(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    slack.error = DOWN
    tell(outbox, clock, Transition.OPENED, Transition.RESOLVED)
    worker.drain_once(clock.now())
    slack.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        worker.drain_once(clock.advance(600))
    assert [state for _, state, _ in states(outbox)] == ["merged", "pending"]
    slack.error = None
    again = Deliverer(outbox, {"slack": slack}, clock)
    assert again.drain_once(clock.advance(1)) == 1
    assert slack.took[0].note.endswith("could not be delivered before: 503 from host")


def test_a_merged_message_that_fails_waits_like_any_other(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    slack.error = DOWN
    tell(outbox, clock, Transition.OPENED, Transition.RESOLVED)
    worker.drain_once(clock.now())
    assert worker.drain_once(clock.advance(60)) == 1
    assert states(outbox)[1] == (2, "pending", "503 from host")
    slack.error = None
    assert worker.drain_once(clock.advance(60)) == 1
    assert slack.heard == ["resolved"]


def test_what_quiet_hours_held_back_until_it_was_over_is_one_message(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    incident, change = opened()
    alert = change.alert("web-3", {})
    until = {"slack": clock.now().wall_s + 8 * 3600}
    outbox.record(incident, [("slack", alert)], clock.now(), quiet_until_wall_s=until)
    ended = replace(incident, sequence=2, ended=True)
    end = replace(alert, sequence=2, transition=Transition.RESOLVED)
    outbox.record(ended, [("slack", end)], clock.advance(3600))
    assert worker.drain_once(clock.now()) == 0
    assert worker.drain_once(clock.advance(7 * 3600)) == 1
    assert slack.heard == ["resolved"]
    assert "could not be delivered before: quiet hours" in slack.took[0].note


def test_what_waited_for_its_evidence_is_told_however_long_that_took(
    outbox: Outbox, clock: FakeClock, slack: Receiver, worker: Deliverer
) -> None:
    incident, change = opened()
    alert = change.alert("web-3", {})
    outbox.record(incident, [("slack", alert)], clock.now(), hold_s=10 * LATE_S)
    end = replace(alert, sequence=2, transition=Transition.RESOLVED)
    outbox.record(replace(incident, sequence=2, ended=True), [("slack", end)], clock.advance(10 * LATE_S))
    worker.drain_once(clock.now())
    assert slack.heard == ["opened", "resolved"]
