"""Open connections of a small server: bounded in number and in time, whatever their peers do."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

MAX_CONNECTIONS = 16
"""Answered at the same time; one more ends the oldest, so that slow peers cannot keep others out."""
MAX_THREADS = 2 * MAX_CONNECTIONS
"""Those that were ended may need a moment; beyond this a newcomer is turned away."""
MAX_AGE_S = 5.0
"""From the first byte to the last; an answer takes milliseconds."""


class Connections:
    """Which connections are open, and since when. Safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._opened_t_s: dict[socket.socket, float] = {}
        self._ended: set[socket.socket] = set()

    def admit(self, connection: socket.socket, now_t_s: float) -> bool:
        """Count a newcomer in; ends the oldest when there are too many. False when there is no room."""
        with self._changed:
            if len(self._opened_t_s) + len(self._ended) >= MAX_THREADS:
                return False
            self._opened_t_s[connection] = now_t_s
            if len(self._opened_t_s) > MAX_CONNECTIONS:
                self._end(next(iter(self._opened_t_s)))
            return True

    def leave(self, connection: socket.socket) -> None:
        """Forget a connection whose thread is done with it."""
        with self._changed:
            self._opened_t_s.pop(connection, None)
            self._ended.discard(connection)
            self._changed.notify_all()

    def end_older(self, now_t_s: float) -> None:
        """End what has lasted too long."""
        with self._changed:
            for connection, opened_t_s in list(self._opened_t_s.items()):
                if now_t_s - opened_t_s > MAX_AGE_S:
                    self._end(connection)

    def end_all(self, timeout_s: float) -> bool:
        """End every connection and wait for their threads. True when all are done in time."""
        with self._changed:
            for connection in list(self._opened_t_s):
                self._end(connection)
            return self._changed.wait_for(lambda: not self._ended, timeout_s)

    def _end(self, connection: socket.socket) -> None:
        del self._opened_t_s[connection]
        self._ended.add(connection)
        with suppress(OSError):  # its peer was faster
            connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or writes
