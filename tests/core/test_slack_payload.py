"""Slack's message: within the limits of Block Kit, and unable to mention anybody."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from alert_samples import EVIDENCE, alert, later
from alert_strategies import ALERTS
from hypothesis import given, settings
from slack_sdk.models.blocks import Block

from agent.alerts.slack import SlackOptions
from agent.alerts.slack_blocks import escaped, payload, reply
from agent.model import Alert, Event, Evidence, Reason, State, Transition
from agent.secret import Secret

MENTION = re.compile(r"[<>]|&(?!(amp|lt|gt);)")
"""What Slack would read as a mention, a link or half an escape."""


def texts(message: dict[str, Any]) -> list[str]:
    found = [message["text"]]
    for block in message["blocks"]:
        buttons = [element["text"] for element in block.get("elements", []) if element["type"] == "button"]
        plain = [element for element in block.get("elements", []) if element["type"] != "button"]
        holders = [block.get("text"), *block.get("fields", []), *plain, *buttons]
        found += [holder["text"] for holder in holders if holder]
    return found


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["blocks"]]


def test_the_header_is_the_first_line_with_the_colour_of_the_severity() -> None:
    message = payload(alert())

    line = "api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h (host web-3)"
    assert message["text"] == line
    assert message["blocks"][0]["text"]["text"] == f":red_circle: {line}"


@pytest.mark.parametrize(
    ("told", "sign"),
    [
        (alert(severity=State.WARNING), ":large_yellow_circle:"),
        (later(2, Transition.WORSENED), ":red_circle:"),
        (later(3, Transition.RESOLVED), ":large_green_circle:"),
        (later(3, Transition.GONE), ":white_circle:"),
    ],
    ids=str,
)
def test_the_sign_tells_the_state(told: Alert, sign: str) -> None:
    assert payload(told)["blocks"][0]["text"]["text"].startswith(f"{sign} ")


def test_everything_of_the_alert_is_told() -> None:
    whole = "\n".join(texts(payload(alert(evidence=EVIDENCE, note="above 10 MB/h for 47m"))))

    for piece in (
        "24 MB/h (21 MB/h to 27 MB/h)", "44.8% of 1 GB", "gunicorn, pids 4211, 4212", EVIDENCE.directory,
        "for: floors rose 9 of 10 blocks", "top stack: handlers.remember:88", "docs/guide.md#runbook-heap",
        "Incident: 7f3a9c21", "above 10 MB/h for 47m", "team=shop",
    ):  # fmt: skip
        assert piece in whole


def test_a_name_mentions_nobody() -> None:
    message = payload(alert(service="<!channel>", process="<@U123>", command="a && b <https://x|y>"))

    assert message["text"].startswith("&lt;!channel&gt; leaks")
    assert not [text for text in texts(message) if MENTION.search(text)]


def test_an_empty_section_is_left_out() -> None:
    assert kinds(payload(later(2, Transition.RESOLVED, reasons=()))) == ["header", "section", "context"]


def test_links_are_buttons_that_lead_to_the_runbook_and_the_page() -> None:
    told = alert(runbook_url="https://wiki.example/guide", page_url="https://web-3.example/")
    (actions,) = [block for block in payload(told)["blocks"] if block["type"] == "actions"]

    assert [(button["text"]["text"], button["url"]) for button in actions["elements"]] == [
        ("Runbook", "https://wiki.example/guide#runbook-heap"),
        ("Page", "https://web-3.example/"),
    ]
    assert "actions" not in kinds(payload(alert()))


def test_an_alert_with_a_headline_is_a_list_without_figures() -> None:
    items = ("api leaks 24 MB/h", "worker leaks 3 MB/h")
    told = alert(
        event=Event.STORM, headline="12 services leak", items=items, reasons=(), command="", labels={}
    )
    message = payload(told)

    assert message["blocks"][0]["text"]["text"] == ":red_circle: 12 services leak (host web-3)"
    assert [block["text"]["text"] for block in message["blocks"][2:3]] == [
        "*Incidents*\n• api leaks 24 MB/h\n• worker leaks 3 MB/h"
    ]
    assert "Growth rate" not in json.dumps(message)


def test_a_change_is_no_alarm() -> None:
    told = alert(event=Event.CHANGE, headline="api was restarted", severity=State.WARNING, reasons=())

    assert payload(told)["blocks"][0]["text"]["text"].startswith(":large_blue_circle: api was restarted")
    assert kinds(payload(told)) == ["header", "context"]


def test_a_reply_tells_the_transition_and_why() -> None:
    told = later(2, Transition.WORSENED, note="warning to critical after 1h & <more>")

    assert reply(told) == (
        ":red_circle: Now critical: api leaks 24 MB/h: 448 MB of 1 GB, full in about 23 h (host web-3)\n"
        "warning to critical after 1h &amp; &lt;more&gt;"
    )


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("a&b", 7, "a&amp;b"),
        ("a&b", 6, "a…"),
        ("&&&", 11, "&amp;&amp;…"),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
    ],
)
def test_cutting_never_splits_an_escape(text: str, limit: int, cut: str) -> None:
    assert escaped(text, limit) == cut


@given(ALERTS)
@settings(max_examples=60)
def test_any_alert_fits_into_block_kit(any_alert: Alert) -> None:
    message = payload(any_alert)
    blocks = message["blocks"]

    json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    assert len(json.dumps(blocks, ensure_ascii=False)) < 12_000
    assert len(blocks) <= 50
    assert len(blocks[0]["text"]["text"]) <= 150
    assert all(len(block.get("fields", ())) <= 10 for block in blocks)
    assert all(0 < len(text) <= 2000 for text in texts(message))
    assert not [text for text in [*texts(message), reply(any_alert)] if MENTION.search(text)]
    for block in Block.parse_all(blocks):
        block.validate_json()
    assert [type(block).type for block in Block.parse_all(blocks)] == kinds(message)


@pytest.mark.parametrize("char", ['"', "\\", "&", "\x00", "\ud800", "\U0001f600"])
def test_the_longest_alert_fits_into_block_kit(char: str) -> None:
    long = char * 5000
    evidence = Evidence(long, (long,) * 20, (long,) * 20, ())
    told = alert(
        service=long, host=long, process=long, command=long, limit_source=long, note=long,
        labels={long: long}, reasons=(Reason(long, passed=True, text=long),) * 20, evidence=evidence,
    )  # fmt: skip

    assert len(json.dumps(payload(told)["blocks"], ensure_ascii=False)) < 12_000


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", True),
        ("http://127.0.0.1:8080/hook", True),
        ("http://localhost/hook", True),
        ("http://[::1]:8080/hook", True),
        ("http://hooks.slack.com/services/T0/B0/x", False),
        ("hooks.slack.com/services/T0/B0/x", False),
        ("https://", False),
        ("https://host:99999/x", False),
        ("https://[::1/x", False),
        ("https://host/a b", False),
        ("", False),
    ],
)
def test_a_webhook_is_https_or_loopback(url: str, accepted: bool) -> None:  # noqa: FBT001 - a table
    check = SlackOptions.__dataclass_fields__["webhook_url"].metadata["option"].check

    expected = None if accepted else "an https URL (http only to loopback)"
    assert check(Secret(url)) == expected
