"""What the sockets of a process are: state and peer of each, by the tables of its network namespace."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.evidence.kernel.procfs import HeldProcess

TABLES = ("tcp", "tcp6", "udp", "udp6", "unix")
MAX_LINES = 200_000
"""Of one table: it holds the sockets of everybody in the namespace."""
MAX_NAME_CHARS = 100
STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
"""include/net/tcp_states.h"""
_LISTEN = STATES.index("LISTEN")
_TCP_INODE, _UNIX_INODE, _UNIX_PATH = 9, 6, 7
_UNIX_CONNECTED = "03"
"""SS_CONNECTED of include/uapi/linux/net.h."""


def describe(held: HeldProcess, inodes: frozenset[str]) -> dict[str, str]:
    """Return what each of these sockets is, e.g. "CLOSE_WAIT to 10.0.0.7:5432"; of those that are found."""
    found: dict[str, str] = {}
    for table in TABLES:
        if len(found) == len(inodes):
            break
        try:
            with held.lines(f"net/{table}") as lines:
                read = unix(_bounded(lines)) if table == "unix" else internet(_bounded(lines), table)
                found.update((inode, what) for inode, what in read if inode in inodes)
        except (FileNotFoundError, PermissionError):
            continue  # a kernel without IPv6
    return found


def internet(lines: Iterable[bytes], table: str) -> Iterator[tuple[str, str]]:
    """Yield inode and description of the sockets of /proc/PID/net/tcp and its like (proc_net(5)).

    Of listening ones the own address is told, of others the peer's.
    """
    for line in lines:
        columns = line.split()
        if len(columns) <= _TCP_INODE or not columns[0].endswith(b":"):
            continue
        try:
            state, inode = int(columns[3], 16), columns[_TCP_INODE].decode("ascii")
            listens = state == _LISTEN
            address = _address(columns[1 if listens else 2].decode("ascii"))
        except ValueError:
            continue
        if table.startswith("udp"):
            yield inode, f"udp to {address}" if not address.endswith(":0") else "udp"
        elif state < len(STATES):
            yield inode, f"{STATES[state]} {'on' if listens else 'to'} {address}"


def unix(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield inode and description of the sockets of /proc/PID/net/unix."""
    for line in lines:
        columns = line.split(None, _UNIX_PATH)
        if len(columns) <= _UNIX_INODE or not columns[_UNIX_INODE].isdigit():
            continue
        path = columns[_UNIX_PATH].rstrip(b"\n") if len(columns) > _UNIX_PATH else b""
        connected = columns[5].decode("ascii", "replace") == _UNIX_CONNECTED
        name = f"unix {one_line(path, MAX_NAME_CHARS)}" if path else "unix"
        yield columns[_UNIX_INODE].decode("ascii"), name if connected else f"{name} not connected"


def _bounded(lines: Iterable[bytes]) -> Iterator[bytes]:
    for count, line in enumerate(lines):
        if count >= MAX_LINES:
            break
        yield line


def _address(text: str) -> str:
    """Return an address as people write it; the kernel writes each 32 bit word in the host's order."""
    words, _, port = text.partition(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(words), 8))
    if len(raw) == 4:  # noqa: PLR2004 - IPv4
        return f"{socket.inet_ntop(socket.AF_INET, raw)}:{int(port, 16)}"
    host = socket.inet_ntop(socket.AF_INET6, raw)
    mapped = host.removeprefix("::ffff:")
    return f"{mapped if '.' in mapped else f'[{host}]'}:{int(port, 16)}"
