"""The JSON document behind webhook, command, file and journal, held to its published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alert_samples import EVIDENCE, alert, later
from alert_strategies import ALERTS
from channel_cases import huge_alert
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from agent.alerts.message import MAX_DOCUMENT_BYTES, SCHEMA, delivery_id, document, encoded, rfc3339
from agent.model import Alert, Event, Reason, Transition

PUBLISHED = json.loads(Path(__file__).parents[2].joinpath("docs", "alert.schema.json").read_text())
VALIDATOR = Draft202012Validator(PUBLISHED)


def undescribed(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the keys of a document that the schema does not name."""
    named = schema.get("properties")
    if isinstance(value, list):
        return [found for item in value for found in undescribed(item, schema.get("items", {}), path)]
    if not isinstance(value, dict) or named is None:
        return []
    inner = (undescribed(item, named[key], f"{path}.{key}") for key, item in value.items() if key in named)
    return [f"{path}.{key}" for key in value if key not in named] + [
        found for part in inner for found in part
    ]


def test_the_schema_is_a_schema_and_of_the_version_that_is_sent() -> None:
    Draft202012Validator.check_schema(PUBLISHED)

    assert PUBLISHED["properties"]["schema"] == {"const": SCHEMA}


@settings(deadline=None, max_examples=150)
@given(ALERTS)
def test_any_alert_fits_the_schema_and_every_key_of_it_is_described(told: Alert) -> None:
    sent = json.loads(encoded(told))

    assert list(VALIDATOR.iter_errors(sent)) == []
    assert undescribed(sent, PUBLISHED) == []
    assert len(encoded(told)) <= MAX_DOCUMENT_BYTES


def test_the_schema_refuses_what_is_no_alert() -> None:
    sound = document(alert())

    for wrong in ({"schema": 2}, {"transition": "forgotten"}, {"at": "yesterday"}, {"title": "two\nlines"}):
        assert not VALIDATOR.is_valid(sound | wrong), wrong
    assert not VALIDATOR.is_valid({key: value for key, value in sound.items() if key != "delivery"})


def test_the_longest_alert_stays_within_the_published_size() -> None:
    body = encoded(huge_alert())

    assert 50_000 < len(body) <= MAX_DOCUMENT_BYTES
    assert str(MAX_DOCUMENT_BYTES) in PUBLISHED["description"]
    assert list(VALIDATOR.iter_errors(json.loads(body))) == []


def test_a_document_is_one_line() -> None:
    assert b"\n" not in encoded(alert(command="a\nb", labels={"x\ny": "z\n"}))


def test_a_leak_is_told_with_its_figures() -> None:
    told = document(alert(evidence=EVIDENCE, probability=0.97, kind="native"))

    assert (told["delivery"], told["dedup_key"]) == ("7f3a9c21/1", "leakwatch-7f3a9c21")
    assert (told["at"], told["since"]) == ("2027-01-15T08:00:00Z", "2027-01-15T05:30:00Z")
    assert told["process"] | {"command": ""} == {
        "pid": 4211, "pids": [4211, 4212], "name": "gunicorn", "command": "", "young": False,
    }  # fmt: skip
    assert told["labels"] == {"team": "shop"}
    assert told["figures"]["rate_per_hour"] == 24e6
    assert told["figures"]["limit_source"] == "memory.max of /system.slice/api.service"
    assert told["evidence"]["directory"] == EVIDENCE.directory
    assert told["title"] in told["text"]
    assert "Growth rate: 24 MB/h" in told["text"]
    assert "- grew: [heap] +58MB" in told["text"]


def test_reasons_for_a_leak_stand_first() -> None:
    told = document(alert(reasons=(Reason("a", passed=False, text="x"), Reason("b", passed=True, text="y"))))

    assert [(reason["name"], reason["for_leak"]) for reason in told["reasons"]] == [("b", True), ("a", False)]


@pytest.mark.parametrize("transition", list(Transition))
def test_a_document_says_whether_it_ends_the_incident(transition: Transition) -> None:
    told = document(later(2, transition))

    assert (told["transition"], told["ends"]) == (transition, transition in ("resolved", "gone"))


def test_an_alert_about_no_process_lists_what_it_is_about() -> None:
    told = document(
        alert(event=Event.STORM, headline="9 services began to leak", items=("api: 24 MB/h", "web"))
    )

    assert told["title"] == "9 services began to leak (host web-3)"
    assert told["items"] == ["api: 24 MB/h", "web"]
    assert "- api: 24 MB/h" in told["text"]


def test_the_key_of_a_delivery_is_that_of_its_transition_alone() -> None:
    assert delivery_id(alert()) == delivery_id(alert(evidence=EVIDENCE)) == "7f3a9c21/1"
    assert delivery_id(later(2, Transition.RESOLVED)) == "7f3a9c21/2"


def test_the_course_leaves_out_what_json_cannot_say() -> None:
    course = ((1.8e9, 1e8), (1.8e9 + 10, float("nan")), (1.8e9 + 20, float("inf")), (1.8e9 + 30, 2e8))

    assert document(alert(course=course))["course"] == [[1.8e9, 1e8], [1.8e9 + 30, 2e8]]


@pytest.mark.parametrize("wall_s", [float("nan"), float("inf"), 1e18, -1e18])
def test_what_is_no_time_is_told_as_unknown(wall_s: float) -> None:
    assert rfc3339(wall_s) is None
