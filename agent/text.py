"""Text from outside made safe to print: one line, no control characters, bounded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAME_CHARS = 64
MAX_COMMAND_CHARS = 512


def one_line(raw: bytes | str, limit_chars: int = MAX_COMMAND_CHARS) -> str:
    r"""Return printable text on one line: invalid UTF-8 and control characters as \xNN, cut with "...".

    >>> one_line(b"a\nb\xff")
    'a\\x0ab\\xff'
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    if len(text) <= limit_chars and text.isprintable():
        return text
    safe = "".join(c if c.isprintable() else _escape(c) for c in text[: 4 * limit_chars])
    return safe if len(safe) <= limit_chars else safe[: limit_chars - 3] + "..."


def reason(error: Exception) -> str:
    """Return why something failed, for people: what was tried on and the words, without number or quotes.

    >>> reason(PermissionError(13, "Permission denied", "/var/lib/leakwatch"))
    '/var/lib/leakwatch: Permission denied'
    """
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        return one_line(f"{where}{error.strerror}")
    return one_line(str(error) or type(error).__name__)


def lines_of(text: str) -> Iterator[str]:
    r"""Yield the lines that are not empty, one after the other: a list of millions would be held.

    >>> list(lines_of("a\n\nb\n"))
    ['a', 'b']
    """
    return (found[0] for found in _LINE.finditer(text))


_LINE = re.compile(r"[^\n]+")


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte
