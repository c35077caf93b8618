"""PagerDuty's events: trigger and resolve under one key, within 512,000 bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from alert_samples import EVIDENCE, alert, later
from alert_strategies import ALERTS
from hypothesis import given, settings

from agent.alerts.answers import Response
from agent.alerts.pagerduty import MAX_EVENT_BYTES, PagerDutyChannel, PagerDutyOptions, encoded, payload
from agent.model import Alert, Event, State, Transition
from agent.secret import Secret

KEY = "R0123456789ABCDEF0123456789ABCDE"
PLAIN = PagerDutyOptions(Secret(KEY))
NOTICE: dict[str, Any] = {
    "headline": "api was restarted with release 2.4.2",
    "items": ("pid 4211 ended", "pid 5000 started"),
    "reasons": (),
    "labels": {},
    "command": "",
}


class Listening:
    """Keeps where requests went."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def post(self, url: Secret | str, body: bytes, headers: dict[str, str]) -> Response:
        assert body
        assert headers
        self.urls.append(url if isinstance(url, str) else url.reveal())
        return Response(202, {}, b"", 0.0)


def channel(*severity: str, **options: Any) -> PagerDutyChannel:
    made = replace(PLAIN, severity=severity or ("critical",), **options)
    return PagerDutyChannel("pagerduty", made, Listening())


def sent_to(told: Alert, **options: Any) -> str:
    port = Listening()
    PagerDutyChannel("pagerduty", replace(PLAIN, **options), port).send(told)
    (url,) = port.urls
    return url


def test_a_trigger_holds_who_what_and_where() -> None:
    event = payload(alert(evidence=EVIDENCE), replace(PLAIN, client_url="https://grafana.example/leaks"))
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
    event = payload(later(3, transition), PLAIN)

    actions = {
        Transition.ACKNOWLEDGED: "acknowledge",
        Transition.RESOLVED: "resolve",
        Transition.GONE: "resolve",
    }
    assert event["event_action"] == actions.get(transition, "trigger")
    assert event["dedup_key"] == payload(alert(), PLAIN)["dedup_key"]


def test_links_and_the_configured_picture_go_with_a_trigger() -> None:
    told = alert(runbook_url="https://wiki.example/guide", page_url="https://web-3.example/")
    event = payload(told, replace(PLAIN, image_url="https://grafana.example/panel.png"))

    assert event["links"] == [
        {"href": "https://wiki.example/guide#runbook-heap", "text": "Runbook"},
        {"href": "https://web-3.example/", "text": "Page"},
    ]
    assert event["client_url"] == "https://web-3.example/"
    assert [image["src"] for image in event["images"]] == ["https://grafana.example/panel.png"]
    assert {"links", "images", "client_url"} & payload(alert(), PLAIN).keys() == set()


def test_our_severity_becomes_pagerdutys_as_mapped() -> None:
    options = replace(PLAIN, severity_map={"warning": "info"})
    told = [
        payload(alert(severity=s), options)["payload"]["severity"] for s in (State.WARNING, State.CRITICAL)
    ]

    assert told == ["info", "critical"]


def test_a_change_is_a_change_event_that_pages_nobody() -> None:
    told = alert(event=Event.CHANGE, **NOTICE)
    event = payload(told, PLAIN)
    details = event["payload"].pop("custom_details")

    assert event == {
        "payload": {
            "summary": "api was restarted with release 2.4.2 (host web-3)",
            "source": "web-3",
            "timestamp": "2027-01-15T08:00:00+00:00",
        }
    }
    assert details == {"Incident": "7f3a9c21", "At": "2027-01-15 08:00 UTC", "Items": list(NOTICE["items"])}
    assert (channel().wants(told), channel(changes=False).wants(told)) == (True, False)


def test_a_storm_pages_with_what_it_lists_and_no_figures() -> None:
    event = payload(alert(event=Event.STORM, **NOTICE), PLAIN)

    assert (event["event_action"], event["payload"]["class"]) == ("trigger", "storm")
    assert event["payload"]["custom_details"]["Items"] == list(NOTICE["items"])
    assert "Figures" not in event["payload"]["custom_details"]


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://events.pagerduty.com/v2/enqueue"),
        ({"region": "eu"}, "https://events.eu.pagerduty.com/v2/enqueue"),
        ({"region": "eu", "url": "http://127.0.0.1:8/"}, "http://127.0.0.1:8/v2/enqueue"),
        ({"url": "http://127.0.0.1:8/v2/enqueue"}, "http://127.0.0.1:8/v2/enqueue"),
    ],
    ids=str,
)
def test_the_region_names_the_host_unless_an_address_is_given(options: dict[str, Any], url: str) -> None:
    assert sent_to(alert(), **options) == url
    assert sent_to(alert(event=Event.CHANGE, **NOTICE), **options) == url.replace("/v2/", "/v2/change/")


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (alert(severity=State.CRITICAL), True),
        (alert(severity=State.WARNING), False),
        (alert(severity=State.WARNING, drill=True), True),
        (later(2, Transition.WORSENED), True),
        (later(2, Transition.UPDATED), True),
        (later(2, Transition.ACKNOWLEDGED, severity=State.WARNING), True),
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
    whole = payload(alert(labels=labels), PLAIN)
    body = encoded(whole, KEY)
    sent = json.loads(body)

    assert len(body) <= MAX_EVENT_BYTES
    assert sent["payload"]["custom_details"]["details"].startswith("left out: the event had ")
    assert sent["payload"]["summary"] == whole["payload"]["summary"]
    assert (sent["dedup_key"], sent["routing_key"]) == (whole["dedup_key"], KEY)


@given(ALERTS)
@settings(max_examples=60)
def test_any_alert_is_a_valid_event(any_alert: Alert) -> None:
    body = encoded(payload(any_alert, PLAIN), KEY)
    event = json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    assert len(body) <= MAX_EVENT_BYTES
    if any_alert.event is not Event.CHANGE:
        assert len(event["dedup_key"]) <= 255
    if "payload" in event:
        assert 0 < len(event["payload"]["summary"]) <= 1024
        assert event["payload"]["source"]
        assert event["payload"].get("severity", "warning") in ("critical", "warning")


@pytest.mark.parametrize("key", ["", "short", "R0123456789ABCDEF0123456789ABCD\n", "ü" * 32])
def test_an_integration_key_has_32_letters_and_digits(key: str) -> None:
    check = PagerDutyOptions.__dataclass_fields__["routing_key"].metadata["option"].check

    assert check(Secret(key)) == "an integration key (32 letters and digits)"
    assert check(Secret(KEY)) is None
