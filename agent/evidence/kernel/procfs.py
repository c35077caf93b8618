"""What /proc tells about one process, read through a descriptor that follows the process, not the number."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

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
MAX_ENTRIES = 100_000
"""Descriptors or threads counted; the kernel's default limit of descriptors is 1,048,576."""
TOP_TARGETS = 20
MAX_TARGET_CHARS = 200

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


def read_status(held: HeldProcess, cgroup_root: Path = CGROUP) -> dict[str, Any]:
    """Return its status, limits, threads by name and its cgroup's memory. Raises OSError."""
    return {
        "status": parse_status(held.read("status")),
        "limits": parse_limits(held.read("limits")),
        "threads": _thread_names(held),
        "cgroup": _cgroup_memory(held.read("cgroup"), cgroup_root),
    }


def read_fds(held: HeldProcess) -> dict[str, Any]:
    """Return its open descriptors by class, and the files opened most often. Raises OSError."""
    classes: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    with held.folder("fd") as folder:
        numbers = os.listdir(folder)  # noqa: PTH208 - a descriptor, not a path
        for number in numbers[:MAX_ENTRIES]:
            target = _link(number, folder)
            kind = fd_class(target)
            classes[kind] += 1
            if target.startswith("/"):
                targets[one_line(target, MAX_TARGET_CHARS)] += 1
    return {
        "open": len(numbers),
        "classes": dict(classes.most_common()),
        "targets": dict(targets.most_common(TOP_TARGETS)),
    }


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


def fd_class(target: str) -> str:
    """Return what kind of thing a link of /proc/PID/fd points to.

    >>> fd_class("socket:[4711]"), fd_class("anon_inode:[eventpoll]"), fd_class("/memfd:x (deleted)")
    ('socket', 'anon_inode:[eventpoll]', 'memfd')
    """
    if target.startswith("anon_inode:"):
        return one_line(target, MAX_NAME_CHARS)
    if target.startswith("/memfd:"):
        return "memfd"
    if target.startswith("/dev/") and not target.startswith("/dev/shm/"):  # noqa: S108 - a name that is compared
        return "device"
    if target.startswith("/"):
        return "deleted file" if target.endswith(" (deleted)") else "file"
    return one_line(target.partition(":")[0], MAX_NAME_CHARS)


def _link(number: str, folder: int) -> str:
    try:
        return os.readlink(number, dir_fd=folder)
    except FileNotFoundError:
        return "closed"  # between the listing and now


def _thread_names(held: HeldProcess) -> dict[str, int]:
    """Return how many threads bear each name."""
    names: Counter[str] = Counter()
    with held.folder("task") as folder:
        for number in os.listdir(folder)[:MAX_ENTRIES]:  # noqa: PTH208 - a descriptor, not a path
            try:
                comm = held.read(f"task/{number}/comm")
            except (FileNotFoundError, ProcessLookupError):
                continue  # threads come and go
            names[one_line(comm.rstrip(b"\n"), MAX_NAME_CHARS)] += 1
    return dict(names.most_common())


def _cgroup_memory(raw: bytes, root: Path) -> dict[str, Any]:
    """Return the cgroup's path and its memory.stat; without the latter where it is not to be found."""
    paths = parse_cgroup(raw)
    places = [(root / "memory", paths.get("memory")), (root, paths.get("unified"))]
    for mount, path in places:
        if path is None or ".." in path.split("/"):  # outside our cgroup namespace
            continue
        try:
            stat = (mount / path.lstrip("/") / "memory.stat").read_bytes()[:MAX_FILE_BYTES]
        except OSError:
            continue
        return {"path": one_line(path), "memory_stat": parse_counters(stat)}
    return {"path": one_line(paths.get("memory") or paths.get("unified") or "/")}
