"""What /proc tells about one process, read through a descriptor that follows the process, not the number."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from agent.evidence.kernel import smaps
from agent.text import MAX_NAME_CHARS, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.smaps import Smaps
    from agent.model import ProcessKey

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
MAX_FILE_BYTES = 1_000_000
"""Far above status, limits, cgroup and memory.stat, which are a few kilobytes."""

STATUS_BYTES = (
    "VmPeak", "VmSize", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmSwap",
)  # fmt: skip
STATUS_NUMBERS = ("PPid", "Threads", "FDSize", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")

_ENDED_STATES = frozenset("ZXx")
_STOPPED_STATES = frozenset("Tt")
_LIMITS_NAME_CHARS = 26
"""fs/proc/base.c, proc_pid_limits: "%-25s %-20s %-20s %-10s"."""


class ProcessGoneError(Exception):
    """The process has ended, or its number belongs to another one now; the text says which."""


class Stat(NamedTuple):
    """Two fields of /proc/PID/stat (proc_pid_stat(5))."""

    state: str
    start_ticks: int

    @property
    def stopped(self) -> bool:
        """Stopped by a signal or by a tracer."""
        return self.state in _STOPPED_STATES


class HeldProcess:
    """One process held by a descriptor on its /proc folder: reads fail once it has ended.

    A context manager. Entering raises ProcessGoneError when the key's process does not live any more.
    """

    def __init__(self, key: ProcessKey, proc: Path = PROC) -> None:
        self.key = key
        self._path = proc / str(key.pid)
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._ended() from None
        try:
            self.check()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)

    def check(self) -> Stat:
        """Return its state now. Raises ProcessGoneError."""
        try:
            stat = parse_stat(self.read("stat"))
        except (FileNotFoundError, ProcessLookupError):
            raise self._ended() from None
        if stat.start_ticks != self.key.start_ticks:
            raise ProcessGoneError(f"pid {self.key.pid} belongs to another process now")
        if stat.state in _ENDED_STATES:
            raise self._ended()
        return stat

    def read(self, name: str) -> bytes:
        """Return a small file's content. Raises OSError."""
        with self.lines(name) as file:
            return file.read(MAX_FILE_BYTES)

    @contextmanager
    def lines(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for reading in binary, line by line. Raises OSError."""
        with os.fdopen(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd), "rb") as file:
            yield file

    @contextmanager
    def folder(self, name: str) -> Iterator[int]:
        """Open one of its folders. Raises OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _ended(self) -> ProcessGoneError:
        return ProcessGoneError(f"process {self.key.pid} has ended")


def read_smaps(held: HeldProcess) -> Smaps:
    """Return its memory by kind of mapping. Raises OSError, ValueError for unknown content."""
    with held.lines("smaps") as lines:
        return smaps.parse(lines)


def parse_stat(raw: bytes) -> Stat:
    """Read state and start time; the name before them may hold anything, also ")". Raises ValueError."""
    fields = raw[raw.rindex(b")") + 2 :].split()
    try:
        return Stat(fields[0].decode("ascii"), int(fields[19]))
    except IndexError:
        raise ValueError("a stat line without a start time") from None


def parse_status(raw: bytes) -> dict[str, str | int]:
    """Return the fields on memory in bytes, counts, name, state and owner (proc_pid_status(5))."""
    found: dict[str, str | int] = {}
    for line in raw.decode("utf-8", "backslashreplace").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name in STATUS_BYTES and words:
            found[f"{name}_bytes"] = int(words[0]) * 1024
        elif name in STATUS_NUMBERS and words:
            found[name] = int(words[0])
        elif name in ("Name", "State"):
            found[name] = one_line(value.strip(), MAX_NAME_CHARS)
        elif name == "Uid" and words:
            found["EffectiveUid"] = int(words[1])
    return found


def parse_mask(status: bytes, name: str) -> int:
    """Return a mask of /proc/PID/status (proc_pid_status(5)), e.g. "SigCgt"; 0 where there is none."""
    found = re.search(rb"^%s:\s*([0-9a-f]+)$" % name.encode(), status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def has_signal(status: bytes, mask: str, number: int) -> bool:
    """Whether a signal is in one of the masks of /proc/PID/status."""
    return bool(parse_mask(status, mask) >> (number - 1) & 1)


def parse_limits(raw: bytes) -> dict[str, list[str]]:
    """Return soft and hard limit by name as the kernel writes them ("unlimited" or a number)."""
    limits = {}
    for line in raw.decode("ascii", "replace").splitlines()[1:]:
        values = line[_LIMITS_NAME_CHARS:].split()
        limits[line[:_LIMITS_NAME_CHARS].strip()] = values[:2]
    return limits


def parse_cgroup(raw: bytes) -> dict[str, str]:
    """Return the paths of the unified hierarchy ("unified") and of the v1 memory controller ("memory")."""
    paths = {}
    for line in raw.decode("utf-8", "surrogateescape").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            paths["unified"] = path
        elif "memory" in controllers.split(","):
            paths["memory"] = path
    return paths


def parse_counters(raw: bytes) -> dict[str, int]:
    """Return the "name number" lines of memory.stat."""
    pairs = (line.split() for line in raw.decode("ascii", "replace").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}  # noqa: PLR2004 - a pair
