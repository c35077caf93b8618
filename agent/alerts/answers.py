"""What an HTTP answer means for an alert: arrived, worth another try, or refused for good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from agent.alerts.address import host_of
from agent.alerts.base import DeliveryError
from agent.secret import HIDDEN, Secret
from agent.text import one_line

RETRYABLE = frozenset({408, 425, 429})
"""Client errors that time heals, beside every 5xx (RFC 9110 section 15, RFC 6585)."""
LONGEST_RETRY_AFTER_S = 86_400.0
"""A receiver that asks for more is asked again after a day."""
MAX_SAYING_CHARS = 200


@dataclass(frozen=True, slots=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """At most the first 64 kB, and less where the connection broke after the headers."""
    at_wall_s: float
    """When it came, for dates in `Retry-After`."""


class HttpPort(Protocol):
    """How a channel reaches its host."""

    def post(self, url: Secret | str, body: bytes, headers: dict[str, str]) -> Response:
        """Send one request and return whatever answer came. Raises DeliveryError when none did."""
        ...

    def get(self, url: Secret | str, headers: dict[str, str]) -> Response:
        """Ask for something and return whatever answer came. Raises DeliveryError when none did."""
        ...


def demand_success(
    response: Response,
    url: Secret | str,
    *,
    saying: str = "",
    advice: Mapping[int, str] | None = None,
    wait_s: float | None = None,
) -> None:
    """Return when the alert arrived. Raises DeliveryError with the host, the status and what to do.

    `saying` is what the receiver gave as its reason, already free of secrets (see `scrubbed`);
    `advice` tells the operator what a status means at this service; `wait_s` overrules `Retry-After`.
    """
    host = host_of(url if isinstance(url, str) else url.reveal())
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - success
        _refuse_web_page(response, host)
        return
    parts = [f"{host} answered {status} {_phrase(status)}".rstrip()]
    parts += [f"({saying})"] if saying else []
    told = _REDIRECTED if 300 <= status < 400 else (advice or {}).get(status, "")  # noqa: PLR2004 - redirects
    sentence = " ".join(parts) + (f": {told}" if told else "")
    asked_s = retry_after_s(response) if wait_s is None else wait_s
    raise DeliveryError(sentence, permanent=not is_retryable(status), retry_after_s=asked_s)


_REDIRECTED = "redirects are not followed, put the final address into the configuration"


def is_retryable(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in RETRYABLE or status >= 500  # noqa: PLR2004 - server errors


def retry_after_s(response: Response) -> float | None:
    """Return the wait that `Retry-After` asks for: seconds, or a date seen from the answer's own `Date`.

    None where there is no such header or it cannot be read (RFC 9110 section 10.2.3).
    """
    text = response.headers.get("retry-after", "").strip()
    asked_s = _seconds(text)
    if asked_s is None:
        until_s, date_s = _date(text), _date(response.headers.get("date", ""))
        if until_s is None:
            return None
        asked_s = until_s - (response.at_wall_s if date_s is None else date_s)
    return min(max(asked_s, 0.0), LONGEST_RETRY_AFTER_S)


def scrubbed(text: str, *secrets: str) -> str:
    """Return what a receiver said on one bounded line, with our own secrets taken out."""
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return one_line(text, MAX_SAYING_CHARS)


def _refuse_web_page(response: Response, host: str) -> None:
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        raise DeliveryError(
            f"{host} answered {response.status} with a web page: a proxy, a login page or a wrong address"
        )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - a MB that few answers need

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
