from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from alert_samples import alert
from receiver import Receiver

from agent.alerts.base import DeliveryError, Refreshing
from agent.alerts.channels import build
from agent.alerts.options import HttpOptions
from agent.alerts.pagerduty import PagerDutyOptions
from agent.alerts.pagerduty_acks import ListeningPagerDuty
from agent.secret import Secret

if TYPE_CHECKING:
    from fakes import FakeClock

    from agent.alerts.outbox import Outbox

TOKEN = "restApiKeySecret"


def listening(url: str, outbox: Outbox, clock: FakeClock) -> ListeningPagerDuty:
    options = PagerDutyOptions(
        Secret("R" * 32), url, http=HttpOptions(timeout_s=2.0), api_token=Secret(TOKEN), api_url=url
    )
    channel = build("pages", options, clock, outbox.notes)
    assert isinstance(channel, ListeningPagerDuty)
    return channel


def answer(*names: str | None, status: str = "acknowledged") -> bytes:
    """Return PagerDuty's list of incidents, with those who acknowledged the only one."""
    given = [{"at": "2026-11-22T10:00:00Z", "acknowledger": name and {"summary": name}} for name in names]
    return json.dumps({"incidents": [{"status": status, "acknowledgements": given}]}).encode()


def test_what_is_acknowledged_there_is_taken_over_once(outbox: Outbox, clock: FakeClock) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "application/json"}, answer("Ann", "Jane\nDoe"))
        channel = listening(receiver.url, outbox, clock)
        channel.refresh([alert()])
        taken, _ = outbox.ledger.inbox()[1], outbox.ledger.forget_acknowledgements([alert().incident_id])
        channel.refresh([alert()])
        (request,) = receiver.requests

    (given,) = taken.values()
    assert taken.keys() == {alert().incident_id}
    assert (given.by, given.why) == ("Jane\\x0aDoe", "acknowledged in pages")
    assert outbox.ledger.inbox()[1] == {}
    asked = urlsplit(request.path)
    assert (request.method, asked.path) == ("GET", "/incidents")
    assert parse_qs(asked.query)["incident_key"] == [alert().dedup_key]
    assert request.headers["Authorization"] == f"Token token={TOKEN}"


@pytest.mark.parametrize(
    "body",
    [b'{"incidents": []}', answer("Ann", status="triggered"), b"no JSON", b"[]", b'{"incidents": [7]}'],
    ids=["nobody", "still triggered", "no JSON", "a list", "numbers"],
)
def test_whatever_else_it_says_acknowledges_nothing(body: bytes, outbox: Outbox, clock: FakeClock) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "application/json"}, body)
        listening(receiver.url, outbox, clock).refresh([alert()])

    assert outbox.ledger.inbox()[1] == {}


def test_somebody_without_a_name_has_acknowledged_all_the_same(outbox: Outbox, clock: FakeClock) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "application/json"}, answer(None))
        listening(receiver.url, outbox, clock).refresh([alert()])

    assert [given.by for given in outbox.ledger.inbox()[1].values()] == ["somebody"]


def test_a_key_that_is_refused_is_said_without_it(outbox: Outbox, clock: FakeClock) -> None:
    with Receiver() as receiver:
        receiver.respond_with(401, {}, TOKEN.encode())
        with pytest.raises(DeliveryError, match="api_token is not accepted") as caught:
            listening(receiver.url, outbox, clock).refresh([alert()])

    assert TOKEN not in str(caught.value) + repr(caught.value)


def test_without_a_key_nothing_is_asked(outbox: Outbox, clock: FakeClock) -> None:
    plain = build("pages", PagerDutyOptions(Secret("R" * 32)), clock, outbox.notes)

    assert not isinstance(plain, Refreshing)
