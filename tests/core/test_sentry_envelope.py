"""Sentry's envelope: read back by Sentry's own parser, grouped by service and kind, the same on a retry."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from alert_samples import EVIDENCE, WALL_S, alert, later
from alert_strategies import ALERTS
from hypothesis import given, settings
from sentry_sdk.envelope import Envelope

from agent.alerts.attachments import Attachment
from agent.alerts.sentry import SentryOptions, event_id, payload
from agent.alerts.sentry_checkins import check_in
from agent.alerts.sentry_envelope import Dsn, Quiet, check_in_envelope, envelope, quiet
from agent.model import Alert, Event, Instant, State, Subject, Transition
from agent.secret import Secret

OPTIONS = SentryOptions(Secret("https://key@sentry.example/7"), environment="production", release="api@2.4.1")
SENT_AT = "2027-01-15T08:00:01.000000Z"


def parsed(told: Alert, *files: Attachment) -> Envelope:
    return Envelope.deserialize(gzip.decompress(envelope(payload(told, OPTIONS), SENT_AT, files)))


def event_of(told: Alert) -> dict[str, Any]:
    found = parsed(told).get_event()
    assert found is not None
    return dict(found)


def test_sentrys_own_parser_finds_the_event_and_its_attachments() -> None:
    binary = bytes(range(256)) + b"\n\n{}"
    read = parsed(alert(), Attachment("py-spy.json", b"[]"), Attachment("heap.bin", binary))
    event, first, second = read.items

    assert read.headers == {"event_id": event_id(alert()), "sent_at": SENT_AT}
    assert event.type == "event"
    assert (first.headers["filename"], first.headers["content_type"]) == ("py-spy.json", "application/json")
    assert (first.get_bytes(), second.get_bytes()) == (b"[]", binary)


def test_the_event_says_what_happened_where() -> None:
    event = event_of(alert(evidence=EVIDENCE))

    line = "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h (host web-3)"
    assert event["logentry"]["formatted"] == line
    assert event["fingerprint"] == ["leakwatch", "api", "heap"]
    assert (event["server_name"], event["environment"], event["release"]) == (
        "web-3",
        "production",
        "api@2.4.1",
    )
    assert event["tags"]["team"] == "shop"
    assert event["tags"]["incident"] == "7f3a9c21"
    assert event["contexts"]["leak"]["percent_of_limit"] == 44.8
    assert event["extra"]["Findings"] == [*EVIDENCE.gist, "not taken: native frames: not asked for"]


def test_every_transition_of_a_service_and_kind_is_one_group() -> None:
    groups = {tuple(event_of(later(i, t))["fingerprint"]) for i, t in enumerate(Transition, 1)}

    assert groups == {("leakwatch", "api", "heap")}
    assert event_of(alert(subject=Subject.FDS))["fingerprint"] == ["leakwatch", "api", "fds"]


def test_a_drill_joins_no_real_group() -> None:
    assert event_of(alert(drill=True))["fingerprint"] == ["leakwatch", "api", "heap", "drill"]


@pytest.mark.parametrize(
    ("told", "level"),
    [
        (alert(severity=State.CRITICAL), "error"),
        (alert(severity=State.WARNING), "warning"),
        (later(2, Transition.RESOLVED), "info"),
        (later(2, Transition.GONE), "info"),
    ],
    ids=str,
)
def test_the_level_follows_the_severity(told: Alert, level: str) -> None:
    assert event_of(told)["level"] == level


def test_a_retry_has_the_same_id_and_the_next_transition_another() -> None:
    assert event_id(alert()) == event_id(alert(note="taken again", evidence=EVIDENCE))
    assert event_id(alert()) != event_id(later(2, Transition.REMINDED))
    assert len(event_id(alert())) == 32


def test_labels_never_replace_the_tags_of_the_alert() -> None:
    tags = event_of(alert(labels={"service": "fake", "a b/c": "x\ny", "empty": "", "long": "v" * 500}))[
        "tags"
    ]

    assert tags["service"] == "api"
    assert tags["a_b_c"] == "x\\x0ay"
    assert "empty" not in tags
    assert len(tags["long"]) == 199


@pytest.mark.parametrize(
    ("configured", "labels", "release"),
    [
        ("api@2.4.1", {"release": "9"}, "api@2.4.1"),
        (None, {"release": "shop@3.0"}, "shop@3.0"),
        (None, {"version": "3.0\n"}, "3.0\\x0a"),
        (None, {}, None),
    ],
)
def test_the_release_is_the_configured_one_else_that_of_the_labels(
    configured: str | None, labels: dict[str, str], release: str | None
) -> None:
    options = replace(OPTIONS, release=configured)

    assert payload(alert(labels=labels), options).get("release") == release


def test_a_notice_is_its_own_group_and_has_no_figures() -> None:
    told = alert(event=Event.STORM, headline="12 services leak", items=("api", "worker"), reasons=())
    event = event_of(told)

    assert event["fingerprint"] == ["leakwatch", "storm"]
    assert event["logentry"]["formatted"] == "12 services leak (host web-3)"
    assert event["extra"]["Items"] == ["api", "worker"]
    assert "leak" not in event["contexts"]
    assert "subject" not in event["tags"]


def test_a_change_is_information() -> None:
    assert event_of(alert(event=Event.CHANGE, headline="api was restarted"))["level"] == "info"


def test_a_check_in_is_read_back_and_makes_its_monitor() -> None:
    body = check_in_envelope(
        check_in(replace(OPTIONS, monitor="leakwatch-web-3"), Instant(1.0, WALL_S)), SENT_AT
    )
    (item,) = Envelope.deserialize(gzip.decompress(body)).items
    told = json.loads(item.get_bytes())

    assert item.type == "check_in"
    assert len(told.pop("check_in_id")) == 32
    assert told == {
        "monitor_slug": "leakwatch-web-3",
        "status": "ok",
        "environment": "production",
        "monitor_config": {
            "schedule": {"type": "interval", "value": 1, "unit": "minute"},
            "checkin_margin": 5,
            "timezone": "UTC",
        },
    }


@pytest.mark.parametrize("slug", ["", "Leakwatch", "a b", "x" * 51, "-a"])
def test_a_slug_is_what_sentry_takes(slug: str) -> None:
    check = SentryOptions.__dataclass_fields__["monitor"].metadata["option"].check

    assert "slug" in check(slug)
    assert check("leakwatch-web_3") is None


@given(ALERTS)
@settings(max_examples=60)
def test_any_alert_is_read_back(any_alert: Alert) -> None:
    event = event_of(any_alert)

    assert len(json.dumps(event)) < 1024 * 1024
    assert event["event_id"] == event_id(any_alert)
    assert all(0 < len(value) < 200 for value in event["tags"].values())
    assert all(0 < len(key) <= 32 for key in event["tags"])


@pytest.mark.parametrize(
    ("text", "url", "public", "secret"),
    [
        ("https://k@o1.ingest.sentry.io/42", "https://o1.ingest.sentry.io/api/42/envelope/", "k", ""),
        ("https://k:s@sentry.example:9000/42", "https://sentry.example:9000/api/42/envelope/", "k", "s"),
        ("https://k@h.example/a/b/42", "https://h.example/a/b/api/42/envelope/", "k", ""),
        ("http://k@127.0.0.1:8000/1", "http://127.0.0.1:8000/api/1/envelope/", "k", ""),
    ],
)
def test_a_dsn_names_the_endpoint(text: str, url: str, public: str, secret: str) -> None:
    assert Dsn.parse(text) == Dsn(url, public, secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://sentry.io/42",
        "https://k@sentry.io/",
        "http://k@sentry.io/1",
        "ftp://k@h/1",
        "https://k@h/1?x=2",
    ],
)
def test_a_wrong_dsn_is_told_by_its_form_only(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a DSN such as") as caught:
        Dsn.parse(text)

    assert "sentry.io" not in str(caught.value)


def test_the_auth_header_carries_the_legacy_secret_where_there_is_one() -> None:
    modern, legacy = Dsn("u", "pub", "").headers(), Dsn("u", "pub", "sec").headers()

    assert modern["X-Sentry-Auth"].startswith("Sentry sentry_version=7, sentry_client=leakwatch/")
    assert modern["X-Sentry-Auth"].endswith(", sentry_key=pub")
    assert legacy["X-Sentry-Auth"].endswith(", sentry_key=pub, sentry_secret=sec")


def test_a_dsn_does_not_print_its_keys() -> None:
    assert "pub" not in repr(Dsn("https://h/api/1/envelope/", "pub", "sec"))


@pytest.mark.parametrize(
    ("header", "limits"),
    [
        ("", Quiet(0, 0)),
        ("60::organization", Quiet(60, 60, 60)),
        ("60:monitor:organization", Quiet(0, 0, 60)),
        ("60:error:key", Quiet(60, 0)),
        ("60:transaction:key, 2700:default;error;security:organization", Quiet(2700, 0)),
        ("10:attachment:key, 5:error:key, 20:error:key", Quiet(20, 10)),
        ("60:transaction;profile:key", Quiet(0, 0)),
        ("999999999999::", Quiet(86_400, 86_400, 86_400)),
        ("soon:error, ², -5:error, 7", Quiet(7, 7, 7)),
    ],
)
def test_rate_limits_are_read_by_category(header: str, limits: Quiet) -> None:
    assert quiet(header) == limits
