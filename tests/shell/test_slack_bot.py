"""Slack's bot over real sockets: one message an incident, its story in the thread, no message twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import WALL_S, alert, later
from channel_cases import QUICK, full_text
from fakes import FakeClock
from receiver import Receiver
from slack_server import CHANNEL_ID, TOKEN, SlackServer

from agent.alerts.base import DeliveryError
from agent.alerts.channels import build
from agent.alerts.notes import MemoryNotes
from agent.alerts.slack import SlackOptions
from agent.alerts.slack_api import SlackError
from agent.model import Alert, Event, Transition
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.base import Channel, Notes

COURSE = tuple((WALL_S - 600.0 * (20 - i), 400e6 + i * 4e6) for i in range(21))


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


def bot(slack: SlackServer, notes: Notes | None = None, channel: str = CHANNEL_ID) -> Channel:
    return build("slack", slack.options(channel), FakeClock(), notes or MemoryNotes())


def life() -> list[Alert]:
    """An incident from its opening to its end."""
    return [
        alert(),
        later(2, Transition.WORSENED, note="warning to critical after 1h"),
        later(3, Transition.ACKNOWLEDGED),
        later(4, Transition.RESOLVED),
    ]


def refused(sender: Channel, told: Alert) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sender.send(told)
    return caught.value


def test_an_incident_is_one_message_that_changes_and_a_thread_that_tells_its_story(
    slack: SlackServer,
) -> None:
    sender = bot(slack)
    for told in life():
        sender.send(told)
    (message,) = slack.messages

    assert message.edits == 3
    assert message.text.startswith("Resolved after 5 h 30 min: api no longer leaks")
    assert message.blocks[0]["text"]["text"].startswith(":large_green_circle: Resolved")
    assert [
        (reply.text.splitlines()[0].split(":")[1], reply.broadcast) for reply in slack.replies(message)
    ] == [
        ("red_circle", False),
        ("red_circle", True),
        ("red_circle", False),
        ("large_green_circle", False),
    ]
    assert slack.replies(message)[1].text.endswith("\nwarning to critical after 1h")


def test_another_incident_is_another_message(slack: SlackServer) -> None:
    sender = bot(slack)
    for told in (alert(), alert(incident_id="0badcafe", service="worker")):
        sender.send(told)

    assert [message.text.split()[0] for message in slack.messages] == ["api", "worker"]


def test_a_bot_that_was_started_again_goes_on_with_its_message(slack: SlackServer) -> None:
    notes = MemoryNotes()
    for told in life():
        bot(slack, notes).send(told)

    assert [message.edits for message in slack.messages] == [3]


def test_the_picture_lies_in_the_thread_of_its_message(slack: SlackServer) -> None:
    sender = bot(slack)
    sender.send(alert(course=COURSE))
    sender.send(alert(course=COURSE))
    (file,) = slack.files.values()

    assert file.content.startswith(b"\x89PNG")
    assert (file.name, file.thread_ts) == ("growth.png", slack.messages[0].ts)
    assert file.title.startswith("api leaks 24 MB/h")


@pytest.mark.parametrize("step", ["files.getUploadURLExternal", "files.completeUploadExternal"])
def test_an_alert_does_not_fail_with_its_picture(
    slack: SlackServer, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sender = bot(slack)
    for number in (1, 2):
        slack.fail(step, "missing_scope", more={"needed": "files:write"})
        sender.send(alert(sequence=number, course=COURSE))

    assert len(slack.messages) == 1
    (record,) = [record for record in caplog.records if record.message == "refused"]
    assert "missing_scope, needs files:write" in record.pairs["why"]  # type: ignore[attr-defined]


def test_a_notice_is_one_message_whose_thread_tells_what_came_later(slack: SlackServer) -> None:
    sender, notice = bot(slack), {"event": Event.STORM, "items": ("api", "worker")}
    sender.send(alert(headline="12 services leak", **notice))
    assert [message.text for message in slack.every] == ["12 services leak (host web-3)"]

    sender.send(later(2, Transition.UPDATED, headline="14 services leak", **notice))
    assert [message.text for message in slack.messages] == ["14 services leak (host web-3)"]
    assert [reply.text for reply in slack.replies(slack.messages[0])] == [
        ":red_circle: 14 services leak (host web-3)"
    ]


def test_the_channel_may_be_given_by_its_name(slack: SlackServer) -> None:
    sender = bot(slack, channel="#alerts")
    for told in life():
        sender.send(told)

    assert [message.edits for message in slack.messages] == [3]


def test_a_message_that_somebody_deleted_is_posted_again(slack: SlackServer) -> None:
    sender = bot(slack)
    sender.send(alert())
    slack.every.clear()
    sender.send(later(2, Transition.REMINDED))

    assert [message.text.split(":")[0] for message in slack.messages] == ["Still, after 3 h 30 min"]
    assert len(slack.replies(slack.messages[0])) == 1


def test_messages_go_to_the_new_channel_when_the_configuration_changes(slack: SlackServer) -> None:
    notes = MemoryNotes()
    bot(slack, notes, channel="#alerts").send(alert())
    bot(slack, notes).send(later(2, Transition.REMINDED))

    assert len(slack.messages) == 2


@pytest.mark.parametrize("call", [1, 2])
def test_an_answer_that_is_lost_does_not_double_the_message(slack: SlackServer, call: int) -> None:
    sender = bot(slack)
    if call == 2:
        slack.fail("chat.postMessage")
    slack.fail("chat.postMessage", lost=True)
    error = refused(sender, alert())
    sender.send(alert())

    assert not error.permanent
    assert (len(slack.messages), len(slack.replies(slack.messages[0]))) == (1, 1)


def test_what_was_lost_is_found_among_many_messages(slack: SlackServer) -> None:
    sender = bot(slack)
    for number in range(25):
        sender.send(alert(incident_id=f"{number:08}", headline="noise"))
    slack.fail("chat.postMessage", lost=True)
    refused(sender, alert())
    sender.send(alert())

    assert len(slack.messages) == 26


@pytest.mark.parametrize("case", ["no scope", "by name"])
def test_what_cannot_be_looked_for_is_rather_told_twice_than_lost(case: str) -> None:
    scopes = "chat:write" if case == "no scope" else "chat:write,channels:history"
    with SlackServer(scopes) as slack:
        sender = bot(slack, channel="alerts" if case == "by name" else CHANNEL_ID)
        slack.fail("chat.postMessage", lost=True)
        refused(sender, alert())
        sender.send(alert())

        assert len(slack.messages) == 2


def test_a_search_that_fails_for_now_is_tried_later(slack: SlackServer) -> None:
    sender = bot(slack)
    slack.fail("chat.postMessage", lost=True)
    refused(sender, alert())
    slack.fail("conversations.history", "internal_error")
    assert not refused(sender, alert()).permanent
    sender.send(alert())

    assert len(slack.messages) == 1


def test_a_clear_no_needs_no_search(slack: SlackServer) -> None:
    sender = bot(slack)
    slack.fail("chat.postMessage", "ratelimited", headers={"Retry-After": "7"})
    error = refused(sender, alert())
    slack.fail("chat.postMessage", "is_archived")
    refused(sender, alert())
    sender.send(alert())

    assert error.retry_after_s == 7.0
    assert "conversations.history" not in slack.calls
    assert len(slack.messages) == 1


@pytest.mark.parametrize("word", ["invalid_blocks", "msg_blocks_too_long"])
def test_blocks_that_slack_refuses_are_left_out(slack: SlackServer, word: str) -> None:
    slack.fail("chat.postMessage", word)
    bot(slack).send(alert())

    assert (slack.messages[0].blocks, slack.messages[0].text[:9]) == ([], "api leaks")


@pytest.mark.parametrize(
    ("word", "permanent", "advice"),
    [
        ("invalid_auth", True, "check token"),
        ("token_revoked", True, "make a new token"),
        ("channel_not_found", True, "check channel"),
        ("not_in_channel", True, "invite the app"),
        ("is_archived", True, "give another one"),
        ("msg_too_long", True, "(msg_too_long)"),
        ("restricted_action", True, "(restricted_action)"),
        ("ratelimited", False, "(ratelimited)"),
        ("internal_error", False, "(internal_error)"),
        ("fatal_error", False, "(fatal_error)"),
        ("service_unavailable", False, "(service_unavailable)"),
        ("request_timeout", False, "(request_timeout)"),
    ],
)
def test_an_error_says_whether_trying_again_helps_and_what_to_do(
    slack: SlackServer,
    word: str,
    permanent: bool,  # noqa: FBT001 - a table
    advice: str,
) -> None:
    slack.fail("chat.postMessage", word)
    error = refused(bot(slack), alert())

    assert isinstance(error, SlackError)
    assert (error.permanent, error.word) == (permanent, word)
    assert f"127.0.0.1:{slack.port} refused chat.postMessage ({word})" in str(error)
    assert advice in str(error)


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"ok": 1}', b'{"error": 7}'])
def test_an_answer_that_is_none_of_slacks_is_no_delivery(body: bytes) -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "application/json"}, body)
        options = SlackOptions(token=Secret(TOKEN), channel=CHANNEL_ID, api_url=receiver.url)
        refused(build("slack", options, FakeClock(), MemoryNotes()), alert())


def misbehave(receiver: Receiver, how: str) -> None:
    answers: dict[str, Any] = {
        "echo": (200, {"Content-Type": "application/json"}, b'{"ok": false, "error": "%s"}' % TOKEN.encode()),
        "401": (401, {"X-Echo": TOKEN}, TOKEN.encode()),
        "redirect": (302, {"Location": f"{receiver.url}/{TOKEN}"}, b""),
    }
    if how == "reset":
        receiver.reset()
    elif how == "hang":
        receiver.hang()
    else:
        receiver.respond_with(*answers[how])


@pytest.mark.parametrize("how", ["echo", "401", "redirect", "reset", "hang"])
def test_the_token_is_never_told(how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Receiver() as receiver:
        misbehave(receiver, how)
        options = SlackOptions(token=Secret(TOKEN), channel=CHANNEL_ID, api_url=receiver.url, http=QUICK)
        sender = build("slack", options, FakeClock(), MemoryNotes())
        error = refused(sender, alert())

    told = full_text(error) + caplog.text + repr(sender) + repr(options)
    assert "botTokenSecret" not in told
    assert "127.0.0.1" in str(error)


def test_notes_hold_no_secret_and_what_is_broken_is_begun_anew(slack: SlackServer) -> None:
    notes = MemoryNotes()
    bot(slack, notes).send(alert())
    note = notes.read("slack", alert().incident_id)
    assert TOKEN not in str(note)
    assert note["ts"] == slack.messages[0].ts

    notes.write("slack", alert().incident_id, {"made": "by another version"})
    bot(slack, notes).send(later(2, Transition.REMINDED))
    assert len(slack.messages) == 2
