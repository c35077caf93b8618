"""Finds the memory at which a process is killed: the smallest limit of its cgroups and the host."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agent.model import Limit
from agent.text import one_line
from agent.watch.procfs import parse_cgroup

CACHE_S = 60.0
"""Limits change by hand or by an autoscaler, not by the second."""
_CACHE_MAX_PATHS = 1024
_V2_FILES = ("memory.max", "memory.high")
"""https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files"""
_V1_FILES = ("memory.limit_in_bytes",)
"""https://docs.kernel.org/admin-guide/cgroup-v1/memory.html; unlimited is the largest number of pages."""
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A cgroup hierarchy as it is mounted here."""

    root: str
    """Which directory of the hierarchy the mount shows, as seen from our cgroup namespace."""
    point: str
    unified: bool
    """True for v2, False for v1 with the memory controller."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold limits."""
        return _V2_FILES if self.unified else _V1_FILES


class _Cached(NamedTuple):
    t_s: float
    limit: Limit


class LimitReader:
    """Reads the effective limit of processes, by cgroup path at most once a minute.

    `cgroup_root` is where the hierarchies are mounted for us; in a container that watches its host this
    may be a mount of the host's own tree.
    """

    def __init__(self, proc_root: Path = Path("/proc"), cgroup_root: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc_root
        self._cgroup_root = str(cgroup_root)
        self._cache: dict[tuple[str, str], _Cached] = {}

    def limit(self, pid: int, t_s: float) -> Limit:
        """Return the limit that holds at `t_s`; the host's memory where no smaller one can be seen."""
        paths = parse_cgroup(_text(f"{self._proc}/{pid}/cgroup"))
        where = (paths.get("", "/"), paths.get("memory", "/"))
        cached = self._cache.get(where)
        if cached is None or not 0.0 <= t_s - cached.t_s < CACHE_S:
            self._forget_old(t_s)
            cached = self._cache[where] = _Cached(t_s, self._read(pid, *where))
        return cached.limit

    def _read(self, pid: int, unified_path: str, memory_path: str) -> Limit:
        found = [self._host()]
        for mount in self._mounts():
            path = unified_path if mount.unified else memory_path
            found += _limits(mount, path) if _shows(mount, path) else self._limits_of_container(pid, mount)
        return min(found, key=lambda limit: limit.limit_bytes)

    def _host(self) -> Limit:
        total = parse_mem_total(_text(self._proc / "meminfo"))
        if total is None:  # hidden, e.g. by ProcSubset=pid of systemd
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Limit(total, "host MemTotal")

    def _mounts(self) -> list[Mount]:
        mounts = parse_mounts(_text(self._proc / "self" / "mountinfo"))
        return [mount for mount in mounts if is_below(mount.point, self._cgroup_root)]

    def _limits_of_container(self, pid: int, mount: Mount) -> list[Limit]:
        """Read the limits as the process sees them itself: its cgroup lies outside of what we can see.

        So it is for a sidecar, whose own limit must not be taken for its neighbour's.
        """
        root = self._proc / str(pid) / "root"
        if not _other_mount_namespace(self._proc, pid):
            return []
        folder = Path(f"{root}/sys/fs/cgroup") / ("" if mount.unified else "memory")
        return [Limit(size, f"{file} of its container") for file, size in _sizes(str(folder), mount.files)]

    def _forget_old(self, t_s: float) -> None:
        if len(self._cache) >= _CACHE_MAX_PATHS:
            fresh = {w: c for w, c in self._cache.items() if 0.0 <= t_s - c.t_s < CACHE_S}
            self._cache = fresh if len(fresh) < _CACHE_MAX_PATHS else {}


def parse_mounts(mountinfo: str) -> list[Mount]:
    """Return the cgroup mounts of /proc/PID/mountinfo that limit memory: v2, and v1's memory controller."""
    mounts: list[Mount] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(tail) < 3:  # noqa: PLR2004 - as proc(5) lays it out
            continue
        if tail[0] == "cgroup2" or (tail[0] == "cgroup" and "memory" in tail[2].split(",")):
            mounts.append(Mount(_unescape(fields[3]), _unescape(fields[4]), unified=tail[0] == "cgroup2"))
    return mounts


def parse_mem_total(meminfo: str) -> int | None:
    """Return MemTotal of /proc/meminfo in bytes."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def parse_limit(text: str) -> int | None:
    """Return the bytes of a limit file; None for "max", for nothing sensible, and for a limit of nothing."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and int(digits) > 0 else None


def is_below(path: str, ancestor: str) -> bool:
    """Whether a path is the ancestor itself or lies below it."""
    return path == ancestor or path.startswith(ancestor.rstrip("/") + "/")


def _shows(mount: Mount, path: str) -> bool:
    # A path out of our cgroup namespace begins with "/..": nothing of ours applies to it.
    return ".." not in path.split("/") and is_below(path, mount.root)


def _limits(mount: Mount, path: str) -> list[Limit]:
    """Read the limits of a cgroup and its ancestors, as far up as the mount shows.

    A directory that does not exist is passed over: in some containers the path is the host's, and the
    mount shows the container's own directory in place of the root.
    """
    found: list[Limit] = []
    names = path[len(mount.root.rstrip("/")) :].strip("/").split("/")
    for depth in range(len(names), -1, -1):
        below = "/".join(names[:depth])
        owner = one_line(f"{mount.root.rstrip('/')}/{below}".rstrip("/") or "/")
        for file, size in _sizes(f"{mount.point}/{below}", mount.files):
            found.append(Limit(size, f"{file} of {owner}"))
    return found


def _sizes(folder: str, files: tuple[str, ...]) -> list[tuple[str, int]]:
    read = ((file, parse_limit(_text(Path(folder) / file))) for file in files)
    return [(file, size) for file, size in read if size is not None]


def _other_mount_namespace(proc: Path, pid: int) -> bool:
    with suppress(OSError):
        return (proc / str(pid) / "ns/mnt").readlink() != (proc / "self/ns/mnt").readlink()
    return False


def _text(path: Path | str) -> str:
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # half the price of Path.read_text
        with os.fdopen(fd, "rb", buffering=0) as file:
            return file.read().decode("utf-8", "backslashreplace")
    return ""


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
