"""DogStatsD lines, byte for byte as Datadog documents them, and their packing into datagrams."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# https://docs.datadoghq.com/extend/dogstatsd/datagram_shell/
MAX_EVENT_BYTES = 8192
"""The Agent reads so much of a datagram (dogstatsd_buffer_size); Datadog's clients refuse longer events."""
MAX_TEXT_CHARS = 4000
"""More of an event's text is not shown (https://docs.datadoghq.com/api/latest/events/)."""
MAX_TITLE_CHARS = 300
MAX_TAG_CHARS = 200
"""Longer tags are cut by Datadog (https://docs.datadoghq.com/getting_started/tagging/)."""
MAX_TAGS_BYTES = 1000
"""All tags of a line together, so that a line fits into one datagram."""
MAX_MESSAGE_CHARS = 300
CUT = "..."

_NOT_IN_TAGS = re.compile(r"[^\w\-:/.]")
_NOT_IN_FIELDS = re.compile(r"[|\n\r]")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of Datadog's event explorer."""

    title: str
    text: str
    at_wall_s: float | None
    """When it happened; None for now."""
    host: str
    key: str
    """Events with the same key are shown together."""
    priority: str
    """ "normal" or "low"."""
    source: str
    alert_type: str
    """ "error", "warning", "info" or "success"."""
    tags: str = ""
    """As `tag_list` makes them."""


@dataclass(frozen=True, slots=True)
class ServiceCheck:
    """The state of something: 0 is well, 1 a warning, 2 critical, 3 unknown."""

    name: str
    status: int
    at_wall_s: float
    host: str
    message: str
    tags: str = ""
    """As `tag_list` makes them."""


def gauge(name: str, value: float, tags: str) -> bytes:
    """Return the line of one gauge. Raises ValueError for a value that is no number."""
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}")
    number = str(round(value)) if value == round(value) else str(round(value, 4))
    return _utf8(f"{name}:{number}|g{_tagged(tags)}")


def event_line(event: Event, most_bytes: int = MAX_EVENT_BYTES) -> bytes:
    """Return the line of an event; the end of its text is left out where it would be too long."""
    title = _escaped(_cut(event.title, MAX_TITLE_CHARS))
    text = _escaped(_cut(event.text, MAX_TEXT_CHARS))
    rest = _rest(event)
    room = most_bytes - len(f"_e{{{len(title)},{len(text)}}}:|") - len(title) - len(rest)
    if len(text) > room:
        kept = text[: max(0, room - len(CUT))].decode(errors="ignore")
        text = _utf8(kept.rstrip("\\") + CUT)  # half an escape would be a backslash
    return b"_e{%d,%d}:%s|%s%s" % (len(title), len(text), title, text, rest)


def check_line(check: ServiceCheck) -> bytes:
    """Return the line of a service check; its message comes last, as the format wants it."""
    message = _cut(check.message, MAX_MESSAGE_CHARS).replace("m:", "m\\:").replace("|", "/")
    fields = f"_sc|{check.name}|{check.status}|d:{check.at_wall_s:.0f}|h:{_field(check.host)}"
    return _utf8(f"{fields}{_tagged(check.tags)}|m:") + _escaped(message)


def tag_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Return "key:value,key:value": the first of each key, as many as fit, without what would end a tag."""
    told: dict[str, str] = {}
    room = MAX_TAGS_BYTES
    for key, value in pairs:
        name, tag, length = _tag(key, value)
        if key and value and name not in told and length < room:
            told[name] = tag
            room -= length + 1
    return ",".join(told.values())


def packed(lines: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield datagrams of whole lines; a line that is longer than one goes alone."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        if held and size + len(line) > most_bytes:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(line)
        size += len(line) + 1
    if held:
        yield b"\n".join(held)


@lru_cache(maxsize=4096)  # the same few hundred at every poll
def _tag(key: str, value: str) -> tuple[str, str, int]:
    """Return the sound name, the tag, and how many bytes it takes."""
    name = _NOT_IN_TAGS.sub("_", key[:MAX_TAG_CHARS]).replace(":", "_")
    tag = f"{name}:{_NOT_IN_TAGS.sub('_', value[:MAX_TAG_CHARS])}"[:MAX_TAG_CHARS]
    return name, tag, len(_utf8(tag))


def _rest(event: Event) -> bytes:
    fields = (
        ("d", "" if event.at_wall_s is None else f"{event.at_wall_s:.0f}"),
        ("h", _field(event.host)),
        ("k", _field(event.key)),
        ("p", event.priority),
        ("s", event.source),
        ("t", event.alert_type),
    )
    return _utf8("".join(f"|{name}:{value}" for name, value in fields if value) + _tagged(event.tags))


def _tagged(tags: str) -> str:
    return f"|#{tags}" if tags else ""


def _field(text: str) -> str:
    return _NOT_IN_FIELDS.sub("_", text)


def _cut(text: str, most_chars: int) -> str:
    return text if len(text) <= most_chars else text[: most_chars - len(CUT)] + CUT


def _escaped(text: str) -> bytes:
    return _utf8(text.replace("\n", "\\n"))


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")
