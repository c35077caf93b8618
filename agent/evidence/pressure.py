"""Reads what there is before evidence is taken: room in memory, pressure, load, threads."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.evidence.governor import Conditions, Room, Stall
from agent.evidence.kernel.procfs import CGROUP, PROC, parse_cgroup, parse_counters, parse_status
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.evidence.kernel.procfs import HeldProcess

HOST = "the host's memory"
MAX_FILE_BYTES = 100_000
_V2 = (("memory.max", "memory.high"), "memory.current")
"""https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files"""
_V1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes")
_RECLAIMABLE = ("active_file", "inactive_file")
"""The kernel gives it back before it says no."""
_STALL = re.compile(r"^(some|full) avg10=(\d+\.\d+) ", re.MULTILINE)


def look(
    held: HeldProcess, free_disk_bytes: int, *, proc: Path = PROC, cgroup_root: Path = CGROUP
) -> Conditions:
    """Return what there is for a process now. Raises OSError when the process itself cannot be read."""
    status = parse_status(held.read("status"))
    folders = list(_cgroups(held.read("cgroup"), cgroup_root))
    rooms = [room for folder in folders for room in _rooms(folder, cgroup_root)]
    stalls = [_stall(folder / "memory.pressure", "its cgroup") for folder in folders[:1]]
    return Conditions(
        heap_bytes=_number(status, "RssAnon_bytes") + _number(status, "VmSwap_bytes"),
        threads=_number(status, "Threads"),
        rooms=(*rooms, *_host(proc)),
        stalls=tuple(
            stall for stall in (_stall(proc / "pressure/memory", "the host"), *stalls) if stall is not None
        ),
        load_per_cpu=os.getloadavg()[0] / (os.cpu_count() or 1),
        free_disk_bytes=free_disk_bytes,
    )


def parse_stall(text: str, of: str) -> Stall | None:
    """Return the pressure that a file of the kernel tells; None for one that tells none."""
    found = {name: float(share) for name, share in _STALL.findall(text)}
    return Stall(found.get("some", 0.0), found.get("full", 0.0), of) if found else None


def _stall(path: Path, of: str) -> Stall | None:
    return parse_stall(_text(path), of)


def _host(proc: Path) -> Iterator[Room]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    if found:
        yield Room(int(found[1]) * 1024, HOST)


def _cgroups(raw: bytes, root: Path) -> Iterator[Path]:
    """Yield the folders of its cgroup and of the ancestors, as far as they can be seen; its own first.

    Where the path is the host's and we see a container's tree, the tree's root stands for the cgroup.
    """
    paths = parse_cgroup(raw)
    for mount, path in ((root / "memory", paths.get("memory")), (_unified(root), paths.get("unified"))):
        if path is None or ".." in path.split("/") or not mount.is_dir():
            continue
        own = mount / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_dir():
                yield folder
            if folder == mount:
                break


def _unified(root: Path) -> Path:
    return root / "unified" if (root / "unified").is_dir() else root


def _rooms(folder: Path, root: Path) -> Iterator[Room]:
    for limits, usage in (_V2, _V1):
        used = _integer(folder / usage)
        if used is None:
            continue
        counters = parse_counters(_text(folder / "memory.stat").encode())
        cache = sum(counters.get(name, 0) for name in _RECLAIMABLE)
        for file in limits:
            limit = _integer(folder / file)
            if limit:
                below = one_line(str(folder).removeprefix(str(root)) or "/")
                yield Room(limit - max(0, used - cache), f"{file} of {below}")


def _integer(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _number(status: dict[str, str | int], name: str) -> int:
    value = status.get(name, 0)
    return value if isinstance(value, int) else 0


def _text(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode("ascii", "replace")
    return ""
