"""The helper's side of the socket: who may ask, a thread for each, nobody waits for a peer that hangs."""

from __future__ import annotations

import logging
import select
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from agent import __version__
from agent.capture_helper.protocol import (
    MAX_BEFORE_BYTES,
    MAX_FILE_BYTES,
    MAX_FILES,
    MAX_REQUEST_BYTES,
    MAX_WANTED,
    Ask,
    Message,
    ProtocolError,
    age_s,
    parse_request,
)
from agent.capture_helper.wire import Peer, peer_of, receive, send, within
from agent.evidence.taking import Before
from agent.logs import log_event
from agent.units import format_bytes

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from agent.capture_helper.protocol import Request
    from agent.capture_helper.work import Done, Work
    from agent.model import ProcessKey

logger = logging.getLogger(__name__)

ASK_S = 2.0
"""A client knows its question when it connects."""
WANT_S = 2.0
"""It has earlier files at hand."""
ANSWER_S = 10.0
"""Some megabytes at most."""
MAX_TOLD = 10_000
"""Processes of which it is remembered that a look into them was logged."""
MAX_CONNECTIONS = 4
"""Of one user at a time: who opens more keeps only itself waiting."""


class Server:
    """Serves until nobody has come for a while; the next connection starts it again (systemd.socket(5))."""

    def __init__(self, listener: socket.socket, work: Work, idle_s: float) -> None:
        listener.settimeout(0.0)
        self._listener = listener
        self._work = work
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._open: Counter[int] = Counter()
        """Connections by user."""
        self._told: set[ProcessKey] = set()
        """Who was looked into; baselines of a thousand processes are no thousand lines an hour."""

    def run(self) -> None:
        """Serve until idle. Raises OSError when the listening socket itself fails."""
        while self._wait():
            with suppress(BlockingIOError, ConnectionAbortedError):  # the client has left the queue again
                line, _ = self._listener.accept()
                self._welcome(line)

    def _wait(self) -> bool:
        """Return whether somebody has come; False once it was quiet for long, and nothing is being done."""
        while True:
            ready, _, _ = select.select([self._listener], [], [], self._idle_s)
            if ready:
                return True
            with self._lock:
                if not self._open.total():
                    return False

    def _welcome(self, line: socket.socket) -> None:
        try:
            peer = peer_of(line)
        except OSError:
            line.close()
            return
        refusal = self._refusal(peer)
        if refusal:
            log_event(logger, "refused", level=logging.WARNING, uid=peer.uid, peer=peer.pid, why=refusal)
            _turn_away(line, refusal)
            return
        threading.Thread(target=self._serve, args=(line, peer), name="leakwatch-capture", daemon=True).start()

    def _refusal(self, peer: Peer) -> str:
        if not self._work.rules.serves(peer.uid):
            return "does not serve this user"
        with self._lock:
            if self._open[peer.uid] >= MAX_CONNECTIONS:
                return f"has {MAX_CONNECTIONS} connections of this user open"
            self._open[peer.uid] += 1
        return ""

    def _serve(self, line: socket.socket, peer: Peer) -> None:
        try:
            with line:
                line.settimeout(None)
                self._answer(line, peer)
        except (OSError, ProtocolError) as error:
            log_event(logger, "refused", level=logging.WARNING, uid=peer.uid, peer=peer.pid, why=str(error))
        except Exception as error:  # noqa: BLE001 - the next one is served
            log_event(logger, "refused", level=logging.ERROR, uid=peer.uid, error=repr(error))
        finally:
            with self._lock:
                self._open[peer.uid] -= 1

    def _answer(self, line: socket.socket, peer: Peer) -> None:
        with within(line, ASK_S):
            request = parse_request(receive(line, 0, MAX_REQUEST_BYTES).head)
        if request.ask is Ask.ABOUT:
            with within(line, ANSWER_S):
                send(line, Message(self._about()))
            return
        with self._work.done(request, _asking(line)) as done:
            self._log(request, peer, done)
            with within(line, ANSWER_S):
                _hand_over(line, done)

    def _log(self, request: Request, peer: Peer, done: Done) -> None:
        """Log the first look into each process, and what failed."""
        if request.ask is not Ask.TAKE or not done.served:
            return
        with self._lock:
            told = request.key in self._told
            if len(self._told) >= MAX_TOLD:  # a client may make them up
                self._told.clear()
            self._told.add(request.key)
        if not told or done.why_not:
            log_event(
                logger,
                "evidence",
                pid=request.pid,
                source=request.name,
                uid=peer.uid,
                missing=done.why_not or None,
            )

    def _about(self) -> dict[str, object]:
        rules = self._work.rules
        return {
            "say": "about",
            "version": __version__,
            "served": list(rules.served),
            "allowed": list(rules.allowed),
        }


def _turn_away(line: socket.socket, why: str) -> None:
    """Say why and close; whoever does not listen is not waited for."""
    line.settimeout(0.0)
    with line, suppress(OSError):
        send(line, Message(_end(why)))


def _asking(line: socket.socket) -> Callable[[str], Before | None]:
    """Return what asks the client for an earlier file; a client that does not answer has none."""
    left = MAX_WANTED

    def before(name: str) -> Before | None:
        nonlocal left
        left -= 1
        if left < 0:
            return None
        try:
            with within(line, WANT_S):
                send(line, Message({"say": "want", "name": name}))
                told = receive(line, MAX_BEFORE_BYTES)
            age = age_s(told.head)
        except (OSError, ProtocolError):
            return None
        return None if age is None else Before(told.content, age)

    return before


def _hand_over(line: socket.socket, done: Done) -> None:
    """Send the files one by one, then what was found. Raises OSError, ProtocolError."""
    missing = list(done.missing)
    for file in done.files[:MAX_FILES]:
        if file.stat().st_size > MAX_FILE_BYTES:
            missing.append(f"{file.name}: longer than {format_bytes(MAX_FILE_BYTES)}, not handed over")
        else:
            send(line, Message({"say": "file", "name": file.name}, file.read_bytes()))
    lines = [[found.rank, found.text] for found in done.lines]
    end = _end(done.why_not, served=done.served, suits=done.suits)
    send(line, Message(end | {"lines": lines, "missing": missing, "disproof": done.disproof}))


def _end(why_not: str, *, served: bool = True, suits: bool = True) -> dict[str, Any]:
    return {
        "say": "end",
        "why_not": why_not,
        "served": served,
        "suits": suits,
        "lines": [],
        "missing": [],
    }
