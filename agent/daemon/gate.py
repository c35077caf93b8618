"""Lets a poll go first: work beside it on other threads waits, between two pieces, until the poll is over."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

MOST_S = 1.0
"""A poll that hangs holds up others for no longer than this a piece."""


class Gate:
    """Held by whoever polls. A thread that holds it may wait at it as well."""

    def __init__(self) -> None:
        self._held = threading.RLock()

    def __enter__(self) -> Self:
        self._held.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.release()

    def wait(self) -> None:
        """Return once no other thread holds it, or after a while."""
        if self._held.acquire(timeout=MOST_S):
            self._held.release()
