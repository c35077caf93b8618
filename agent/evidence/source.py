"""The port that every source of evidence implements, what taking it costs, and why it may fail."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process


class Tier(IntEnum):
    """How much a source may cost the process that is looked at; comparable."""

    CHEAP = 1
    """No pause over 50 ms, no memory of the process: taken always."""
    MEDIUM = 2
    """A pause of up to seconds on a large heap: taken when a leak turns critical."""
    HEAVY = 3
    """As much memory again, or a longer pause: taken only where the entry allows it."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Cost:
    """What taking a source costs at most; the governor weighs it against what there is."""

    tier: Tier
    memory_bytes: int = 0
    """What the process (or its cgroup) needs beside what it has."""
    memory_per_heap: float = 0.0
    """The same, for each byte of its heap: a V8 snapshot can need as much again as the heap."""
    pause_s_per_gb: float = 0.0
    """For how long the process stands still, for each GB of its heap."""
    disk_per_heap: float = 0.0
    """What is written to the disk, for each byte of its heap."""
    baseline: bool = False
    """Worth taking of a sound process too, to be compared with: some kilobytes, in some milliseconds."""


class SourceError(Exception):
    """Why a source could not be taken: a sentence that begins with the source's name and a colon."""


class Source(Protocol):
    """One kind of evidence. Sources hold no state between captures but what `Taking.before` gives back."""

    @property
    def name(self) -> str:
        """What it is called in alerts, the log and `doctor`, e.g. "py-spy" or "class histogram"."""

    @property
    def cost(self) -> Cost:
        """What taking it costs at most."""

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it can tell anything about this process, and is allowed; one that is not is passed over."""

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why it would not work, found out without touching the process; empty where it would.

        Without the source's name before it, e.g. "needs CAP_SYS_PTRACE, or its user".

        Raises ProcessGoneError.
        """

    def take(self, taking: Taking) -> None:
        """Write its files and lines. Raises SourceError, OSError, ProcessGoneError."""
