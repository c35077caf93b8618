"""What every probe of a runtime answers, and the port the poll speaks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from agent.model import Process, ProcessKey


class RuntimeFigures(NamedTuple):
    """What a runtime says of its heap; None is what it does not tell (yet)."""

    heap_bytes: int | None
    """Used after the newest collection; None before the first one."""
    collections: int | None
    """Collections so far, of every generation."""
    limit_bytes: int | None
    """The most its heap may grow to, e.g. -Xmx."""


class Probe(Protocol):
    """Reads the figures of processes of one runtime. Not thread-safe: it belongs to the thread that polls."""

    def open(self, process: Process) -> bool:
        """Begin to follow a process; False where that cannot be done, `why` says the reason."""
        ...

    def why(self, key: ProcessKey) -> str:
        """Return why there are no figures, as a sentence; empty where there are."""
        ...

    def read(self, key: ProcessKey) -> RuntimeFigures | None:
        """Return the figures of now; None where they could not be read this time. Raises nothing."""
        ...

    def close(self, key: ProcessKey) -> None:
        """Forget a process, also one that was refused; an unknown one is no error."""
        ...
