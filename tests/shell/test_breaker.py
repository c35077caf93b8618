from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from fakes import FakeClock
from incident_samples import opened

from agent.alerts.base import DeliveryError
from agent.alerts.breaker import MAX_BACKOFF_S, OPEN_AFTER, Breaker
from agent.alerts.delivery import Deliverer
from agent.logs import KeyValueFormatter
from agent.model import Alert, Event, Transition

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from agent.alerts.outbox import Outbox

DOWN = DeliveryError("503 from host")


class Receiver:
    """A channel that is up or down, and forgets: it is refreshed every minute."""

    refresh_every_s = 60.0

    def __init__(self, name: str = "slack", error: DeliveryError | None = None) -> None:
        self.name = name
        self.error = error
        self.tried: list[Alert] = []
        self.refreshed: list[list[tuple[str, int]]] = []

    def wants(self, alert: Alert) -> bool:
        return bool(alert)

    def send(self, alert: Alert) -> None:
        self.tried.append(alert)
        if self.error:
            raise self.error

    def refresh(self, alerts: Sequence[Alert]) -> None:
        self.refreshed.append([(alert.service, alert.sequence) for alert in alerts])
        if self.error:
            raise self.error


def record(outbox: Outbox, clock: FakeClock, *pids: int) -> None:
    for pid in pids:
        incident, change = opened(pid)
        outbox.record(incident, [("slack", change.alert("web-3", {}))], clock.now())


def deliverer(outbox: Outbox, clock: FakeClock, *receivers: Receiver) -> Deliverer:
    return Deliverer(outbox, {r.name: r for r in receivers}, clock, jitter=lambda: 1.0)


def lines(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    formatter = KeyValueFormatter(timestamps=False)
    said = [r for r in caplog.records if r.name == "agent.alerts.sending" and r.getMessage() in words]
    return [formatter.format(r) for r in said]


def test_it_opens_after_five_failures_in_a_row_and_closes_with_an_answer() -> None:
    clock, breaker = FakeClock(), Breaker()
    for number in range(1, OPEN_AFTER + 1):
        assert not breaker.is_open
        breaker = breaker.after_failure(f"failure {number}", clock.advance(1), None, 1.0)
    assert breaker.is_open
    assert (breaker.wait_s(clock.now()), breaker.open_s(clock.now())) == (2.0, 4.0)
    assert not breaker.after_answer().is_open
    assert breaker.after_answer().why == "failure 5"


def test_probes_become_rarer_up_to_ten_minutes_or_the_wish_of_the_receiver() -> None:
    clock, breaker, waits = FakeClock(), Breaker(), []
    for _ in range(20):
        breaker = breaker.after_failure("503", clock.now(), None, 1.0)
        waits.append(breaker.wait_s(clock.now()))
        clock.advance(waits[-1])
    assert waits[: OPEN_AFTER + 3] == [0, 0, 0, 0, 2, 4, 8, 16]
    assert waits[-1] == MAX_BACKOFF_S
    asked = breaker.after_failure("429", clock.now(), 1800.0, 1.0)
    assert asked.wait_s(clock.now()) == 1800


def test_an_open_channel_gets_one_probe_an_interval_whatever_waits(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    slack = Receiver(error=DOWN)
    worker = deliverer(outbox, clock, slack)
    record(outbox, clock, *range(1, 21))
    assert worker.drain_once(clock.now()) == OPEN_AFTER
    tried = [worker.drain_once(clock.advance(1)) for _ in range(120)]
    assert [at for at, count in enumerate(tried, 1) if count] == [2, 6, 14, 30, 62]
    assert max(tried) == 1
    (opening,) = (line for line in lines(caplog, "delayed") if "incident=" not in line)
    why = "503 from host; failing for 0s, 20 waiting, next try in 2s"
    assert opening == f'delayed   channel=slack why="{why}" level=warning'


def test_the_first_success_lets_everything_go_at_once(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    slack = Receiver(error=DOWN)
    worker = deliverer(outbox, clock, slack)
    record(outbox, clock, *range(1, 11))
    for _ in range(5):
        worker.drain_once(clock.advance(60))
    assert worker.troubles(clock.now()) == {
        "slack": "503 from host; failing for 4m, 10 waiting, next try in 32s"
    }
    assert worker.failing_s(clock.now()) == {"slack": 240.0}
    slack.error = None
    assert worker.drain_once(clock.advance(60)) == 10
    assert outbox.counts() == {"slack": {"sent": 10}}
    assert (worker.troubles(clock.now()), worker.failing_s(clock.now())) == ({}, {})
    assert lines(caplog, "recovered") == ["recovered channel=slack after=5m waiting=9"]


def test_one_channel_that_is_down_holds_no_other_back(outbox: Outbox, clock: FakeClock) -> None:
    slack, sentry = Receiver(error=DOWN), Receiver("sentry")
    worker = deliverer(outbox, clock, slack, sentry)
    for pid in range(1, 11):
        incident, change = opened(pid)
        alert = change.alert("web-3", {})
        outbox.record(incident, [("slack", alert), ("sentry", alert)], clock.now())
    worker.drain_once(clock.now())
    assert outbox.counts() == {"sentry": {"sent": 10}, "slack": {"pending": 10}}


def test_a_refusal_for_good_is_an_answer_and_closes_it(outbox: Outbox, clock: FakeClock) -> None:
    slack = Receiver(error=DOWN)
    worker = deliverer(outbox, clock, slack)
    record(outbox, clock, *range(1, 7))
    worker.drain_once(clock.now())
    slack.error = DeliveryError("400 invalid_blocks", permanent=True)
    worker.drain_once(clock.advance(60))
    assert worker.troubles(clock.now()) == {}
    assert outbox.counts() == {"slack": {"parked": 6}}


def test_a_reload_tries_a_channel_anew_at_once(outbox: Outbox, clock: FakeClock) -> None:
    slack, corrected = Receiver(error=DOWN), Receiver()
    worker = deliverer(outbox, clock, slack)
    record(outbox, clock, *range(1, 11))
    worker.drain_once(clock.now())
    assert worker.drain_once(clock.now()) == 0
    worker.replace({"slack": corrected})
    assert worker.drain_once(clock.now()) == OPEN_AFTER
    assert len(corrected.tried) == OPEN_AFTER


def cycle(worker: Deliverer, clock: FakeClock, seconds: float = 0.0) -> None:
    clock.advance(seconds)
    worker._senders["slack"].cycle()  # noqa: SLF001 - what its thread does again and again


def test_what_was_told_and_is_open_is_refreshed_at_the_pace_of_the_channel(
    outbox: Outbox, clock: FakeClock
) -> None:
    slack = Receiver()
    worker = deliverer(outbox, clock, slack)
    cycle(worker, clock)
    assert slack.refreshed == []
    incident, change = opened(1)
    alert = change.alert("web-3", {})
    outbox.record(incident, [("slack", alert)], clock.now())
    outbox.record(
        incident, [("slack", replace(alert, sequence=2, transition=Transition.UPDATED))], clock.now()
    )
    cycle(worker, clock, 60)
    assert slack.refreshed == [[("api", 2)]]
    cycle(worker, clock, 59)
    assert len(slack.refreshed) == 1
    cycle(worker, clock, 1)
    assert slack.refreshed == [[("api", 2)]] * 2
    ended = replace(incident, sequence=3, ended=True)
    end = replace(alert, sequence=3, transition=Transition.RESOLVED)
    outbox.record(ended, [("slack", end)], clock.now())
    slack.error = DOWN
    cycle(worker, clock, 60)
    assert len(slack.refreshed) == 2, "its end waits: it is not open any more"


def test_a_start_refreshes_what_an_earlier_run_told(outbox: Outbox, clock: FakeClock) -> None:
    record(outbox, clock, 1)
    deliverer(outbox, clock, Receiver()).drain_once(clock.now())
    slack = Receiver()
    cycle(deliverer(outbox, clock, slack), clock)
    assert slack.refreshed == [[("api", 1)]]


def test_notices_are_refreshed_until_their_end_and_changes_never(outbox: Outbox, clock: FakeClock) -> None:
    alert = opened(1)[1].alert("web-3", {})
    storm = replace(alert, incident_id="storm", event=Event.STORM, service="many")
    change = replace(alert, incident_id="change", event=Event.CHANGE)
    outbox.record_notices([("slack", storm), ("slack", change)], clock.now())
    slack = Receiver()
    worker = deliverer(outbox, clock, slack)
    cycle(worker, clock)
    assert slack.refreshed == [[("many", 1)]]
    end = replace(storm, sequence=2, transition=Transition.RESOLVED)
    outbox.record_notices([("slack", end)], clock.now())
    cycle(worker, clock, 60)
    assert len(slack.refreshed) == 1


def test_a_refresh_that_fails_is_said_once_and_once_more_when_it_works(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    record(outbox, clock, 1)
    slack = Receiver()
    worker = deliverer(outbox, clock, slack)
    cycle(worker, clock)
    caplog.set_level(logging.INFO)
    slack.error = DOWN
    for _ in range(3):
        cycle(worker, clock, 60)
    slack.error = None
    for _ in range(2):
        cycle(worker, clock, 60)
    why = "what is open could not be told again: 503 from host; will keep trying"
    assert lines(caplog, "delayed", "recovered") == [
        f'delayed   channel=slack why="{why}" level=warning',
        'recovered channel=slack why="what is open is told again"',
    ]
