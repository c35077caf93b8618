"""Sentry's protocol: its DSN, its envelope and its rate limits (https://develop.sentry.dev/sdk/)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import __version__
from agent.alerts.address import is_loopback, split_url
from agent.alerts.answers import LONGEST_RETRY_AFTER_S
from agent.gz import gzipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.alerts.attachments import Attachment

EXPECTED_DSN = 'a DSN such as "https://KEY@HOST/PROJECT" (http only to loopback)'
PROTOCOL_VERSION = 7

_EVENT_CATEGORIES = {"", "error", "default"}
_ATTACHMENT_CATEGORIES = {"", "attachment"}
_CHECK_IN_CATEGORIES = {"", "monitor"}
_CONTENT_TYPES = {
    "gz": "application/gzip",
    "json": "application/json",
    "png": "image/png",
    "txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where a project's events go and the key that lets them in."""

    envelope_url: str
    public_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    """Empty in every DSN made since 2017."""

    @classmethod
    def parse(cls, text: str) -> Dsn:
        """Read `PROTOCOL://KEY[:SECRET]@HOST[PATH]/PROJECT`. Raises ValueError naming only the form."""
        try:
            parts = split_url(text)
        except ValueError:
            raise ValueError(EXPECTED_DSN) from None
        prefix, _, project = parts.path.rpartition("/")
        clear = parts.scheme == "http" and not is_loopback(parts.hostname or "")
        if clear or not parts.username or not project or parts.query or parts.fragment:
            raise ValueError(EXPECTED_DSN)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{prefix}"
        return cls(f"{place}/api/{project}/envelope/", parts.username, parts.password or "")

    def headers(self) -> dict[str, str]:
        """Return what lets a request in."""
        client = f"leakwatch/{__version__}"
        auth = (
            f"Sentry sentry_version={PROTOCOL_VERSION}, sentry_client={client}, sentry_key={self.public_key}"
        )
        return {
            "X-Sentry-Auth": auth + (f", sentry_secret={self.secret_key}" if self.secret_key else ""),
            "Content-Type": "application/x-sentry-envelope",
            "Content-Encoding": "gzip",
        }


class Quiet(NamedTuple):
    """How long the receiver wants no more of a kind, in seconds; 0 where it does not mind."""

    events_s: float
    attachments_s: float
    check_ins_s: float = 0.0


def envelope(event: dict[str, Any], sent_at: str, attachments: Iterable[Attachment]) -> bytes:
    """Return the gzipped body: a header line, the event, then its attachments.

    `sent_at` is RFC 3339 in UTC: Sentry corrects the event's time by it.
    """
    lines = [_json({"event_id": event["event_id"], "sent_at": sent_at})]
    lines += _item({"type": "event", "content_type": "application/json"}, _json(event))
    for attachment in attachments:
        kind = _CONTENT_TYPES.get(attachment.name.rpartition(".")[2], "application/octet-stream")
        header = {"type": "attachment", "filename": attachment.name, "content_type": kind}
        lines += _item(header | {"attachment_type": "event.attachment"}, attachment.content)
    return _body(lines)


def check_in_envelope(check_in: dict[str, Any], sent_at: str) -> bytes:
    """Return the gzipped body of a check-in (https://develop.sentry.dev/sdk/telemetry/check-ins/)."""
    item = _item({"type": "check_in", "content_type": "application/json"}, _json(check_in))
    return _body([_json({"sent_at": sent_at}), *item])


def sent_at(wall_s: float) -> str:
    """Return a moment as envelopes tell it."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quiet(header: str) -> Quiet:
    """Read the limits of `X-Sentry-Rate-Limits`, e.g. "60:error;default:key:reason"; nonsense is skipped.

    >>> quiet("60:error;transaction:key, 2700:attachment:organization")
    Quiet(events_s=60.0, attachments_s=2700.0, check_ins_s=0.0)
    """
    limits = [limit for text in header.split(",") if (limit := _limit(text)) is not None]
    kinds = (_EVENT_CATEGORIES, _ATTACHMENT_CATEGORIES, _CHECK_IN_CATEGORIES)
    return Quiet(*(max((s for s, found in limits if found & kind), default=0.0) for kind in kinds))


def _limit(text: str) -> tuple[float, set[str]] | None:
    """Return seconds and categories of one limit; None for nonsense."""
    seconds, _, rest = text.strip().partition(":")
    if not seconds.isascii() or not seconds.isdigit():
        return None
    return min(float(seconds[:9]), LONGEST_RETRY_AFTER_S), set(rest.partition(":")[0].split(";"))


def _item(header: dict[str, Any], payload: bytes) -> list[bytes]:
    return [_json(header | {"length": len(payload)}), payload]


def _body(lines: list[bytes]) -> bytes:
    return gzipped(b"\n".join(lines) + b"\n", level=9)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def identifier(text: str) -> str:
    """Return 32 hex digits, as Sentry asks for them; the same of the same text."""
    from uuid import NAMESPACE_URL, uuid5  # noqa: PLC0415 - asks the platform for its name when it is loaded

    return uuid5(NAMESPACE_URL, text).hex
