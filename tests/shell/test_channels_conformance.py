"""What every channel has to do with every answer, and what none may ever tell: over real sockets."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alert_samples import WALL_S, alert, later
from channel_cases import (
    HTTP,
    HTTP_KINDS,
    LOCAL,
    LOCAL_KINDS,
    QUICK,
    channel,
    failure,
    failure_of,
    full_text,
    huge_alert,
    made_of,
    options_of,
    outcome,
    over,
)
from fakes import FakeClock
from receiver import Receiver

from agent.alerts.answers import Response
from agent.alerts.channels import CHANNEL_OPTIONS
from agent.alerts.delivery import Deliverer
from agent.alerts.outbox import Outbox
from agent.config import Config, effective
from agent.model import Transition

if TYPE_CHECKING:
    from pathlib import Path

    from agent.alerts.base import Channel
    from agent.secret import Secret

SAMPLE_STATUSES = (200, 204, 299, 301, 304, 308, 400, 401, 404, 408, 410, 413, 425, 429, 499, 500, 503, 599)


class Answering:
    """A port that answers every request with one status and the words of success."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def post(self, url: Secret | str, body: bytes, headers: dict[str, str]) -> Response:
        assert url
        assert body
        assert headers
        return Response(self.status, {}, self.body, WALL_S)


def expected_outcome(status: int) -> str:
    if status < 300:
        return "arrived"
    return "retry" if status in (408, 425, 429) or status >= 500 else "permanent"


def test_every_kind_has_a_case() -> None:
    assert sorted([*HTTP, *LOCAL]) == sorted(CHANNEL_OPTIONS)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_every_status_is_arrived_permanent_or_worth_another_try(kind: str) -> None:
    body = HTTP[kind].welcome
    found = {status: outcome(over(kind, Answering(status, body))) for status in range(200, 600)}

    assert found == {status: expected_outcome(status) for status in range(200, 600)}


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_real_answers_mean_the_same(kind: str) -> None:
    found = {}
    with Receiver() as receiver:
        for status in SAMPLE_STATUSES:
            receiver.respond_with(status, body=HTTP[kind].welcome)
            found[status] = outcome(channel(kind, receiver.url))

    assert found == {status: expected_outcome(status) for status in SAMPLE_STATUSES}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "1e12"}, 86_400.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_retry_after_is_honoured(kind: str, headers: dict[str, str], wait_s: float) -> None:
    with Receiver() as receiver:
        receiver.respond_with(503, headers)
        error = failure(kind, receiver.url)

    assert error.retry_after_s in ((None, 0.0) if wait_s == 0.0 else (wait_s,))
    assert not error.permanent


@pytest.mark.parametrize("text", ["soon", "nan", "inf", ""])
def test_a_retry_after_of_nonsense_is_none(text: str) -> None:
    with Receiver() as receiver:
        receiver.respond_with(429, {"Retry-After": text})

        assert failure("slack", receiver.url).retry_after_s is None


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_reset_is_worth_another_try(kind: str) -> None:
    with Receiver() as receiver:
        receiver.reset()
        error = failure(kind, receiver.url)

    assert str(error) == f"127.0.0.1:{receiver.port} cannot be reached: connection reset by peer"
    assert not error.permanent


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_silence_ends_at_the_timeout(kind: str) -> None:
    with Receiver() as receiver:
        receiver.hang()
        error = failure(kind, receiver.url, QUICK)

    assert str(error) == f"no answer from 127.0.0.1:{receiver.port} within 0.2 s"
    assert not error.permanent


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_headers_that_drip_end_at_the_deadline(kind: str) -> None:
    with Receiver() as receiver:
        receiver.drip("headers")
        error = failure(kind, receiver.url, QUICK)

    assert str(error) == f"no complete answer from 127.0.0.1:{receiver.port} within 0.6 s"
    assert not error.permanent


@pytest.mark.parametrize("kind", [kind for kind in HTTP_KINDS if not HTTP[kind].body_decides])
def test_a_body_that_drips_does_not_undo_a_delivery(kind: str) -> None:
    with Receiver() as receiver:
        receiver.drip("body", status=202)

        assert outcome(channel(kind, receiver.url, QUICK)) == "arrived"


def test_a_body_that_drips_does_not_hide_the_status() -> None:
    with Receiver() as receiver:
        receiver.drip("body", status=403)

        assert failure("pagerduty", receiver.url, QUICK).permanent


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_redirects_are_not_followed(kind: str) -> None:
    with Receiver() as elsewhere, Receiver() as receiver:
        receiver.respond_with(307, {"Location": elsewhere.url})
        error = failure(kind, receiver.url)

        assert elsewhere.requests == []
    assert error.permanent
    assert "redirects are not followed" in str(error)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_web_page_is_no_delivery(kind: str) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Log in</html>")
        error = failure(kind, receiver.url)

    assert "with a web page" in str(error)
    assert not error.permanent


def misbehave(receiver: Receiver, how: str, echo: bytes) -> None:
    if how == "echo":
        headers = {"X-Sentry-Error": echo.decode(), "Location": f"{receiver.url}/{echo.decode()}"}
        receiver.respond_with(400, headers, b'{"errors": ["' + echo + b'"], "message": "' + echo + b'"}')
    elif how == "redirect":
        receiver.respond_with(302, {"Location": f"{receiver.url}/{echo.decode()}"})
    elif how == "broken headers":
        receiver.respond_with(500, {"X-Broken\n: y\n no colon": echo.decode()})
    elif how == "hang":
        receiver.hang()
    else:
        receiver.reset()


@pytest.mark.parametrize("how", ["echo", "redirect", "broken headers", "hang", "reset", "closed"])
@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_no_secret_is_ever_told(kind: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver() as receiver:
        misbehave(receiver, how, " ".join(HTTP[kind].secrets).encode())
        url = "http://127.0.0.1:1" if how == "closed" else receiver.url
        error = failure(kind, url, QUICK)

    sender, options = channel(kind, url), options_of(kind, url, QUICK)
    told = full_text(error) + caplog.text + repr(sender) + repr(options) + str(options)
    assert not [secret for secret in HTTP[kind].secrets if secret in told]
    assert "127.0.0.1" in str(error)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_no_secret_is_stored_or_logged_on_the_way(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    case = HTTP[kind]
    with Receiver() as receiver, closing(Outbox(tmp_path / "state.db")) as outbox:
        misbehave(receiver, "echo", " ".join(case.secrets).encode())
        deliver(outbox, channel(kind, receiver.url))
        (parked,) = outbox.parked()
        stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert "127.0.0.1" in parked.last_error
    assert not [secret for secret in case.secrets if secret in caplog.text or secret.encode() in stored]


def deliver(outbox: Outbox, sender: Channel) -> None:
    clock = FakeClock()
    outbox.record_notices([(sender.name, alert())], clock.now())
    Deliverer(outbox, {sender.name: sender}, clock).drain_once(clock.now())


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_no_secret_is_in_the_configuration_as_it_is_shown(kind: str) -> None:
    dump = effective(Config(channels={"ours": options_of(kind, "https://host.example", QUICK)}))

    assert "ours:" in dump
    assert not [secret for secret in HTTP[kind].secrets if secret in dump]


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_a_local_kind_tells_an_alert_twice_under_one_key(kind: str, tmp_path: Path) -> None:
    case = LOCAL[kind]
    with case.working(tmp_path) as (options, arrived):
        for _ in range(2):
            made_of(kind, options).send(alert())
        first, second = arrived()

    assert case.key(first) == case.key(second)


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_the_longest_alert_stays_within_what_a_local_kind_takes(kind: str, tmp_path: Path) -> None:
    case = LOCAL[kind]
    with case.working(tmp_path) as (options, arrived):
        made_of(kind, options).send(huge_alert())
        sizes = [len(payload) for payload in arrived()]

    assert sizes
    assert max(sizes) <= case.max_bytes


@pytest.mark.parametrize("kind", LOCAL_KINDS)
def test_a_local_kind_that_leads_nowhere_is_worth_another_try_and_tells_no_secret(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    case = LOCAL[kind]
    options = case.broken(tmp_path)
    sender = made_of(kind, options)
    error = failure_of(sender)

    dump = effective(Config(channels={"ours": options}))
    told = full_text(error) + caplog.text + repr(sender) + repr(options) + dump
    assert not error.permanent
    assert not [secret for secret in case.secrets if secret in told]


@pytest.mark.parametrize(
    ("kind", "status", "headers", "body", "sentence"),
    [
        (
            "slack", 404, {}, b"no_service",
            "answered 404 Not Found (no_service): the webhook was removed or revoked, make a new one",
        ),
        (
            "pagerduty", 400, {}, b'{"status": "invalid event", "errors": ["\'source\' is missing"]}',
            "answered 400 Bad Request ('source' is missing): PagerDuty does not accept the event, check",
        ),
        ("pagerduty", 400, {}, b'["odd"]', "answered 400 Bad Request: PagerDuty does not accept"),
        (
            "sentry", 403, {"X-Sentry-Error": "bad key"}, b"",
            "answered 403 Forbidden (bad key): the DSN is not accepted, check dsn",
        ),
        ("sentry", 599, {}, b"", "answered 599"),
    ],
)  # fmt: skip
def test_the_receivers_reason_and_the_advice_are_in_the_error(
    kind: str, status: int, headers: dict[str, str], body: bytes, sentence: str
) -> None:
    with Receiver() as receiver:
        receiver.respond_with(status, headers, body)

        assert f"127.0.0.1:{receiver.port} {sentence}" in str(failure(kind, receiver.url))


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_sending_twice_has_the_same_key(kind: str) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, body=HTTP[kind].welcome)
        for _ in range(2):
            channel(kind, receiver.url).send(alert())
        first, second = receiver.wait_for(2)

    assert HTTP[kind].key(first.body) == HTTP[kind].key(second.body)
    assert (first.method, first.path) == (second.method, second.path)


def test_a_resolve_uses_the_key_of_its_trigger() -> None:
    with Receiver() as receiver:
        for told in (alert(), later(2, Transition.REMINDED), later(3, Transition.RESOLVED)):
            channel("pagerduty", receiver.url).send(told)
        events = [request.json() for request in receiver.wait_for(3)]

    assert [event["event_action"] for event in events] == ["trigger", "trigger", "resolve"]
    assert {(event["routing_key"], event["dedup_key"]) for event in events} == {
        (HTTP["pagerduty"].secrets[0], "leakwatch-7f3a9c21")
    }


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_request_goes_where_the_service_expects_it(kind: str) -> None:
    case = HTTP[kind]
    with Receiver() as receiver:
        receiver.respond_with(200, body=case.welcome)
        channel(kind, receiver.url).send(alert())
        request = receiver.requests[0]

    assert (request.method, request.path) == ("POST", case.path)
    assert request.headers["Content-Type"] == case.content_type
    assert request.headers["User-Agent"].startswith("leakwatch/")


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_the_longest_alert_stays_within_what_the_service_takes(kind: str) -> None:
    case = HTTP[kind]
    with Receiver() as receiver:
        receiver.respond_with(200, body=case.welcome)
        channel(kind, receiver.url).send(huge_alert())
        sizes = [case.measure(request.body) for request in receiver.requests]

    assert sizes
    assert max(sizes) <= case.max_bytes


def test_pagerdutys_path_may_stand_in_the_address_already() -> None:
    with Receiver() as receiver:
        channel("pagerduty", f"{receiver.url}/v2/enqueue").send(alert())

        assert receiver.requests[0].path == "/v2/enqueue"
