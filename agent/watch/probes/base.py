"""What every probe of a runtime answers; one port for those that read at once, one for those that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.model import Process, ProcessKey
    from agent.watch.targets import Target

ASK_TIMEOUT_S = 2.0
"""Whoever asks a server has given up after this: the next process of the same thread is waiting."""


class ProbeError(Exception):
    """Why a runtime gave no figures this time: a sentence for people, without secrets."""


class RuntimeFigures(NamedTuple):
    """What a runtime says of its heap; None is what it does not tell (yet)."""

    heap_bytes: int | None
    """Used after the newest collection, None before the first one; where `garbage` is set, used now."""
    collections: int | None
    """Collections so far: of a JVM those of every generation, of others only those of the whole heap."""
    limit_bytes: int | None
    """The most its heap may grow to, e.g. -Xmx."""
    garbage: bool = False
    """`heap_bytes` holds what has died since the newest collection: its floors count, no single figure."""


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


class Asked(Protocol):
    """Gets the figures of processes from a server.

    `ask` runs on threads of its own, for one process never twice at a time. The other methods are called on
    the thread that polls: they look at no process and ask nobody.
    """

    def suits(self, target: Target) -> bool:
        """Whether this process is to be asked."""
        ...

    def where(self, target: Target) -> str:
        """Return whom it asks, in words for people: "127.0.0.1:9100"."""
        ...

    def ask(self, target: Target, others: AbstractSet[int]) -> RuntimeFigures:
        """Return the figures of now, within `ASK_TIMEOUT_S`. Raises ProbeError.

        `others` are the pids of the further processes of the same service.
        """
        ...

    def forget(self, key: ProcessKey) -> None:
        """Drop what is remembered of a process; an unknown one is no error."""
        ...
