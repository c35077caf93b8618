"""Messages over a stream socket: whole or not at all, bounded in length and in time."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from agent.capture_helper.protocol import (
    LENGTHS_BYTES,
    MAX_HEAD_BYTES,
    Message,
    ProtocolError,
    decode_head,
    encode,
    lengths,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES = 65_536
_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7))."""


class Peer(NamedTuple):
    """Who is at the other end, by the kernel's word."""

    pid: int
    uid: int
    gid: int


def peer_of(line: socket.socket) -> Peer:
    """Return who connected, or, asked by a client, who listens (SO_PEERCRED, unix(7)). Raises OSError."""
    return Peer(
        *_CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    )


def send(line: socket.socket, message: Message) -> None:
    """Send a message. Raises OSError, ProtocolError."""
    line.sendall(encode(message))


def receive(line: socket.socket, max_content_bytes: int = 0, max_head_bytes: int = MAX_HEAD_BYTES) -> Message:
    """Return the next message. Raises OSError, also for one that is cut off, and ProtocolError."""
    length = lengths(_exactly(line, LENGTHS_BYTES), max_content_bytes, max_head_bytes)
    head = decode_head(_exactly(line, length.head_bytes))
    return Message(head, _exactly(line, length.content_bytes))


@contextmanager
def within(line: socket.socket, seconds: float) -> Iterator[None]:
    """Close the line after some seconds: a peer that drips never runs into a time-out of single reads.

    Raises TimeoutError when that was needed; what the block had raised is not told then.
    """
    expired = threading.Event()
    timer = threading.Timer(seconds, _end, (line, expired))
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ProtocolError):
        if expired.is_set():
            raise TimeoutError("no answer in time") from None
        raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError("no answer in time")


def _end(line: socket.socket, expired: threading.Event) -> None:
    expired.set()
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _exactly(line: socket.socket, size: int) -> bytes:
    """Read so many bytes; memory is taken as they come, not as they are promised."""
    found = bytearray()
    while len(found) < size:
        chunk = line.recv(min(_CHUNK_BYTES, size - len(found)))
        if not chunk:
            raise ConnectionResetError("the other side has closed the line")
        found += chunk
    return bytes(found)
