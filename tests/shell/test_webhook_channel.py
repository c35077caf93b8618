"""The webhook against a real receiver: what proves that a request is ours, by the documented check too."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import WALL_S, alert, later
from channel_cases import PATIENT, failure_of
from fakes import FakeClock
from receiver import Receiver, Request

from agent.alerts.channels import build
from agent.alerts.message import document
from agent.alerts.notes import MemoryNotes
from agent.alerts.webhook import WebhookOptions
from agent.model import Transition
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.alerts.base import Channel

DOCUMENT = Path(__file__).parents[2] / "docs" / "channels.md"
SECRET = "s3cret ünd more"


def sender(url: str, secret: str | None = SECRET, **headers: str) -> Channel:
    own = {name.replace("_", "-"): Secret(value) for name, value in headers.items()}
    options = WebhookOptions(Secret(url), Secret(secret) if secret else None, own, PATIENT)
    return build("webhook", options, FakeClock(), MemoryNotes())


def received(**options: str | None) -> Request:
    with Receiver() as receiver:
        sender(receiver.url, **options).send(alert())  # type: ignore[arg-type]
        (request,) = receiver.requests
        return request


def documented_check() -> Callable[..., bool]:
    """The function that docs/channels.md gives to receivers."""
    (code,) = re.findall(r"```python\n(.*?def is_from_leakwatch.*?)```", DOCUMENT.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the document is ours
    check: Callable[..., bool] = names["is_from_leakwatch"]
    return check


def test_a_request_carries_the_document_and_its_keys() -> None:
    request = received()

    assert request.json() == document(alert())
    assert request.headers["X-Leakwatch-Delivery"] == "7f3a9c21/1"
    assert request.headers["X-Leakwatch-Dedup-Key"] == "leakwatch-7f3a9c21"
    assert request.headers["X-Leakwatch-Timestamp"] == f"{WALL_S:.0f}"


def test_the_signature_is_of_the_time_and_the_body() -> None:
    request = received()

    signed = f"{WALL_S:.0f}.".encode() + request.body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert request.headers["X-Leakwatch-Signature"] == f"sha256={digest}"


def test_the_documented_check_accepts_what_is_ours_and_nothing_else() -> None:
    request, check = received(), documented_check()
    changed = json.dumps(request.json() | {"severity": "warning"}).encode()

    assert check(request.headers, request.body, SECRET, WALL_S + 60)
    assert not check(request.headers, changed, SECRET, WALL_S + 60)
    assert not check(request.headers, request.body, "another", WALL_S + 60)
    assert not check(request.headers, request.body, SECRET, WALL_S + 3600)
    assert not check(received(secret=None).headers, request.body, SECRET, WALL_S)


def test_without_a_secret_nothing_is_signed() -> None:
    assert received(secret=None).headers["X-Leakwatch-Signature"] is None


def test_headers_of_ones_own_are_sent() -> None:
    request = received(Authorization="Bearer abc", X_Team="shop")

    assert (request.headers["Authorization"], request.headers["X-Team"]) == ("Bearer abc", "shop")


def test_deliveries_differ_and_share_the_key_of_their_incident() -> None:
    with Receiver() as receiver:
        for told in (alert(), later(2, Transition.RESOLVED), alert()):
            sender(receiver.url).send(told)
        headers = [request.headers for request in receiver.requests]

    assert [h["X-Leakwatch-Delivery"] for h in headers] == ["7f3a9c21/1", "7f3a9c21/2", "7f3a9c21/1"]
    assert {h["X-Leakwatch-Dedup-Key"] for h in headers} == {"leakwatch-7f3a9c21"}


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "the receiver wants other credentials, check secret and headers"),
        (404, "nothing listens at this path, check url"),
        (413, "the receiver must take bodies of 256 KiB"),
    ],
)
def test_a_refusal_says_what_to_check(status: int, advice: str) -> None:
    with Receiver() as receiver:
        receiver.respond_with(status)

        assert str(failure_of(sender(receiver.url))).endswith(f": {advice}")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"x-leakwatch-signature": "sha256=0"},
        {"Host": "other"},
        {"two words": "x"},
        {"": "x"},
        {"X-Note": ""},
        {"X-Note": "a\r\nX-Other: b"},
        {"X-Note": "é"},
    ],
)
def test_a_header_that_http_or_leakwatch_does_not_allow_is_a_mistake(headers: dict[str, str]) -> None:
    check = WebhookOptions.__dataclass_fields__["headers"].metadata["option"].check

    assert check({name: Secret(value) for name, value in headers.items()}) is not None
    assert check({"X-Note": Secret("a b"), "Authorization": Secret("Bearer x")}) is None
