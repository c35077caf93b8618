"""One capture while it is taken: what sources are given, and where they put what they find."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agent.consent import Consent
from agent.evidence.folder import CaptureFolder
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.options import EvidenceOptions
from agent.model import Evidence, Instant, Process

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


@dataclass(slots=True)
class Taking:
    """What one capture is given and has found so far."""

    process: Process
    held: HeldProcess
    folder: CaptureFolder
    now: Instant
    options: EvidenceOptions
    consent: Consent
    find_before: Callable[[str], Before | None]
    lines: list[Line] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def before(self, name: str) -> Before | None:
        """Return that file of the first earlier capture of this process; None where there is none.

        Of this incident, else of the baseline. A content may be cut off or of another version.
        """
        return self.find_before(name)

    def write(self, name: str, data: Any) -> None:
        """Write a value as JSON. Raises OSError."""
        self.write_raw(name, json.dumps(data, indent=1).encode("utf-8", "backslashreplace"))

    def write_raw(self, name: str, content: bytes) -> None:
        """Write a file as it is. Raises OSError."""
        self.folder.write(name, content)

    def tell(self, rank: int, text: str) -> None:
        """Add a finding, e.g. `tell(CODE, "top stack: handlers.remember:88 in 11 of 12 threads")`."""
        self.lines.append(Line(rank, text))

    def evidence(self) -> Evidence:
        """Return it as an alert tells it: what names the code first, and files for people first."""
        files = tuple(sorted(self.folder.files, key=_for_machines))
        gist = tuple(line.text for line in sorted(self.lines, key=lambda line: line.rank))
        return Evidence(str(self.folder.path) if files else "", gist, tuple(self.missing), files)


def _for_machines(name: str) -> bool:
    return not name.endswith(".txt")
