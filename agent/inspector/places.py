"""Finds where a Node process has its inspector open, by what the kernel and its command line tell."""

from __future__ import annotations

import os
import re
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DEFAULT_PORT = 9229
"""nodejs.org/api/cli.html: --inspect[=[host:]port]; SIGUSR1 opens the same."""
MAX_TEXT_BYTES = 1_000_000
MAX_ROWS = 200_000
"""Sockets of a network looked through; those that listen come first (net/ipv4/tcp_ipv4.c, tcp_get_idx)."""
MAX_DESCRIPTORS = 100_000
_READ = os.O_RDONLY | os.O_CLOEXEC
_LISTEN, _ESTABLISHED = "0A", "01"
"""include/net/tcp_states.h."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is compared, nothing is bound
_OPTION = re.compile(r"--inspect(?:-brk|-port|-wait)?(?:=(?P<value>\S+))?")
_CLOSED_TO_SIGNALS = "--disable-sigusr1"


class Place(NamedTuple):
    """A socket on which a process listens, and where it is to be reached."""

    host: str
    port: int
    inode: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Hints(NamedTuple):
    """What the command line and NODE_OPTIONS say of the inspector; a process may have forged both."""

    ports: frozenset[int]
    """Where it may be open; 0 for a port that the kernel chose."""
    signal_off: bool
    """Whether SIGUSR1 does not open it."""


def places(process_fd: int) -> tuple[Place, ...]:
    """Return where the inspector of a process may be listening: its own sockets, the hinted ports alone.

    `process_fd` is a descriptor on /proc/PID; nothing is sent. Empty where none is open, also where the
    process has a network of its own, which `same_network` tells. Raises OSError where its descriptors may
    not be read.
    """
    ports = hints(process_fd).ports
    found = [place for place in _listening(process_fd) if place.port in ports or _chosen(place, ports)]
    if not found:
        return ()
    own = _sockets(process_fd, {place.inode for place in found})
    return tuple(place for place in found if place.inode in own)


def same_network(process_fd: int) -> bool:
    """Whether 127.0.0.1 is for us what it is for the process. Raises OSError."""
    return os.readlink("ns/net", dir_fd=process_fd) == str(Path("/proc/self/ns/net").readlink())


def connections(process_fd: int, port: int) -> int:
    """Return how many are connected to a port of the process's network. Raises OSError."""
    rows = (row for table in ("tcp", "tcp6") for row in _rows(process_fd, table))
    return sum(1 for row in rows if row[3] == _ESTABLISHED and _port(row[1]) == port)


def hints(process_fd: int) -> Hints:
    """Return what the process was started with; what may not be read says nothing."""
    words = _text(process_fd, "cmdline").split("\0")
    for variable in _text(process_fd, "environ").split("\0"):
        name, _, value = variable.partition("=")
        words += value.split() if name == "NODE_OPTIONS" else []
    return read_hints(words)


def read_hints(words: Iterable[str]) -> Hints:
    """Return what the arguments say.

    >>> sorted(read_hints(["node", "--inspect=0.0.0.0:9300", "app.js"]).ports)
    [9229, 9300]
    """
    ports, signal_off = {DEFAULT_PORT}, False
    for word in words:
        signal_off = signal_off or word == _CLOSED_TO_SIGNALS
        option = _OPTION.fullmatch(word)
        port = (option["value"] or "").rpartition(":")[2] if option else ""
        if port.isdecimal() and len(port) <= 5:  # noqa: PLR2004 - 65535
            ports.add(int(port))
    return Hints(frozenset(ports), signal_off)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of the kernel's "0100007F:240D". Raises ValueError.

    >>> parse_address("0100007F:240D")
    ('127.0.0.1', 9229)
    """
    address, _, port = text.partition(":")
    raw = bytes.fromhex(address)
    words = struct.unpack(f"={len(raw) // 4}I", raw[: len(raw) // 4 * 4])
    packed = struct.pack(f">{len(words)}I", *words)  # the text is each word as a number of this machine
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6  # noqa: PLR2004 - bytes of an IPv4 address
    try:
        return socket.inet_ntop(family, packed), int(port, 16)
    except OSError:
        raise ValueError(text) from None


def _chosen(place: Place, ports: frozenset[int]) -> bool:
    """Whether it may be the port that the kernel chose for --inspect=0: such a one is on loopback."""
    return 0 in ports and place.host in ("127.0.0.1", "::1")


def _listening(process_fd: int) -> Iterator[Place]:
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):  # a kernel without IPv6
            for row in _rows(process_fd, table):
                if row[3] != _LISTEN:
                    break
                host, port = parse_address(row[1])
                yield Place(_ANYWHERE.get(host, host), port, f"socket:[{row[9]}]")


def _rows(process_fd: int, table: str) -> Iterator[list[str]]:
    fd = os.open(f"net/{table}", _READ, dir_fd=process_fd)
    with os.fdopen(fd, encoding="utf-8", errors="replace") as file:
        next(file, None)
        for _, line in zip(range(MAX_ROWS), file, strict=False):
            row = line.split()
            if len(row) > 9:  # noqa: PLR2004 - the tenth column is the inode
                yield row


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _sockets(process_fd: int, wanted: set[str]) -> set[str]:
    """Return which of those sockets the process holds."""
    held: set[str] = set()
    fd = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        for number in os.listdir(fd)[:MAX_DESCRIPTORS]:  # noqa: PTH208 - a descriptor, not a path
            with suppress(FileNotFoundError):  # closed meanwhile
                held.add(os.readlink(number, dir_fd=fd))
            if wanted <= held:
                break
    finally:
        os.close(fd)
    return wanted & held


def _text(process_fd: int, name: str) -> str:
    with suppress(OSError), os.fdopen(os.open(name, _READ, dir_fd=process_fd), "rb") as file:
        return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
    return ""
