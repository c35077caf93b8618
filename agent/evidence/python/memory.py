"""The memory of a process as numbers: read and written at addresses, and the regions it consists of."""

from __future__ import annotations

import os
import re
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.procfs import HeldProcess

MAX_READ_BYTES = 16_000_000
"""The writable data of an interpreter is a few megabytes; nothing larger is read at once."""
MAX_TOTAL_BYTES = 64_000_000
"""What one visit reads altogether, however many mappings a process makes up."""


_LIKELY = re.compile(r"/(?:lib)?python[^/]*$|/libc[.-]|/libpthread|/ld-musl")


class Region(NamedTuple):
    """A line of /proc/PID/maps (proc_pid_maps(5))."""

    start: int
    end: int
    rights: str
    offset: int
    path: str
    """As the process can choose it: only ever compared."""


class Memory:
    """The memory of one life of a process: after an exec or its end every access fails."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left_bytes = MAX_TOTAL_BYTES

    def read(self, address: int, size: int) -> bytes:
        """Return that many bytes. Raises OSError where they are not there, ValueError for absurd numbers."""
        if not 0 < address < 1 << 62 or not 0 <= size <= MAX_READ_BYTES:
            raise ValueError("an address or a size that cannot be")
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise OSError("too much memory to search through")
        found = os.pread(self._fd, size, address)
        if len(found) != size:
            raise OSError("memory ends there")
        return found

    def number(self, address: int) -> int:
        """Return the eight bytes there as a number. Raises OSError, ValueError."""
        return int(struct.unpack("<Q", self.read(address, 8))[0])

    def write(self, address: int, content: bytes) -> None:
        """Write the bytes there. Raises OSError, ValueError."""
        if not 0 < address < 1 << 62:
            raise ValueError("an address that cannot be")
        if os.pwrite(self._fd, content, address) != len(content):
            raise OSError("memory ends there")


@contextmanager
def opened(held: HeldProcess, *, writable: bool) -> Iterator[Memory]:
    """Open its memory. Raises OSError, PermissionError without the right to trace."""
    with held.folder(".") as folder:
        fd = os.open("mem", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield Memory(fd)
    finally:
        os.close(fd)


def regions(held: HeldProcess) -> tuple[Region, ...]:
    """Return its mappings, those of the interpreter and of libc first; very many are cut off.

    Raises OSError, ValueError.
    """
    raw = held.read("maps")
    found = tuple(_region(line) for line in raw[: raw.rfind(b"\n")].splitlines())
    return tuple(sorted(found, key=lambda region: not _LIKELY.search(region.path)))


def _region(line: bytes) -> Region:
    fields = line.decode("utf-8", "surrogateescape").split(" ", 5)
    start, _, end = fields[0].partition("-")
    path = fields[5].strip() if len(fields) > 5 else ""  # noqa: PLR2004 - the path is the sixth
    return Region(int(start, 16), int(end, 16), fields[1], int(fields[2], 16), path)
