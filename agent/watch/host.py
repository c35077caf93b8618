"""Facts of the machine that are no process's own: memory, swap, load, free disk, who holds a port."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The machine, and this process on it."""

    memory_bytes: int
    available_bytes: int
    swap_bytes: int
    swap_used_bytes: int
    booted_wall_s: float
    load: float
    """Mean over a minute."""
    own_rss_bytes: int


def host_facts() -> HostFacts:
    """Return the facts of now."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return HostFacts(
        memory_bytes=memory.total,
        available_bytes=memory.available,
        swap_bytes=swap.total,
        swap_used_bytes=swap.used,
        booted_wall_s=psutil.boot_time(),
        load=os.getloadavg()[0],
        own_rss_bytes=psutil.Process().memory_info().rss,
    )


def free_disk_bytes(path: Path) -> int:
    """Return how much this user may still write to the file system of an existing path. Raises OSError."""
    return int(psutil.disk_usage(str(path)).free)


def listener(port: int) -> int | None:
    """Return the pid of a process that listens on a TCP port; None where it cannot be told."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port:
                return connection.pid
    return None
