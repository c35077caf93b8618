"""Parses the text of /proc files (proc(5)); pure, and ready for every byte a process may put there."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMM_MAX_CHARS = 15
"""TASK_COMM_LEN of include/linux/sched.h without the NUL: longer names are cut by the kernel."""
KERNEL_THREAD_FLAG = 0x00200000
"""PF_KTHREAD of include/linux/sched.h, in field 9 of stat."""
_DEAD_STATES = (b"Z", b"X", b"x")
_LISTEN = "0A"
"""TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp prints it."""


class Stat(NamedTuple):
    """What the agent needs of /proc/PID/stat."""

    comm: bytes
    """The name as the process has set it: any bytes but NUL, 15 at most for a user's process."""
    state: bytes
    parent_pid: int
    flags: int
    cpu_ticks: int
    """User and system time, in clock ticks."""
    threads: int
    start_ticks: int
    """Clock ticks since boot."""
    rss_pages: int
    """Good enough to compare sizes; statm is the exact one (since Linux 6.16)."""

    @property
    def dead(self) -> bool:
        """Whether it has exited and only waits to be reaped."""
        return self.state in _DEAD_STATES

    @property
    def kernel_thread(self) -> bool:
        """Whether it is a thread of the kernel, which has no memory of its own."""
        return bool(self.flags & KERNEL_THREAD_FLAG)


class Pages(NamedTuple):
    """What the agent needs of /proc/PID/statm."""

    size: int
    """All mapped pages; 0 once the process has given its memory back (exited, zombie)."""
    resident: int
    shared: int
    """Resident file-backed and shared-memory pages."""


class Uids(NamedTuple):
    """The real and the effective user id."""

    real: int
    effective: int


def parse_stat(raw: bytes) -> Stat:
    """Read one line of /proc/PID/stat. Raises ValueError for anything else.

    The name stands in parentheses and may hold parentheses, spaces and newlines itself, but no field
    after it does: so its end is the last closing parenthesis.
    """
    begin, end = raw.find(b"("), raw.rfind(b")")
    fields = raw[end + 2 :].split(None, 22)
    if begin < 0 or end < begin or len(fields) < 22:  # noqa: PLR2004 - up to field 24, rss
        raise ValueError(f"not a stat line: {raw[:80]!r}")
    return Stat(
        comm=raw[begin + 1 : end],
        state=fields[0],
        parent_pid=int(fields[1]),
        flags=int(fields[6]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        rss_pages=int(fields[21]),
    )


def parse_statm(raw: bytes) -> Pages:
    """Read the line of /proc/PID/statm. Raises ValueError for anything else."""
    fields = raw.split(None, 3)
    if len(fields) < 3:  # noqa: PLR2004 - size, resident, shared
        raise ValueError(f"not a statm line: {raw[:80]!r}")
    return Pages(int(fields[0]), int(fields[1]), int(fields[2]))


def parse_swap_bytes(status: bytes) -> int:
    """Return VmSwap of /proc/PID/status in bytes; 0 where there is no such line.

    A process cannot forge the line: newlines of its name are escaped in this file.
    """
    at = status.find(b"\nVmSwap:")
    return 0 if at < 0 else int(status[at + 8 :].split(None, 1)[0]) * 1024


def parse_uids(status: bytes) -> Uids:
    """Return the user ids of /proc/PID/status. Raises ValueError where there are none."""
    at = status.find(b"\nUid:")
    if at < 0:
        raise ValueError("no Uid line")
    real, effective = status[at + 5 :].split(None, 2)[:2]
    return Uids(int(real), int(effective))


def parse_swaps_used(swaps: str) -> bool:
    """Whether /proc/swaps tells of a device or file with pages on it."""
    rows = [line.split() for line in swaps.splitlines()[1:]]
    return any(len(row) >= 5 and row[-2] != "0" for row in rows)  # noqa: PLR2004 - its columns


def parse_arguments(cmdline: bytes) -> tuple[bytes, ...]:
    """Split /proc/PID/cmdline; a process that has overwritten it (setproctitle) gives one argument."""
    return tuple(cmdline.rstrip(b"\0").split(b"\0")) if cmdline.strip(b"\0") else ()


@lru_cache(maxsize=256)
def parse_cgroup(text: str) -> Mapping[str, str]:
    """Return the paths of /proc/PID/cgroup by hierarchy: "" is v2, "memory", "name=systemd", ... are v1.

    Processes of one cgroup have the same text: it is read once.
    """
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if number.isdigit() and colon:
            paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def telling_cgroup(paths: Mapping[str, str]) -> str:
    """Return the path that says most about where a process belongs: v2, else systemd's own v1, else memory.

    On a hybrid host the v2 hierarchy may be mounted and unused: then everyone is in its root.
    """
    named = (paths.get(hierarchy, "/") for hierarchy in ("", "name=systemd", "memory"))
    return next((path for path in named if path != "/"), "/")


def parse_listening(table: Iterable[str]) -> dict[str, int]:
    """Return the ports of /proc/net/tcp or tcp6 that are listened on, by the socket's inode.

    Those that listen come first (net/ipv4/tcp_ipv4.c, tcp_get_idx): no line of the others is asked for,
    which can be hundreds of thousands.
    """
    rows = (line.split() for line in islice(table, 1, None))
    listening = takewhile(lambda row: len(row) > 9 and row[3] == _LISTEN, rows)  # noqa: PLR2004 - the tenth column is the inode
    return {row[9]: int(row[1].rpartition(":")[2], 16) for row in listening}
