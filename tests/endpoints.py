"""Receivers on loopback that stand for Slack, Sentry and PagerDuty, and what arrived, read as they read it.

with Endpoints() as endpoints:
    ...  # a daemon that runs with `endpoints.environ`
    (message,) = endpoints.messages("api")
"""

from __future__ import annotations

import gzip
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from receiver import Receiver, Request
from sentry_sdk.envelope import Envelope

from agent.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

SLACK_PATH = "/services/T0LEAK/B0LEAK/kX3vSlackWebhookSecret9Zq"
SENTRY_KEY = "5e7d1a9b0c2f4e6d8a1b3c5d7e9f0a2b"
ROUTING_KEY = "R0UT1NGK3Y0F7HEPAG3RDUTY5ERV1CE0"
SECRETS = (SLACK_PATH, SENTRY_KEY, ROUTING_KEY)


class NotingReceiver(Receiver):
    """Notes when each request came, and calls `on_arrival` before it is answered.

    What was cut off because its sender died is dropped, as every web server does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_arrival: Callable[[Request], None] = lambda _: None
        self.arrived_t_s: list[float] = []
        self._clock = SystemClock()

    def take(self, request: Request) -> Callable[[Any], None]:
        if len(request.body) < int(request.headers.get("Content-Length") or 0):
            return lambda _: None
        self.arrived_t_s.append(self._clock.now().t_s)
        self.on_arrival(request)
        return super().take(request)


@dataclass(frozen=True, slots=True)
class Event:
    """One Sentry event with its attachments, as sentry-sdk reads an envelope."""

    body: dict[str, Any]
    attachments: dict[str, bytes]
    """By file name."""

    @property
    def tags(self) -> dict[str, str]:
        tags: dict[str, str] = self.body["tags"]
        return tags


class Endpoints:
    """The three receivers and the environment that points the shipped configuration to them."""

    def __init__(self) -> None:
        self.slack, self.sentry, self.pagerduty = NotingReceiver(), NotingReceiver(), NotingReceiver()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for receiver in self.every:
            self._stack.enter_context(receiver)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def every(self) -> tuple[NotingReceiver, ...]:
        return (self.slack, self.sentry, self.pagerduty)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "SLACK_WEBHOOK_URL": self.slack.url + SLACK_PATH,
            "SENTRY_DSN": f"http://{SENTRY_KEY}@127.0.0.1:{self.sentry.port}/42",
            "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
            "PAGERDUTY_URL": self.pagerduty.url,
        }

    def messages(self, service: str) -> list[dict[str, Any]]:
        """Return what Slack was told of a service; also attempts that it refused."""
        about = re.compile(rf"(?:^|: ){re.escape(service)} ")
        return [message for r in self.slack.requests if about.search((message := r.json())["text"])]

    def events(self, service: str) -> list[Event]:
        """Return what Sentry was told of a service; also attempts that it refused."""
        return [event for r in self.sentry.requests if (event := read_event(r)).tags["service"] == service]

    def pages(self, dedup_key: str) -> list[dict[str, Any]]:
        """Return what PagerDuty was told under a key, refused attempts included; a change has none."""
        return [page for r in self.pagerduty.requests if (page := r.json()).get("dedup_key") == dedup_key]


def read_event(request: Request) -> Event:
    """Read a request as Sentry does."""
    envelope = Envelope.deserialize(gzip.decompress(request.body))
    event = envelope.get_event()
    assert event is not None
    attachments = {
        item.headers["filename"]: item.get_bytes()
        for item in envelope.items
        if item.headers["type"] == "attachment"
    }
    return Event(json.loads(json.dumps(event)), attachments)
