"""Slack through an incoming webhook: one message a transition; and what the file says of both ways."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from agent.alerts.address import secret_url_problem, url_problem
from agent.alerts.answers import demand_success
from agent.alerts.base import ChannelOptions, Mistake
from agent.alerts.options import HttpOptions
from agent.alerts.slack_blocks import payload
from agent.options import option
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.alerts.answers import HttpPort, Response
    from agent.alerts.base import Channel
    from agent.alerts.tools import Tools
    from agent.model import Alert

API_URL = "https://slack.com/api"

_ADVICE = {
    403: "the workspace forbids this webhook to post",
    404: "the webhook was removed or revoked, make a new one",
    410: "the channel is archived, make a webhook for another one",
}
_ERROR_WORD = re.compile(rb"\s*([a-z_]{1,40})\s*")
_CHANNEL = re.compile(r"#?[^\s#@<>]{1,80}")


def _token_problem(value: Secret) -> str | None:
    return None if value.reveal().isascii() and value.reveal().isprintable() else "a bot token (xoxb-...)"


def _channel_problem(value: str) -> str | None:
    return None if _CHANNEL.fullmatch(value) else 'a channel\'s ID such as "C0123456789", or its name'


@dataclass(frozen=True, slots=True)
class SlackOptions(ChannelOptions):
    """Where the messages go: by webhook_url, or by token into a channel."""

    ALTERNATIVES: ClassVar[tuple[str, ...]] = ("webhook_url", "token")

    webhook_url: Secret = option(Secret(""), describe="the incoming webhook's URL", check=secret_url_problem)
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")
    token: Secret = option(
        Secret(""),
        describe="a bot token instead of a webhook (xoxb-...), scopes chat:write and files:write",
        check=_token_problem,
    )
    channel: str | None = option(
        None, describe="where the bot posts: the channel's ID, or its name", check=_channel_problem
    )
    api_url: str = option(API_URL, describe="where the bot reaches Slack", check=url_problem)

    def build(self, name: str, tools: Tools) -> Channel:
        """Return the bot or the webhook, whichever the options give."""
        if self.token:
            from agent.alerts.slack_bot import SlackBot  # noqa: PLC0415 - and all that the bot alone needs

            return SlackBot(name, self, tools)
        return SlackChannel(name, self.webhook_url, tools.http(self.http))

    def mistakes(self, given: Callable[[str], bool]) -> Iterator[Mistake]:
        """Yield what is missing or too much."""
        both = self.webhook_url and self.token
        if both or not any(map(given, self.ALTERNATIVES)):
            words = "either webhook_url, or token and channel"
            yield Mistake(("webhook_url",), words, "both" if both else "nothing")
        elif self.token and not self.channel:
            yield Mistake(("channel",), "the channel that the bot posts to", "nothing")


class SlackChannel:
    """Posts to one incoming webhook; it cannot change a message, so every transition is a new one."""

    def __init__(self, name: str, webhook_url: Secret, http: HttpPort) -> None:
        self.name = name
        self._webhook_url = webhook_url
        self._http = http

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a channel of people is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Post the message. Raises DeliveryError."""
        body = json.dumps(payload(alert), ensure_ascii=False).encode()
        url = self._webhook_url
        response = self._http.post(url, body, {"Content-Type": "application/json; charset=utf-8"})
        demand_success(response, url, saying=_error_word(response), advice=_ADVICE)


def _error_word(response: Response) -> str:
    """Return Slack's own word, e.g. "no_service"; anything else could be an echo of the address."""
    word = _ERROR_WORD.fullmatch(response.body)
    return word[1].decode() if word else ""
