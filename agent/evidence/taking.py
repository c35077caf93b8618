"""One capture while it is taken: what sources are given, and where they put what they find."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from agent.consent import Consent
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.model import Alert, Evidence, Instant, Process

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

CODE = 0
"""Names the code, the class or the type that holds the memory."""
COUNTS = 1
"""Counts of objects, threads or descriptors."""
PLACE = 2
"""Where the memory lies, by kind of mapping."""
SETTING = 3
"""What surrounds it: limits, cgroup, the host."""


class Before(NamedTuple):
    """What an earlier capture of the same process has kept."""

    content: bytes
    age_s: float


class Line(NamedTuple):
    """One finding; the lowest rank is the most telling."""

    rank: int
    text: str


class Folder(Protocol):
    """Where the files of a capture go."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def files(self) -> list[str]:
        """What was written so far."""

    def write(self, name: str, content: bytes) -> None:
        """Write a new file. Raises OSError."""

    def open(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open a new file for what is too long to be held. Raises OSError."""


@dataclass(slots=True)
class Taking:
    """What one capture is given and has found so far."""

    process: Process
    held: HeldProcess
    folder: Folder
    now: Instant
    options: EvidenceOptions
    consent: Consent
    find_before: Callable[[str], Before | None]
    lines: list[Line] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unpaired: bool = False
    """Somebody has asked for an earlier look, and there is none: a later one will tell what grew."""
    alert: Alert | None = None
    """What it is taken for; None where somebody has asked for it."""
    disproof: str = ""
    """Why the heap's growth until now is no leak, in a sentence; empty where nothing proves that."""

    def before(self, name: str) -> Before | None:
        """Return that file of the first earlier capture of this process; None where there is none.

        Of this incident, else of the baseline. A content may be cut off or of another version.
        """
        found = self.find_before(name)
        self.unpaired = self.unpaired or found is None
        return found

    def write(self, name: str, data: Any) -> None:
        """Write a value as JSON. Raises OSError."""
        self.write_raw(name, json.dumps(data, indent=1).encode("utf-8", "backslashreplace"))

    def write_raw(self, name: str, content: bytes) -> None:
        """Write a file as it is. Raises OSError."""
        self.folder.write(name, content)

    def open_raw(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open a file for what is too long to be held, e.g. a heap dump. Raises OSError.

        Gone again when the block fails.
        """
        return self.folder.open(name)

    def tell(self, rank: int, text: str) -> None:
        """Add a finding, e.g. `tell(CODE, "top stack: handlers.remember:88 in 11 of 12 threads")`."""
        self.lines.append(Line(rank, text))

    def evidence(self) -> Evidence:
        """Return it as an alert tells it: what names the code first, and files for people first."""
        files = tuple(sorted(self.folder.files, key=_for_machines))
        gist = tuple(line.text for line in sorted(self.lines, key=lambda line: line.rank))
        directory = str(self.folder.path) if files else ""
        return Evidence(directory, gist, tuple(self.missing), files, self.disproof)


def _for_machines(name: str) -> bool:
    return not name.removesuffix(".gz").endswith((".txt", ".html"))
