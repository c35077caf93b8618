"""Finds which processes listen on a TCP port, also by a shared socket or in a network of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from agent.watch.procfs import parse_listening

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

MAX_DESCRIPTORS = 16_384
"""Links read of one process, in their order, in some 20 ms: half a million of them would hold up the poll.
A server listens before it has many open."""


def listening_ports(
    proc_root: Path, pids: Iterable[int], ports: Collection[int]
) -> dict[int, frozenset[int]]:
    """Return which of the `ports` each process holds a listening socket of, if any.

    The workers of a pre-forking server all count: psutil.net_connections names one holder of a socket.
    A process whose descriptors may not be read is left out.
    """
    sockets_of: dict[str, dict[str, int]] = {}
    found: dict[int, frozenset[int]] = {}
    for pid in pids:
        with suppress(OSError):
            network = str((proc_root / str(pid) / "ns/net").readlink())
            if network not in sockets_of:
                sockets_of[network] = _listening_sockets(proc_root / str(pid) / "net", ports)
            if sockets_of[network]:
                found[pid] = frozenset(_held(proc_root / str(pid) / "fd", sockets_of[network]))
    return {pid: held for pid, held in found.items() if held}


def _listening_sockets(folder: Path, ports: Collection[int]) -> dict[str, int]:
    """Return the ports by link text of a descriptor, "socket:[4026]"."""
    sockets: dict[str, int] = {}
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            with (folder / table).open(encoding="ascii", errors="replace") as lines:
                listening = parse_listening(lines)
            sockets |= {f"socket:[{inode}]": port for inode, port in listening.items() if port in ports}
    return sockets


def _held(folder: Path, sockets: dict[str, int]) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in islice(entries, MAX_DESCRIPTORS):
            with suppress(OSError):  # closed since it was listed
                link = os.readlink(entry.path)  # noqa: PTH115 - of thousands
                if link in sockets:
                    yield sockets[link]
