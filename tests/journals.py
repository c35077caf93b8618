"""A datagram socket that stands for journald, and a reader of what arrives there.

Reads the native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/) as journald does: an entry is the
datagram, or lies in the sealed file in memory that comes with an empty one.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_DATAGRAM_BYTES = 2**20
ALL_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


@contextmanager
def listening_journal(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(0)
        yield listener


def entries_of(listener: socket.socket) -> list[bytes]:
    """Return the entries that have arrived since they were asked for last."""
    entries: list[bytes] = []
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(listener, MAX_DATAGRAM_BYTES, 1)
        except BlockingIOError:
            return entries
        entries.append(_content(descriptors[0]) if descriptors and not data else data)


def _content(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as memory:
        assert fcntl.fcntl(memory, fcntl.F_GET_SEALS) == ALL_SEALS
        memory.seek(0)
        return memory.read()


def fields_of(entry: bytes) -> list[tuple[str, str]]:
    """Return the fields of an entry, in order."""
    found = []
    while entry:
        head, _, rest = entry.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest.startswith(b"\n")
            rest = rest[1:]
        found.append((name.decode(), value.decode()))
        entry = rest
    return found
