"""Reads what a summary says, whoever wrote it: a value of another kind is as good as none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from agent.text import one_line
from agent.units import format_utc

MAX_LINES = 200
MAX_LINE_CHARS = 400


def text(values: Any, key: str) -> str:
    """Return a text on one line; empty where there is none."""
    found = values.get(key) if isinstance(values, Mapping) else None
    return one_line(found, MAX_LINE_CHARS) if isinstance(found, str) else ""


def texts(values: Any, key: str) -> tuple[str, ...]:
    """Return a list of texts, those that are."""
    found = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(found, list | tuple):
        return ()
    return tuple(one_line(one, MAX_LINE_CHARS) for one in found[:MAX_LINES] if isinstance(one, str))


def number(digits: str) -> str:
    """Return digits as they are, "?" for anything else."""
    return digits if digits.isascii() and digits.isdigit() else "?"


def moment(values: Any, key: str) -> str:
    """Return a moment for people; empty where there is none."""
    try:
        return format_utc(datetime.fromisoformat(text(values, key)).timestamp())
    except (ValueError, OverflowError, OSError):
        return ""
