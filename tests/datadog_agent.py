"""Sockets that stand for the Datadog Agent's DogStatsD, of every kind it listens on.

with listening("udp", tmp_path) as agent:
    ...                          # something sends to agent.address
    assert agent.lines() == [...]
"""

from __future__ import annotations

import select
import socket
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_DATAGRAM_BYTES = 65_536
PATIENCE_S = 10.0


@dataclass(slots=True)
class Listener:
    """Keeps what arrives until it is asked for."""

    address: str
    _socket: socket.socket
    _connections: list[socket.socket] = field(default_factory=list)

    def datagrams(self, at_least: int = 0) -> list[bytes]:
        """Return what has arrived since the last question; waits for so many."""
        found: list[bytes] = []
        while True:
            payload = self._receive(wait=len(found) < at_least)
            if not payload:
                return found
            found.append(payload)

    def lines(self, at_least: int = 0) -> list[bytes]:
        """Return the same as lines; waits for so many datagrams."""
        return [line for datagram in self.datagrams(at_least) for line in datagram.split(b"\n")]

    def hang_up(self) -> None:
        """Close the streams that clients have opened."""
        for one in self._connections:
            one.close()
        self._connections.clear()

    def _receive(self, *, wait: bool) -> bytes:
        """Return the next datagram; empty when none comes."""
        ready, _, _ = select.select([self._socket, *self._connections], [], [], PATIENCE_S if wait else 0.0)
        if not ready:
            return b""
        source = ready[-1]
        if source.type == socket.SOCK_DGRAM:
            return bytes(source.recv(MAX_DATAGRAM_BYTES))
        if source is self._socket:
            self._connections.append(source.accept()[0])
            return self._receive(wait=wait)
        head = source.recv(4, socket.MSG_WAITALL)
        if head:
            return bytes(source.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL))
        self._connections.remove(source)
        source.close()
        return self._receive(wait=wait)


@contextmanager
def listening(scheme: str, folder: Path) -> Iterator[Listener]:
    family = socket.AF_INET if scheme == "udp" else socket.AF_UNIX
    kind = socket.SOCK_STREAM if scheme == "unixstream" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as ours:
        path = str(folder / "dsd.socket")
        ours.bind(("127.0.0.1", 0) if scheme == "udp" else path)
        if kind == socket.SOCK_STREAM:
            ours.listen()
        place = f"127.0.0.1:{ours.getsockname()[1]}" if scheme == "udp" else path
        listener = Listener(f"{scheme}://{place}", ours)
        try:
            yield listener
        finally:
            listener.hang_up()
