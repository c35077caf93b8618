"""Sessions that stay connected between two questions, and are gone as soon as their program wants to end.

Node waits at its end until every session is closed, and says so to those that have asked to be told. A
session in which nobody asks anything hears nothing else: one that becomes readable is closed unread.
"""

from __future__ import annotations

import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agent.inspector.client import Session

_READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT


def warned_of_end(session: Session) -> None:
    """Have the program say when it waits for this session to end. Raises InspectorError."""
    session.call("NodeRuntime.notifyWhenWaitingForDisconnect", enabled=True)


class KeptSessions:
    """Sessions by whom they are for. Thread-safe; a thread of its own listens while there are any."""

    def __init__(self) -> None:
        self._idle: dict[Hashable, Session] = {}
        self._by_fd: dict[int, Hashable] = {}
        self._epoll = select.epoll()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="leakwatch-inspector", daemon=True)

    def keep(self, key: Hashable, session: Session) -> None:
        """Take over a session until it is asked for again, or has something to say."""
        with self._lock:
            self._idle[key], self._by_fd[session.fileno()] = session, key
            self._epoll.register(session.fileno(), _READABLE)
            if not self._thread.ident:
                self._thread.start()

    def take(self, key: Hashable) -> Session | None:
        """Give a session back; None where there is none, or none any more."""
        with self._lock:
            session = self._idle.pop(key, None)
            if session is not None:
                self._by_fd.pop(session.fileno())
                self._epoll.unregister(session.fileno())
            return session

    def drop(self, key: Hashable) -> None:
        """Close a session; an unknown one is no error."""
        session = self.take(key)
        if session is not None:
            session.close()

    def _listen(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                with self._lock:
                    key = self._by_fd.get(fd)
                if key is not None:
                    self.drop(key)
