"""What the daemon and its capture helper say to each other: requests of a closed list, read without trust."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from agent.evidence.folder import MAX_READ_BYTES
from agent.model import ProcessKey

VERSION = 1
MAX_HEAD_BYTES = 262_144
"""Above the longest answer: twice `MAX_LINES` lines of `MAX_LINE_CHARS` characters of up to four bytes."""
MAX_REQUEST_BYTES = 4_096
"""A request has a handful of short values."""
MAX_BEFORE_BYTES = MAX_READ_BYTES
"""What a client sends of an earlier capture."""
MAX_FILE_BYTES = 32_000_000
"""Twice the largest file of what the helper looks at, a dump of py-spy."""
MAX_FILES = 32
MAX_LINES = 64
MAX_LINE_CHARS = 300
MAX_WANTED = 4
"""Earlier files that one source asks for: its turn ends before others give up waiting."""
MAX_TIMEOUT_S = 60.0

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_LENGTHS = struct.Struct("!II")
LENGTHS_BYTES = _LENGTHS.size
_WORD = re.compile(r"[a-z][a-z0-9 ._-]{0,39}", re.IGNORECASE)
_BOOT_ID = re.compile(r"[0-9a-f]{8}")
_MAX_PID = 2**22
"""The kernel's own bound (PID_MAX_LIMIT, linux/threads.h)."""
_MAX_TICKS = 2**63
_MAX_CONSENTS = 16


class ProtocolError(Exception):
    """What was received is not what may be said; the text is for the log."""


class Ask(StrEnum):
    """Everything that can be asked."""

    ABOUT = "about"
    """Which helper this is, and what it allows."""
    READY = "ready"
    """Whether a source would work on a process, found out without touching it."""
    TAKE = "take"
    """Take one source of one process; a full collection is the source "collection"."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question; all but `ask` is empty where only `ABOUT` is asked."""

    ask: Ask
    name: str = ""
    """Of the source."""
    pid: int = 0
    start_ticks: int = 0
    boot_id: str = ""
    timeout_s: float = 5.0
    locals: bool = False
    consent: tuple[str, ...] = ()
    """What the entry allows, by the names of `Consent`; the helper allows no more than its unit does."""

    @property
    def key(self) -> ProcessKey:
        """The process that is meant."""
        return ProcessKey(self.pid, self.start_ticks, self.boot_id)

    def to_json(self) -> dict[str, Any]:
        """Return what `parse_request` reads."""
        return asdict(self) | {"version": VERSION, "ask": str(self.ask), "consent": list(self.consent)}


class Message(NamedTuple):
    """One message in either direction: a small object, and bytes that go with it."""

    head: dict[str, Any]
    content: bytes = b""


class Lengths(NamedTuple):
    """What follows in a message."""

    head_bytes: int
    content_bytes: int


def encode(message: Message) -> bytes:
    """Return a message's bytes. Raises ProtocolError for one that is too large to be read."""
    head = json.dumps(message.head, ensure_ascii=False).encode("utf-8", "backslashreplace")
    if len(head) > MAX_HEAD_BYTES:
        raise ProtocolError("the answer is too long")
    return _LENGTHS.pack(len(head), len(message.content)) + head + message.content


def lengths(raw: bytes, max_content_bytes: int, max_head_bytes: int = MAX_HEAD_BYTES) -> Lengths:
    """Return how long a message is, by its first `LENGTHS_BYTES`. Raises ProtocolError beyond the bounds."""
    found = Lengths(*_LENGTHS.unpack(raw))
    if found.head_bytes > max_head_bytes or found.content_bytes > max_content_bytes:
        raise ProtocolError("a message that is too long")
    return found


def decode_head(raw: bytes) -> dict[str, Any]:
    """Return the object of a message. Raises ProtocolError."""
    try:
        head = json.loads(raw)
    except (ValueError, RecursionError):
        raise ProtocolError("a message that is no JSON") from None
    if not isinstance(head, dict):
        raise ProtocolError("a message that is no object")
    return head


def parse_request(head: dict[str, Any]) -> Request:
    """Return a request whose every value is of its kind and within its bounds. Raises ProtocolError."""
    if head.get("version") != VERSION:
        raise ProtocolError("a client of another version")
    try:
        ask = Ask(str(head.get("ask")))
    except ValueError:
        raise ProtocolError("a request that is not on the list") from None
    if ask is Ask.ABOUT:
        return Request(ask)
    return Request(
        ask,
        name=_text(head, "name", _WORD),
        pid=_whole(head, "pid", 1, _MAX_PID),
        start_ticks=_whole(head, "start_ticks", 0, _MAX_TICKS),
        boot_id=_text(head, "boot_id", _BOOT_ID),
        timeout_s=_seconds(head, "timeout_s"),
        locals=head.get("locals") is True,
        consent=_words(head, "consent"),
    )


def file_name(head: dict[str, Any]) -> str:
    """Return a file's name: without any folder, and not hidden. Raises ProtocolError."""
    return _text(head, "name", FILE_NAME)


def age_s(head: dict[str, Any]) -> float | None:
    """Return how old an earlier file is; None where there is none. Raises ProtocolError."""
    if head.get("age_s") is None:
        return None
    value = _number(head["age_s"])
    if value is None or not 0 <= value < _MAX_TICKS:
        raise ProtocolError("an age that is none")
    return float(value)


def _text(head: dict[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = head.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise ProtocolError(f"{key} is not what it should be")
    return value


def _whole(head: dict[str, Any], key: str, least: int, most: int) -> int:
    value = head.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ProtocolError(f"{key} is not what it should be")
    return value


def _seconds(head: dict[str, Any], key: str) -> float:
    value = _number(head.get(key))
    if value is None or not 0 < value < _MAX_TICKS:
        raise ProtocolError(f"{key} is not what it should be")
    return float(min(value, MAX_TIMEOUT_S))


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _words(head: dict[str, Any], key: str) -> tuple[str, ...]:
    values = head.get(key)
    if not isinstance(values, list) or len(values) > _MAX_CONSENTS:
        raise ProtocolError(f"{key} is not what it should be")
    if not all(isinstance(value, str) and _WORD.fullmatch(value) for value in values):
        raise ProtocolError(f"{key} is not what it should be")
    return tuple(values)
