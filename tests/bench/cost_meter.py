"""Reads what a tool has cost so far, its child processes included: CPU, resident memory, bytes written."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cost_load import children_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2
"""include/linux/posix-timers.h: a process's clock is (~pid << 3) | 2."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tool has used until a moment."""

    at_s: float
    """On CLOCK_MONOTONIC."""
    cpu_s: float
    """User and system time of its processes, those that have ended and were waited for included."""
    children_cpu_s: float
    """The same of the children that have ended alone."""
    rss_bytes: int
    """VmRSS of all its processes; pages that they share count for each."""
    written_bytes: int
    """What it has caused to be written to devices (write_bytes of proc(5)); needs the tool's user or root."""


def now_s() -> float:
    """Return the present on the clock of the readings."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def read(pid: int) -> Reading:
    """Return what a tool's process and its descendants have used. Raises OSError where it has ended."""
    at_s, pids = now_s(), list(_tree(pid))
    ended_s = sum(_ended_children_s(one) for one in pids)
    return Reading(
        at_s=at_s,
        cpu_s=time.clock_gettime(_clock(pid)) + sum(_cpu_s(one) for one in pids[1:]) + ended_s,
        children_cpu_s=ended_s,
        rss_bytes=sum(_status_bytes(one, "VmRSS") for one in pids),
        written_bytes=sum(_written_bytes(one) for one in pids),
    )


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _clock(pid: int) -> int:
    return (~pid << 3) | CPUCLOCK_SCHED


def _cpu_s(pid: int) -> float:
    """Return nanoseconds as seconds: the ticks of /proc/PID/stat are 10 ms, as long as a whole poll."""
    with suppress(OSError):
        return time.clock_gettime(_clock(pid))
    return 0.0


def _ended_children_s(pid: int) -> float:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        fields = stat[stat.rindex(b")") + 2 :].split()
        return (int(fields[13]) + int(fields[14])) / TICKS_PER_S  # cutime and cstime of proc(5)
    return 0.0


def _status_bytes(pid: int, name: str) -> int:
    return _field(pid, "status", name) * 1024


def _written_bytes(pid: int) -> int:
    return _field(pid, "io", "write_bytes")


def _field(pid: int, file: str, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text("utf-8", "replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0
