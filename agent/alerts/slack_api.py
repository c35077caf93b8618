"""Slack's Web API: one call, and what its answers mean (https://docs.slack.dev/apis/web-api)."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from agent.alerts.address import host_of, url_problem
from agent.alerts.answers import demand_success, retry_after_s
from agent.alerts.base import DeliveryError
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.alerts.answers import HttpPort, Response

NOT_DONE = frozenset({"ratelimited", "rate_limited"})
"""Errors that pass, and after which nothing has happened."""
PASSING = NOT_DONE | {
    "fatal_error",
    "internal_error",
    "request_timeout",
    "service_unavailable",
    "team_added_to_org",
}
"""Errors that pass by themselves; after some of them the message may have been posted all the same."""
_ADVICE = {
    "account_inactive": "the app was removed from the workspace, install it again",
    "channel_not_found": "check channel, and invite the app where it is private",
    "invalid_auth": "the token is not accepted, check token",
    "is_archived": "the channel is archived, give another one",
    "missing_scope": "give the app the scope and install it again",
    "not_authed": "the token is not accepted, check token",
    "not_in_channel": "invite the app into the channel",
    "token_expired": "make a new token",
    "token_revoked": "make a new token",
}
_WORD = re.compile(r"[a-z_]{1,60}")
_SCOPES = re.compile(r"[a-z:.,]{1,80}")


class SlackError(DeliveryError):
    """Slack has answered, and said no."""

    def __init__(self, message: str, word: str, *, permanent: bool, retry_after_s: float | None) -> None:
        super().__init__(message, permanent=permanent, retry_after_s=retry_after_s)
        self.word = word
        """Slack's own, e.g. "not_in_channel"; "unknown_error" for what is none."""


class UnreadableAnswerError(DeliveryError):
    """Slack has answered with something that is no JSON object, or with one that is too long."""


class SlackApi:
    """Calls methods with one token."""

    def __init__(self, http: HttpPort, api_url: str, token: Secret) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._token = token

    def call(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a method that writes. Raises SlackError when Slack refuses, else DeliveryError."""
        body = json.dumps(arguments, ensure_ascii=False).encode()
        return self._sent(method, body, "application/json; charset=utf-8")

    def ask(self, method: str, arguments: Mapping[str, str | int]) -> dict[str, Any]:
        """Call a method that reads: those take no JSON. Raises as `call` does."""
        return self._sent(method, urlencode(arguments).encode(), "application/x-www-form-urlencoded")

    def upload(self, address: str, content: bytes) -> None:
        """Send the content of a file to where Slack wants it. Raises DeliveryError."""
        if url_problem(address):
            raise DeliveryError("Slack named no usable address for the file", permanent=True)
        secret = Secret(address)
        response = self._http.post(secret, content, {"Content-Type": "application/octet-stream"})
        demand_success(response, secret)

    def _sent(self, method: str, body: bytes, content_type: str) -> dict[str, Any]:
        url = f"{self._api_url}/{method}"
        headers = {"Content-Type": content_type, "Authorization": f"Bearer {self._token.reveal()}"}
        response = self._http.post(url, body, headers)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise _refusal({"error": "ratelimited"}, method, response, host_of(url))
        demand_success(response, url)
        answer = _object(response)
        if answer is None:
            raise UnreadableAnswerError(
                f"{host_of(url)} answered {method} with something that is no JSON object"
            )
        if answer.get("ok") is not True:
            raise _refusal(answer, method, response, host_of(url))
        return answer


def _object(response: Response) -> dict[str, Any] | None:
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(answer: dict[str, Any], method: str, response: Response, host: str) -> SlackError:
    """Return the error, with Slack's own word; any other text could be an echo of what was sent."""
    word, needed = str(answer.get("error")), str(answer.get("needed", ""))
    word = word if _WORD.fullmatch(word) else "unknown_error"
    scopes = f", needs {needed}" if word == "missing_scope" and _SCOPES.fullmatch(needed) else ""
    advice = f": {_ADVICE[word]}" if word in _ADVICE else ""
    return SlackError(
        f"{host} refused {method} ({word}{scopes}){advice}",
        word,
        permanent=word not in PASSING,
        retry_after_s=retry_after_s(response),
    )
