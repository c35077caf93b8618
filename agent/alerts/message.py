"""An alert as one JSON document, versioned and bounded: what webhook, command, file and journal tell."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.alerts.wording import facts, figures, first_line, links, next_step, sections
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from agent.model import Alert

SCHEMA = 1
"""The version of `docs/alert.schema.json`; keys are added without a new one, never changed or taken away."""
MAX_DOCUMENT_BYTES = 262_144
"""No document is larger: the limits below add up to less, with four bytes a character."""
MAX_VALUE_CHARS = 200
MAX_URL_CHARS = 1000
MAX_LABELS = 50
MAX_ITEMS = 100
MAX_REASONS = 20
MAX_LINES = 20
"""Of the evidence's gist, and of what is missing."""
MAX_PIDS = 200
MAX_POINTS = 300


def document(alert: Alert) -> dict[str, Any]:
    """Return the alert in the form of `docs/alert.schema.json`: plain JSON values, every text on one line.

    `text` alone has several lines.
    """
    return _identity(alert) | {
        "title": first_line(alert),
        "text": plain_text(alert),
        "event": str(alert.event),
        "subject": str(alert.subject),
        "severity": str(alert.severity),
        "drill": alert.drill,
        "at": rfc3339(alert.at_wall_s),
        "since": rfc3339(alert.since_wall_s),
        "host": _name(alert.host),
        "service": _name(alert.service),
        "labels": {_name(k): _value(v) for k, v in list(alert.labels.items())[:MAX_LABELS]},
        "process": _process(alert),
        "figures": figures(alert) | {"limit_source": _value(alert.limit_source)},
        "reasons": _reasons(alert),
        "evidence": _evidence(alert),
        "note": _value(alert.note),
        "next_step": next_step(alert),
        "links": [{"text": link.text, "url": one_line(link.address, MAX_URL_CHARS)} for link in links(alert)],
        "items": _values(alert.items, MAX_ITEMS),
        "course": [list(point) for point in alert.course[-MAX_POINTS:] if all(map(math.isfinite, point))],
    }


def encoded(alert: Alert) -> bytes:
    """Return the document as one line of JSON, without its end."""
    return json.dumps(document(alert), ensure_ascii=False, separators=(",", ":")).encode()


def delivery_id(alert: Alert) -> str:
    """Return what is the same whenever this transition is told, and differs for every other one."""
    return f"{_name(alert.incident_id)}/{alert.sequence}"


def plain_text(alert: Alert) -> str:
    """Return the alert for people: the first line, the facts, and every list under its title."""
    told = [first_line(alert), "", *(f"{fact.label}: {fact.value}" for fact in facts(alert))]
    for section in sections(alert):
        told += ["", f"{section.title}:", *(f"- {line}" for line in section.lines)]
    return "\n".join(told)


def rfc3339(wall_s: float) -> str | None:
    """Return "2027-01-15T08:00:00Z"; None for what is no time."""
    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def _identity(alert: Alert) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "delivery": delivery_id(alert),
        "dedup_key": one_line(alert.dedup_key),
        "incident": _name(alert.incident_id),
        "sequence": alert.sequence,
        "transition": str(alert.transition),
        "ends": alert.transition.ends,
    }


def _process(alert: Alert) -> dict[str, Any]:
    return {
        "pid": alert.pid,
        "pids": list(alert.pids[:MAX_PIDS]) or [alert.pid],
        "name": _name(alert.process),
        "command": one_line(alert.command),
        "young": alert.young,
    }


def _reasons(alert: Alert) -> list[dict[str, Any]]:
    ordered = sorted(alert.reasons, key=lambda reason: not reason.passed)[:MAX_REASONS]
    return [
        {"name": _name(reason.name), "for_leak": reason.passed, "text": _value(reason.text)}
        for reason in ordered
    ]


def _evidence(alert: Alert) -> dict[str, Any] | None:
    found = alert.evidence
    if found is None:
        return None
    return {
        "directory": _value(found.directory),
        "gist": _values(found.gist, MAX_LINES),
        "missing": _values(found.missing, MAX_LINES),
        "files": _values(found.files, MAX_LINES),
        "disproof": _value(found.disproof),
    }


def _values(lines: tuple[str, ...], most: int) -> list[str]:
    return [_value(line) for line in lines[:most]]


def _value(text: str) -> str:
    return one_line(text, MAX_VALUE_CHARS)


def _name(text: str) -> str:
    return one_line(text, MAX_NAME_CHARS)
