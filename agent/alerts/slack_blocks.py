"""What a Slack message says: Block Kit blocks within Slack's limits that can mention nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.alerts.phrases import line
from agent.alerts.wording import background, facts, first_line, links, sections
from agent.model import Event, State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.wording import Section
    from agent.model import Alert

# https://docs.slack.dev/reference/block-kit/blocks; a message of more than about 13,200 characters of
# blocks is refused as msg_blocks_too_long (slackapi/bolt-js#2509). Ours stay below 12,000 even when
# every character has to be escaped once more for JSON.
MAX_HEADER_CHARS = 150
MAX_FIELD_CHARS = 220
MAX_FIELDS = 10
MAX_SECTION_CHARS = 1200
MAX_TEXT_CHARS = 600
MAX_URL_CHARS = 500
"""Slack takes 3,000; a longer address of ours is a mistake, and two of them would not fit."""

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""https://docs.slack.dev/messaging/formatting-message-text: these three open mentions and links."""
_SIGNS: dict[Transition | Event | State, str] = {
    Transition.RESOLVED: ":large_green_circle:",
    Transition.GONE: ":white_circle:",
    Event.CHANGE: ":large_blue_circle:",
    State.WARNING: ":large_yellow_circle:",
    State.CRITICAL: ":red_circle:",
}


def payload(alert: Alert) -> dict[str, Any]:
    """Return the message: a header, the facts, the lists, links as buttons, and the ids."""
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": _header(alert), "emoji": True}},
        *_note(alert),
        *_fields(alert),
        *(block for section in sections(alert) for block in _list(section)),
        *_buttons(alert),
        {"type": "context", "elements": [_mrkdwn(_ids(alert))]},
    ]
    return {"text": escaped(first_line(alert), MAX_TEXT_CHARS), "blocks": blocks}


def reply(alert: Alert) -> str:
    """Return one transition as a line of the story, with why it happened below."""
    told = [f"{_sign(alert)} {escaped(first_line(alert), MAX_TEXT_CHARS)}"]
    return "\n".join([*told, escaped(line(alert.note), MAX_TEXT_CHARS)] if alert.note else told)


def escaped(text: str, limit_chars: int) -> str:
    """Return text that can mention nobody, cut between characters and never inside an escape."""
    pieces = [_ESCAPES.get(char, char) for char in text]
    if sum(map(len, pieces)) <= limit_chars:
        return "".join(pieces)
    length = 0
    for kept, piece in enumerate(pieces):
        length += len(piece)
        if length > limit_chars - 1:
            return "".join(pieces[:kept]) + "…"
    return "".join(pieces)


def _sign(alert: Alert) -> str:
    found = (_SIGNS.get(key) for key in (alert.transition, alert.event, alert.severity))
    return next(filter(None, found), ":white_circle:")


def _header(alert: Alert) -> str:
    sign = _sign(alert)
    return f"{sign} {escaped(first_line(alert), MAX_HEADER_CHARS - len(sign) - 1)}"


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _note(alert: Alert) -> Iterator[dict[str, Any]]:
    """Return what happened, where that is not the opening's own news."""
    if alert.note:
        yield {"type": "section", "text": _mrkdwn(escaped(line(alert.note), MAX_FIELD_CHARS))}


def _fields(alert: Alert) -> Iterator[dict[str, Any]]:
    told = [f"*{fact.label}*\n{escaped(fact.value, MAX_FIELD_CHARS)}" for fact in facts(alert)]
    if told:
        yield {"type": "section", "fields": [_mrkdwn(text) for text in told[:MAX_FIELDS]]}


def _list(section: Section) -> Iterator[dict[str, Any]]:
    text = "\n".join(f"• {text}" for text in section.lines)
    yield {"type": "section", "text": _mrkdwn(f"*{section.title}*\n{escaped(text, MAX_SECTION_CHARS)}")}


def _buttons(alert: Alert) -> Iterator[dict[str, Any]]:
    """Return links as buttons: they open in the browser, so that no app has to answer them."""
    buttons = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": link.text},
            "url": link.address,
            "action_id": f"leakwatch-{link.text.lower()}",
        }
        for link in links(alert)
        if len(link.address) <= MAX_URL_CHARS
    ]
    if buttons:
        yield {"type": "actions", "elements": buttons}


def _ids(alert: Alert) -> str:
    told = [f"{fact.label}: {fact.value}" for fact in background(alert) if fact.label != "Why now"]
    return escaped(" | ".join(told), MAX_TEXT_CHARS)
