"""How single values are said: amounts, durations, moments and names, each on one bounded line."""

from __future__ import annotations

import re

from agent.model import Subject
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_bytes, format_duration

MAX_VALUE_CHARS = 200
"""Of one fact, reason or finding; an alert is read on a phone, the rest lies in the capture."""
COARSE_FROM_HOURS = 10
BEYOND_ANY = 1e18

UNITS = {
    Subject.THREADS: "threads",
    Subject.FDS: "descriptors",
    Subject.CHILDREN: "child processes",
    Subject.COLLECTIONS: "collections/min",
}
"""What is counted; everything else is bytes."""
_WORD_OF_UNIT = {"m": "min"}


def amount(subject: Subject, value: float) -> str:
    """Return "448 MB" for memory, "412 threads" for counts."""
    if finite(value) is None:
        return "unknown"
    unit = UNITS.get(subject)
    return f"{count(value)} {unit}" if unit else _spaced(format_bytes(value))


def count(value: float) -> str:
    """Return three figures at most."""
    if finite(value) is None:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"  # noqa: PLR2004


def finite(value: float | None) -> float | None:
    """Return the value unless it is none: JSON knows no infinity, and no machine holds an exabyte."""
    return value if value is not None and abs(value) < BEYOND_ANY else None


def hours(value: float) -> str:
    """Return "45 min", "3 h 10 min", and from ten hours on whole hours: a forecast is no timetable."""
    if finite(value) is None:
        return "never"
    return duration((round(value) if value >= COARSE_FROM_HOURS else value) * 3600.0)


def duration(seconds: float) -> str:
    """Return "3 h 10 min"."""
    if finite(seconds) is None:
        return "an unknown time"
    parts = re.findall(r"(\d+)([a-z]+)", format_duration(seconds))
    return " ".join(f"{number} {_WORD_OF_UNIT.get(unit, unit)}" for number, unit in parts)


def name(text: str) -> str:
    """Return a name as it may be printed."""
    return one_line(text, MAX_NAME_CHARS)


def line(text: str) -> str:
    """Return a value as it may be printed."""
    return one_line(text, MAX_VALUE_CHARS)


def _spaced(text: str) -> str:
    return re.sub(r"(?<=\d)(?=[A-Za-z])", " ", text)
