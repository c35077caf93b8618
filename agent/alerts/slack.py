"""Slack: one Block Kit message a transition, through an incoming webhook."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.alerts.address import url_problem
from agent.alerts.answers import demand_success
from agent.alerts.options import HttpOptions
from agent.alerts.wording import background, facts, findings, first_line, next_step, reasons
from agent.model import State, Transition
from agent.options import option
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.alerts.answers import HttpPort, Response
    from agent.model import Alert

# https://docs.slack.dev/reference/block-kit/blocks; a message of more than about 13,200 characters of
# blocks is refused as msg_blocks_too_long (slackapi/bolt-js#2509). Ours stay below 12,000 even when
# every character has to be escaped once more for JSON.
MAX_HEADER_CHARS = 150
MAX_FIELD_CHARS = 220
MAX_SECTION_CHARS = 1300
MAX_TEXT_CHARS = 600

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
"""https://docs.slack.dev/messaging/formatting-message-text: these three open mentions and links."""
_SIGNS = {
    Transition.RESOLVED: ":large_green_circle:",
    Transition.GONE: ":white_circle:",
    State.WARNING: ":large_yellow_circle:",
    State.CRITICAL: ":red_circle:",
}
_ADVICE = {
    403: "the workspace forbids this webhook to post",
    404: "the webhook was removed or revoked, make a new one",
    410: "the channel is archived, make a webhook for another one",
}
_ERROR_WORD = re.compile(rb"\s*([a-z_]{1,40})\s*")


def _webhook_problem(value: Secret) -> str | None:
    return url_problem(value.reveal())


@dataclass(frozen=True, slots=True)
class SlackOptions:
    """Where the messages go."""

    webhook_url: Secret = option(describe="the incoming webhook's URL", check=_webhook_problem)
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")


class SlackChannel:
    """Posts to one incoming webhook; it cannot change a message, so every transition is a new one."""

    def __init__(self, name: str, options: SlackOptions, http: HttpPort) -> None:
        self.name = name
        self._options = options
        self._http = http

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a channel of people is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Post the message. Raises DeliveryError."""
        body = json.dumps(payload(alert), ensure_ascii=False).encode()
        url = self._options.webhook_url
        response = self._http.post(url, body, {"Content-Type": "application/json; charset=utf-8"})
        demand_success(response, url, saying=_error_word(response), advice=_ADVICE)


def payload(alert: Alert) -> dict[str, Any]:
    """Return the message: a header, the facts, the reasons, the findings, what to do, and the ids."""
    line = first_line(alert)
    sign = _SIGNS.get(alert.transition) or _SIGNS.get(alert.severity, "")
    told = [f"*{fact.label}*\n{escaped(fact.value, MAX_FIELD_CHARS)}" for fact in facts(alert)]
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": _header(sign, line), "emoji": True}},
        {"type": "section", "fields": [_mrkdwn(text) for text in told]},
        *_list("Why", reasons(alert)),
        *_list("Evidence", findings(alert)),
        *_list("What to do", filter(None, [next_step(alert)])),
        {"type": "context", "elements": [_mrkdwn(_ids(alert))]},
    ]
    return {"text": escaped(line, MAX_TEXT_CHARS), "blocks": blocks}


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


def _header(sign: str, line: str) -> str:
    return f"{sign} {escaped(line, MAX_HEADER_CHARS - len(sign) - 1)}"


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _list(title: str, lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return a section, or nothing: Slack refuses an empty one."""
    text = "\n".join(f"• {line}" for line in lines)
    if not text:
        return []
    return [{"type": "section", "text": _mrkdwn(f"*{title}*\n{escaped(text, MAX_SECTION_CHARS)}")}]


def _ids(alert: Alert) -> str:
    return escaped(" | ".join(f"{fact.label}: {fact.value}" for fact in background(alert)), MAX_TEXT_CHARS)


def _error_word(response: Response) -> str:
    """Return Slack's own word, e.g. "no_service"; anything else could be an echo of the address."""
    word = _ERROR_WORD.fullmatch(response.body)
    return word[1].decode() if word else ""
