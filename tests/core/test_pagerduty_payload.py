"""PagerDuty's events: trigger and resolve under one key, within 512,000 bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from alert_samples import EVIDENCE, alert, later
from alert_strategies import ALERTS
from hypothesis import given, settings

from agent.alerts.pagerduty import MAX_EVENT_BYTES, PagerDutyChannel, PagerDutyOptions, encoded, payload
from agent.model import Alert, State, Transition
from agent.secret import Secret

if TYPE_CHECKING:
    from agent.alerts.answers import Response

KEY = "R0123456789ABCDEF0123456789ABCDE"


class Unused:
    """No request belongs into these tests."""

    def post(self, url: Secret | str, body: bytes, headers: dict[str, str]) -> Response:
        raise AssertionError((url, body, headers))


def channel(*severity: str) -> PagerDutyChannel:
    options = PagerDutyOptions(Secret(KEY), severity=severity or ("critical",))
    return PagerDutyChannel("pagerduty", options, Unused())


def test_a_trigger_holds_who_what_and_where() -> None:
    event = payload(alert(evidence=EVIDENCE), client_url="https://grafana.example/leaks")
    told = event["payload"]
    details = told.pop("custom_details")

    assert event == {
        "event_action": "trigger",
        "dedup_key": "leakwatch-7f3a9c21",
        "client": "leakwatch",
        "client_url": "https://grafana.example/leaks",
        "payload": {
            "summary": "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h (host web-3)",
            "source": "web-3",
            "severity": "critical",
            "timestamp": "2027-01-15T08:00:00+00:00",
            "component": "api",
            "group": "leakwatch",
            "class": "heap",
        },
    }
    assert details["Growth rate"] == "24 MB/h (21 MB/h to 27 MB/h)"
    assert details["Figures"]["rate_per_hour"] == 24e6
    assert details["Findings"][0] == EVIDENCE.gist[0]
    assert details["Labels"] == {"team": "shop"}


@pytest.mark.parametrize("transition", Transition)
def test_every_transition_uses_the_key_of_the_first(transition: Transition) -> None:
    event = payload(later(3, transition))

    assert event["event_action"] == ("resolve" if transition.ends else "trigger")
    assert event["dedup_key"] == payload(alert())["dedup_key"]


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (alert(severity=State.CRITICAL), True),
        (alert(severity=State.WARNING), False),
        (alert(severity=State.WARNING, drill=True), True),
        (later(2, Transition.WORSENED), True),
        (later(2, Transition.RESOLVED, severity=State.WARNING), True),
        (later(2, Transition.GONE, severity=State.WARNING), True),
    ],
    ids=str,
)
def test_by_default_only_critical_pages_and_ends_always_pass(told: Alert, wanted: bool) -> None:  # noqa: FBT001
    assert channel().wants(told) is wanted


def test_warnings_page_when_asked_for() -> None:
    assert channel("warning", "critical").wants(alert(severity=State.WARNING))


def test_too_large_an_event_loses_its_details_and_nothing_else() -> None:
    labels = {f"label-{i}": "x" * 500 for i in range(2000)}
    whole = payload(alert(labels=labels))
    body = encoded(whole, KEY)
    sent = json.loads(body)

    assert len(body) <= MAX_EVENT_BYTES
    assert sent["payload"]["custom_details"]["details"].startswith("left out: the event had ")
    assert sent["payload"]["summary"] == whole["payload"]["summary"]
    assert (sent["dedup_key"], sent["routing_key"]) == (whole["dedup_key"], KEY)


@given(ALERTS)
@settings(max_examples=60)
def test_any_alert_is_a_valid_event(any_alert: Alert) -> None:
    body = encoded(payload(any_alert), KEY)
    event = json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    assert len(body) <= MAX_EVENT_BYTES
    assert len(event["dedup_key"]) <= 255
    if event["event_action"] == "trigger":
        assert 0 < len(event["payload"]["summary"]) <= 1024
        assert event["payload"]["source"]
        assert event["payload"]["severity"] in ("critical", "warning")


@pytest.mark.parametrize("key", ["", "short", "R0123456789ABCDEF0123456789ABCD\n", "ü" * 32])
def test_an_integration_key_has_32_letters_and_digits(key: str) -> None:
    check = PagerDutyOptions.__dataclass_fields__["routing_key"].metadata["option"].check

    assert check(Secret(key)) == "an integration key (32 letters and digits)"
    assert check(Secret(KEY)) is None
