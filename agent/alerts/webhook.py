"""Webhook: an alert's JSON document, posted to any address and signed with a shared secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.address import secret_url_problem
from agent.alerts.answers import demand_success
from agent.alerts.base import ChannelOptions
from agent.alerts.message import delivery_id, encoded
from agent.alerts.options import HttpOptions
from agent.options import option
from agent.secret import Secret

if TYPE_CHECKING:
    from agent.alerts.answers import HttpPort
    from agent.alerts.tools import Tools
    from agent.clock import Clock
    from agent.model import Alert

CONTENT_TYPE = "application/json; charset=utf-8"

_ADVICE = {
    401: "the receiver wants other credentials, check secret and headers",
    403: "the receiver does not accept it, check secret and headers",
    404: "nothing listens at this path, check url",
    405: "this path takes no POST, check url",
    413: "the receiver must take bodies of 256 KiB",
}
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 section 5.6.2."""
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OWN_HEADERS = ("content-type", "content-length", "host", "transfer-encoding")


def _headers_problem(value: dict[str, Secret]) -> str | None:
    for name, text in value.items():
        own = name.lower() in _OWN_HEADERS or name.lower().startswith("x-leakwatch-")
        if own or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text.reveal()):
            return "headers of your own, each with a name and a value that HTTP allows"
    return None


@dataclass(frozen=True, slots=True)
class WebhookOptions(ChannelOptions):
    """Where the documents are posted, and what proves that they are ours."""

    url: Secret = option(describe="the address, which may hold a token", check=secret_url_problem)
    secret: Secret | None = option(None, describe="signs every request (HMAC-SHA256)")
    headers: dict[str, Secret] = option(
        factory=dict, describe="headers of your own, e.g. Authorization", check=_headers_problem
    )
    http: HttpOptions = option(factory=HttpOptions, describe="time-out, proxy and CA bundle")

    def build(self, name: str, tools: Tools) -> WebhookChannel:
        """Return the channel."""
        return WebhookChannel(name, self, tools.http(self.http), tools.clock)


class WebhookChannel:
    """Posts every alert; the receiver tells repetitions by X-Leakwatch-Delivery."""

    def __init__(self, name: str, options: WebhookOptions, http: HttpPort, clock: Clock) -> None:
        self.name = name
        self._options = options
        self._http = http
        self._clock = clock
        if options.secret:
            signature(
                options.secret, "", b""
            )  # loads what it takes while a Python upgrade has not removed it

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what a webhook is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Post the document. Raises DeliveryError.

        What the receiver answers is not quoted: it could be an echo of the headers.
        """
        body = encoded(alert)
        url = self._options.url
        response = self._http.post(url, body, self._headers(alert, body))
        demand_success(response, url, advice=_ADVICE)

    def _headers(self, alert: Alert, body: bytes) -> dict[str, str]:
        timestamp = str(int(self._clock.now().wall_s))
        headers = {
            "Content-Type": CONTENT_TYPE,
            "X-Leakwatch-Delivery": delivery_id(alert),
            "X-Leakwatch-Dedup-Key": alert.dedup_key,
            "X-Leakwatch-Timestamp": timestamp,
        }
        if self._options.secret:
            headers["X-Leakwatch-Signature"] = signature(self._options.secret, timestamp, body)
        return headers | {name: value.reveal() for name, value in self._options.headers.items()}


def signature(secret: Secret, timestamp: str, body: bytes) -> str:
    """Return "sha256=" and the HMAC of the time and the body: neither can be changed or used again later."""
    import hashlib  # noqa: PLC0415 - libcrypto is 3.5 MB
    import hmac  # noqa: PLC0415 - the same

    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.reveal().encode(), signed, hashlib.sha256).hexdigest()
