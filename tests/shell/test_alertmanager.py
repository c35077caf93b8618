"""Alertmanager: the payload, every peer, and the real one that looks it up, keeps it and sees it end."""

from __future__ import annotations

import base64
import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import EVIDENCE, WALL_S, alert, later
from alert_strategies import ALERTS
from alertmanagers import Alertmanager, needs_alertmanager
from fakes import FakeClock
from hypothesis import given
from receiver import Receiver

from agent.alerts.alertmanager import MAX_LABELS, AlertmanagerChannel, AlertmanagerOptions, labels, payload
from agent.alerts.base import DeliveryError, Refreshing
from agent.alerts.channels import build
from agent.alerts.notes import MemoryNotes
from agent.alerts.options import HttpOptions
from agent.clock import SystemClock
from agent.model import Event, State, Transition
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.alerts.base import Notes
    from agent.clock import Clock

CLOSED = "http://127.0.0.1:1"


def made(
    *urls: str, clock: Clock | None = None, notes: Notes | None = None, **options: Any
) -> AlertmanagerChannel:
    settings = AlertmanagerOptions(urls, http=HttpOptions(timeout_s=2.0), **options)
    channel = build("prometheus", settings, clock or FakeClock(), notes or MemoryNotes())
    assert isinstance(channel, AlertmanagerChannel)
    return channel


def posted(receiver: Receiver) -> list[dict[str, Any]]:
    return [one for request in receiver.requests for one in request.json()]


def seconds_after(text: str, wall_s: float = WALL_S) -> float:
    return datetime.fromisoformat(text).timestamp() - wall_s


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as one:
        yield one


def test_an_alert_is_told_with_what_identifies_it_and_what_explains_it(receiver: Receiver) -> None:
    made(receiver.url, labels={"env": "prod"}).send(alert(evidence=EVIDENCE, kind="native"))

    (told,) = posted(receiver)
    assert told["labels"] == {
        "alertname": "LeakwatchLeak", "service": "api", "subject": "heap", "host": "web-3",
        "team": "shop", "env": "prod",
    }  # fmt: skip
    notes = told["annotations"]
    assert notes["summary"].startswith("api leaks 24 MB/h of native memory: 448 MB of 1 GB")
    assert notes["severity"] == "critical"
    assert notes["growth_rate"] == "24 MB/h (21 MB/h to 27 MB/h)"
    assert "Evidence: top stack: handlers.remember:88 in 11 of 12 threads" in notes["description"]
    assert "#runbook-native" in notes["runbook"]
    assert notes["incident"] == "7f3a9c21"
    assert "generatorURL" not in told
    assert seconds_after(told["startsAt"]) == -2.5 * 3600
    assert seconds_after(told["endsAt"]) == 4 * 60


def test_configured_pages_are_linked(receiver: Receiver) -> None:
    links = {"runbook_url": "https://wiki.example/leaks", "page_url": "https://leakwatch.example/"}
    made(receiver.url).send(alert(**links))

    (told,) = posted(receiver)
    assert told["annotations"]["runbook_url"] == "https://wiki.example/leaks#runbook-heap"
    assert told["generatorURL"] == "https://leakwatch.example/"


def test_the_identity_of_an_incident_never_changes(receiver: Receiver) -> None:
    notes = MemoryNotes()
    made(receiver.url, notes=notes).send(alert(severity=State.WARNING))
    changed = {"event": Event.THRESHOLD, "labels": {}, "pid": 1, "since_wall_s": WALL_S, "kind": "native"}
    after_restart = made(receiver.url, notes=notes, labels={"env": "new"})
    after_restart.send(later(2, Transition.WORSENED, **changed))
    after_restart.send(later(3, Transition.RESOLVED, **changed))

    told = posted(receiver)
    assert [one["annotations"]["severity"] for one in told] == ["warning", "critical", "critical"]
    assert {json.dumps(one["labels"]) for one in told} == {json.dumps(told[0]["labels"])}
    assert {one["startsAt"] for one in told} == {told[0]["startsAt"]}


def test_what_is_not_about_one_subject_is_told_apart_by_its_incident() -> None:
    trouble = alert(event=Event.WATCHER, headline="slack does not deliver", items=("503",), labels={})

    assert labels(trouble, {}) == {
        "alertname": "LeakwatchWatcher", "service": "api", "host": "web-3", "incident": "7f3a9c21",
    }  # fmt: skip


def test_an_end_is_told_as_of_now_however_late(receiver: Receiver) -> None:
    clock = FakeClock()
    clock.advance(7200)
    made(receiver.url, clock=clock).send(later(2, Transition.RESOLVED))

    (told,) = posted(receiver)
    assert seconds_after(told["endsAt"]) == 7200


def test_what_began_after_now_by_a_clock_that_was_set_back_begins_now(receiver: Receiver) -> None:
    clock = FakeClock()
    clock.step_wall(-86_400)
    made(receiver.url, clock=clock).send(later(2, Transition.RESOLVED))

    (told,) = posted(receiver)
    assert told["startsAt"] == told["endsAt"]


def test_refreshing_tells_everything_that_fires_in_one_request(receiver: Receiver) -> None:
    channel = made(receiver.url, resend_s=30.0)
    firing = [alert(incident_id=str(at), service=f"s{at}") for at in range(3)]
    channel.refresh([*firing, later(2, Transition.RESOLVED)])

    (request,) = receiver.requests
    assert [one["labels"]["service"] for one in request.json()] == ["s0", "s1", "s2"]
    assert isinstance(channel, Refreshing)
    assert channel.refresh_every_s == 30.0


def test_very_many_alerts_are_told_in_several_requests_and_none_in_none(receiver: Receiver) -> None:
    channel = made(receiver.url)
    channel.refresh([alert(incident_id=str(at)) for at in range(250)])
    channel.refresh([])

    assert [len(request.json()) for request in receiver.requests] == [100, 100, 50]


def test_one_peer_is_enough_and_the_other_is_named_once(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent.alerts.alertmanager")
    with Receiver() as second:
        channel = made(receiver.url, second.url)
        second.respond_with(503, times=2)
        for _ in range(3):
            channel.send(alert())

        assert len(receiver.requests) == len(second.requests) == 3
    told = [(one.getMessage(), one.pairs) for one in caplog.records]  # type: ignore[attr-defined]
    peer = f"127.0.0.1:{second.port}"
    why = f"{peer} answered 503 Service Unavailable; will keep trying"
    assert told == [
        ("delayed", {"channel": "prometheus", "peer": peer, "why": why}),
        ("delivered", {"channel": "prometheus", "peer": peer, "why": "takes alerts again"}),
    ]


def test_no_peer_is_a_failure_that_names_each(receiver: Receiver) -> None:
    receiver.respond_with(400, body=b'"start time must be before end time"')
    with pytest.raises(DeliveryError) as caught:
        made(receiver.url, CLOSED).send(alert())
    with pytest.raises(DeliveryError) as refused:
        made(receiver.url, receiver.url).send(alert())

    told = str(caught.value)
    assert "400 Bad Request (start time must be before end time): Alertmanager does not accept" in told
    assert "127.0.0.1:1 cannot be reached: connection refused" in told
    assert (caught.value.permanent, refused.value.permanent) == (False, True)


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ({"token": Secret("tokenSecret")}, "Bearer tokenSecret"),
        (
            {"username": "lw", "password": Secret("pässword")},
            "Basic " + base64.b64encode("lw:pässword".encode()).decode(),
        ),
        ({}, None),
    ],
)
def test_it_logs_in_as_configured(receiver: Receiver, login: dict[str, Any], header: str | None) -> None:
    made(receiver.url, **login).send(alert())

    assert receiver.requests[0].headers["Authorization"] == header


def test_a_login_that_the_answer_repeats_is_hidden(receiver: Receiver) -> None:
    basic = base64.b64encode(b"lw:passwordSecret").decode()
    receiver.respond_with(401, body=json.dumps(f"no: passwordSecret {basic}").encode())
    with pytest.raises(DeliveryError) as caught:
        made(receiver.url, username="lw", password=Secret("passwordSecret")).send(alert())

    assert "(no: <hidden> <hidden>): it wants a user or a token" in str(caught.value)


@given(sent=ALERTS)
def test_any_alert_is_json_with_names_that_prometheus_takes(sent: Any) -> None:
    told = payload(sent, labels(sent, {"env": "prod"}), min(sent.since_wall_s, WALL_S), WALL_S + 240)

    json.dumps(told, allow_nan=False).encode()
    names = [*told["labels"], *told["annotations"]]
    assert all(name.isascii() and name.isidentifier() for name in names)
    assert len(told["labels"]) <= MAX_LABELS
    assert told["labels"]["alertname"].startswith("Leakwatch")
    assert all(told["annotations"].values())
    assert datetime.fromisoformat(told["startsAt"]) <= datetime.fromisoformat(told["endsAt"])


class Quick:
    """A channel to a real Alertmanager, repeating itself in a fraction of a second."""

    def __init__(self, *urls: str) -> None:
        self.now_s = SystemClock().now().wall_s
        self.channel = made(*urls, clock=SystemClock())
        self.channel.refresh_every_s = 0.75

    def alert(self, **changes: Any) -> Any:
        return alert(at_wall_s=self.now_s, since_wall_s=self.now_s - 3600, **changes)


@needs_alertmanager
def test_a_real_alertmanager_lists_one_alert_through_its_life_and_sees_it_resolved(
    receiver: Receiver, tmp_path: Path
) -> None:
    with Alertmanager(tmp_path, receiver.url) as running:
        quick = Quick(running.url)
        quick.channel.refresh_every_s = 60.0
        quick.channel.send(quick.alert(severity=State.WARNING, labels={"team-name": "shöp"}))
        (opened,) = running.alerts()
        firing = receiver.wait_for(1)[0].json()
        quick.channel.send(quick.alert(transition=Transition.WORSENED, labels={}))
        (worsened,) = running.alerts()
        quick.channel.send(quick.alert(transition=Transition.RESOLVED))
        left = running.wait_for(0)
        resolved = next(r.json() for r in receiver.wait_for(2) if r.json()["status"] == "resolved")

    assert opened["labels"]["team_name"] == "shöp"
    assert (firing["status"], firing["alerts"][0]["labels"]) == ("firing", opened["labels"])
    assert opened["fingerprint"] == worsened["fingerprint"]
    assert worsened["annotations"]["severity"] == "critical"
    assert abs(seconds_after(worsened["startsAt"], quick.now_s) + 3600) < 1
    assert left == []
    assert resolved["alerts"][0]["labels"] == opened["labels"]


@needs_alertmanager
def test_what_is_told_again_stays_and_what_is_not_ends_by_itself(receiver: Receiver, tmp_path: Path) -> None:
    with Alertmanager(tmp_path, receiver.url) as running:
        quick = Quick(running.url)
        kept = quick.alert(incident_id="kept", service="kept")
        quick.channel.send(kept)
        quick.channel.send(quick.alert(incident_id="left", service="left"))
        both = running.alerts()
        (stays,) = running.wait_for(1, meanwhile=lambda: quick.channel.refresh([kept]))

    lasted = datetime.fromisoformat(stays["endsAt"]) - datetime.fromisoformat(
        next(one["endsAt"] for one in both if one["labels"]["service"] == "left")
    )
    assert stays["labels"]["service"] == "kept"
    assert lasted > timedelta(seconds=1)


@needs_alertmanager
def test_a_peer_that_was_down_has_the_alert_after_the_next_refresh(
    receiver: Receiver, tmp_path: Path
) -> None:
    with Alertmanager(tmp_path / "one", receiver.url) as one:
        with Alertmanager(tmp_path / "two", receiver.url) as two:
            quick = Quick(one.url, two.url)
            quick.channel.refresh_every_s = 60.0
            quick.channel.send(quick.alert())
            fingerprints = {peer.alerts()[0]["fingerprint"] for peer in (one, two)}
        quick.channel.send(quick.alert(transition=Transition.WORSENED))
        (only,) = one.alerts()

        with Alertmanager(tmp_path / "two", receiver.url) as again:
            moved = made(one.url, again.url, clock=SystemClock())
            assert again.alerts() == []
            moved.refresh([quick.alert(transition=Transition.WORSENED)])
            (healed,) = again.alerts()

    assert fingerprints == {only["fingerprint"], healed["fingerprint"]}
