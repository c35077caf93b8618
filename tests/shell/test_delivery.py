from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from incident_samples import opened

from agent.alerts.base import DeliveryError
from agent.alerts.breaker import backoff_s, retry_wait_s
from agent.alerts.delivery import Deliverer
from agent.clock import SystemClock
from agent.logs import KeyValueFormatter
from agent.model import Alert, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fakes import FakeClock

    from agent.alerts.outbox import Outbox

SECRET = "https://hooks.example/T00/B00/verysecret"
PATIENCE_S = 20.0
LOGGERS = ("agent.alerts.delivery", "agent.alerts.sending")


class Receiver:
    """A channel that answers as the test says and notes what arrived."""

    def __init__(self, name: str, answer: Callable[[Alert], None] | None = None) -> None:
        self.name = name
        self.answer = answer
        self.tried: list[int] = []
        self.arrived: list[str] = []
        self.got_one = threading.Event()
        self.sending = threading.Event()

    def wants(self, alert: Alert) -> bool:
        return bool(alert)

    def send(self, alert: Alert) -> None:
        self.tried.append(alert.sequence)
        self.sending.set()
        if self.answer:
            self.answer(alert)
        self.arrived.append(alert.dedup_key)
        self.got_one.set()


def fails_with(error: Exception) -> Callable[[Alert], None]:
    def answer(_: Alert) -> None:
        raise error

    return answer


def record(outbox: Outbox, clock: FakeClock | SystemClock, *channels: str, pid: int = 4211) -> Alert:
    incident, change = opened(pid)
    alert = change.alert("web-3", {})
    outbox.record(incident, [(name, alert) for name in channels], clock.now())
    return alert


def deliverer(outbox: Outbox, clock: FakeClock, *receivers: Receiver) -> Deliverer:
    return Deliverer(outbox, {r.name: r for r in receivers}, clock, jitter=lambda: 1.0)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    formatter = KeyValueFormatter(timestamps=False)
    return [formatter.format(r) for r in caplog.records if r.name in LOGGERS]


@pytest.mark.parametrize(
    ("failures", "jitter", "expected_s"),
    [(1, 1.0, 2.0), (1, 0.0, 1.0), (2, 1.0, 4.0), (5, 0.5, 24.0), (10, 1.0, 600.0), (100_000, 0.0, 300.0)],
)
def test_waits_double_up_to_ten_minutes(failures: int, jitter: float, expected_s: float) -> None:
    assert backoff_s(failures, jitter) == expected_s


@pytest.mark.parametrize(
    ("retry_after_s", "expected_s"), [(None, 8.0), (1.0, 8.0), (90.0, 90.0), (9e9, 3600.0), (-5.0, 8.0)]
)
def test_the_wish_of_the_receiver_counts_where_it_is_longer(
    retry_after_s: float | None, expected_s: float
) -> None:
    assert retry_wait_s(3, retry_after_s, 1.0) == expected_s


def test_a_delivery_is_one_line(outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def slow(_: Alert) -> None:
        clock.advance(0.2)

    slack = Receiver("slack", slow)
    alert = record(outbox, clock, "slack")
    assert deliverer(outbox, clock, slack).drain_once(clock.now()) == 1
    assert slack.arrived == [alert.dedup_key]
    assert lines(caplog) == [
        f"delivered incident={alert.incident_id} transition=opened channel=slack attempt=1 took=0.2s"
    ]
    assert outbox.counts() == {"slack": {"sent": 1}}


def test_trouble_is_logged_when_it_changes_and_ever_more_rarely(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    slack = Receiver("slack", fails_with(DeliveryError("503 from host")))
    record(outbox, clock, "slack")
    worker = deliverer(outbox, clock, slack)
    for attempt in range(1, 13):
        if attempt == 7:
            slack.answer = fails_with(DeliveryError("timed out"))
        assert worker.drain_once(clock.now()) == 1
        assert worker.drain_once(clock.now()) == 0
        clock.advance(600)
    said = [line for line in lines(caplog) if "incident=" in line]
    logged = [line.partition(" attempt=")[2].partition(" ")[0] for line in said]
    assert logged == ["1", "2", "4", "7", "8"]
    assert 'next=16s why="503 from host; will keep trying" level=warning' in said[2]


def test_a_permanent_error_is_parked_with_what_to_do(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = DeliveryError("404 no_service: the webhook was revoked", permanent=True)
    alert = record(outbox, clock, "slack")
    deliverer(outbox, clock, Receiver("slack", fails_with(error))).drain_once(clock.now())
    assert outbox.counts() == {"slack": {"parked": 1}}
    (line,) = lines(caplog)
    assert line.startswith(f"parked    incident={alert.incident_id} transition=opened channel=slack")
    assert "404 no_service: the webhook was revoked; correct the channel slack" in line
    assert line.endswith("level=error")


def test_a_bug_in_a_channel_is_tried_again_and_tells_no_secret(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    slack = Receiver("slack", fails_with(ValueError(SECRET)))
    record(outbox, clock, "slack")
    worker = deliverer(outbox, clock, slack)
    worker.drain_once(clock.now())
    slack.answer = None
    worker.drain_once(clock.advance(2))
    assert len(slack.arrived) == 1
    assert "unexpected ValueError at test_delivery.py" in lines(caplog)[0]
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"verysecret" not in written + "\n".join(lines(caplog)).encode()


@pytest.mark.parametrize("passes_s", [0.01, 30.0, -3600.0])
def test_a_failure_is_tried_once_a_drain_though_time_passes_while_it_is_sent(
    outbox: Outbox, clock: FakeClock, passes_s: float
) -> None:
    def refuses(_: Alert) -> None:
        clock.step_wall(passes_s)
        assert len(slack.tried) < 5, "tried again and again without a wait"
        raise DeliveryError("503 from host")

    slack = Receiver("slack", refuses)
    record(outbox, clock, "slack")
    attempts = deliverer(outbox, clock, slack).drain_once(clock.now())
    assert (attempts, len(slack.tried)) == (1, 1)


def test_retry_after_is_meant_for_the_whole_channel_and_for_no_other(
    outbox: Outbox, clock: FakeClock
) -> None:
    slack = Receiver("slack", fails_with(DeliveryError("429", retry_after_s=30.0)))
    sentry = Receiver("sentry")
    for pid in (1, 2, 3):
        record(outbox, clock, "slack", "sentry", pid=pid)
    worker = deliverer(outbox, clock, slack, sentry)
    assert worker.drain_once(clock.now()) == 4
    assert (len(slack.tried), len(sentry.arrived)) == (1, 3)
    slack.answer = None
    assert worker.drain_once(clock.advance(29)) == 0
    assert worker.drain_once(clock.advance(1)) == 3


def test_what_follows_a_sent_alert_of_its_incident_goes_out_in_the_same_drain(
    outbox: Outbox, clock: FakeClock
) -> None:
    slack = Receiver("slack")
    incident, change = opened()
    alert = change.alert("web-3", {})
    for number, word in enumerate((Transition.OPENED, Transition.REMINDED, Transition.GONE), 1):
        outbox.record(incident, [("slack", replace(alert, sequence=number, transition=word))], clock.now())
    assert deliverer(outbox, clock, slack).drain_once(clock.now()) == 3
    assert slack.tried == [1, 2, 3]


def test_what_waits_for_a_removed_channel_is_parked_with_that_reason(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    record(outbox, clock, "old", "slack")
    slack = Receiver("slack")
    deliverer(outbox, clock, slack).drain_once(clock.now())
    assert [(d.channel, d.last_error) for d in outbox.parked()] == [
        ("old", "channel old is no longer configured")
    ]
    assert len(slack.arrived) == 1
    assert lines(caplog)[0].startswith("parked    channel=old alerts=1")


@pytest.fixture
def running(outbox: Outbox) -> Iterator[Callable[..., Deliverer]]:
    started: list[Deliverer] = []

    def run(*receivers: Receiver) -> Deliverer:
        worker = Deliverer(outbox, {r.name: r for r in receivers}, SystemClock())
        started.append(worker)
        worker.start()
        return worker

    yield run
    assert all([worker.stop(PATIENCE_S) for worker in started])  # noqa: C419 - every one is to be stopped


def test_a_slow_channel_holds_no_other_back(outbox: Outbox, running: Callable[..., Deliverer]) -> None:
    let_go = threading.Event()
    slow, fast = Receiver("slow", lambda _: assert_set(let_go)), Receiver("fast")
    worker = running(slow, fast)
    record(outbox, SystemClock(), "slow", "fast")
    worker.wake()
    assert slow.sending.wait(PATIENCE_S)
    assert fast.got_one.wait(PATIENCE_S)
    assert slow.arrived == []
    assert worker.stop(0.01) is False
    let_go.set()
    assert worker.stop(PATIENCE_S) is True
    assert outbox.counts() == {"fast": {"sent": 1}, "slow": {"sent": 1}}


def assert_set(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S)


def test_a_worker_outlives_whatever_its_channel_raises(
    outbox: Outbox, running: Callable[..., Deliverer]
) -> None:
    def breaks_once(_: Alert) -> None:
        slack.answer = None
        raise RuntimeError(SECRET)

    slack = Receiver("slack", breaks_once)
    worker = running(slack)
    record(outbox, SystemClock(), "slack")
    worker.wake()
    assert slack.got_one.wait(PATIENCE_S)
    assert slack.tried == [1, 1]


def test_a_reload_adds_and_removes_channels_and_leaves_the_others_running(
    outbox: Outbox, running: Callable[..., Deliverer]
) -> None:
    old, slack, new = Receiver("old"), Receiver("slack"), Receiver("new")
    worker = running(old, slack)
    worker.replace({"slack": slack, "new": new})
    record(outbox, SystemClock(), "slack", "new")
    worker.wake()
    assert slack.got_one.wait(PATIENCE_S)
    assert new.got_one.wait(PATIENCE_S)
    assert old.arrived == []


def test_what_an_earlier_run_left_is_sent_without_being_woken(
    outbox: Outbox, running: Callable[..., Deliverer]
) -> None:
    slack = Receiver("slack")
    record(outbox, SystemClock(), "slack")
    running(slack)
    assert slack.got_one.wait(PATIENCE_S)
