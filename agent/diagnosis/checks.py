"""The result of one check, and how grave it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How grave a result is."""

    OK = "ok"
    WARN = "warn"
    """It works, but not all of it, or perhaps not as meant."""
    FAIL = "FAIL"
    """Something would not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list."""

    area: str
    """The heading it stands under."""
    name: str
    grade: Grade
    text: str
    """The sentence for people."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for machines, where it has figures."""
    depth: int = 0
    """1 for what belongs to the check above it."""
