"""How a process stands: status, limits, threads and children by name, and the memory of its cgroup."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.evidence.kernel.counts import LEAST_GROWTH, by_family, grown, whole_numbers
from agent.evidence.kernel.procfs import (
    CGROUP,
    MAX_FILE_BYTES,
    PROC,
    parse_cgroup,
    parse_counters,
    parse_limits,
    parse_stat,
    parse_status,
)
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from agent.evidence.kernel.procfs import HeldProcess

MAX_THREADS = 20_000
MAX_CHILDREN = 20_000
"""Read one by one, some microseconds each."""
MANY = 200
"""So many threads are told also where nothing is known to have grown."""
LEAST_BYTES = 1_000_000
TOLD_KINDS = (
    "anon", "file", "shmem", "kernel", "kernel_stack", "pagetables", "sock", "slab", "percpu", "vmalloc",
    "rss", "cache", "mapped_file", "kernel_memory",
)  # fmt: skip
"""Of memory.stat: what holds memory, v2 and v1 (cgroup-v2.rst, cgroup-v1/memory.rst)."""
EVENTS = ("high", "max", "oom", "oom_kill", "failcnt")
_KERNEL_FILE = "memory.kmem.usage_in_bytes"
"""v1; v2 has it as "kernel" in memory.stat."""


def read_standing(held: HeldProcess, cgroup_root: Path = CGROUP) -> dict[str, Any]:
    """Return its status, limits, threads and children by name, and its cgroup's memory. Raises OSError."""
    threads, children = _family(held)
    return {
        "status": parse_status(held.read("status")),
        "limits": parse_limits(held.read("limits")),
        "threads": dict(threads.most_common()),
        "children": dict(children.most_common()),
        "cgroup": cgroup_memory(held.read("cgroup"), cgroup_root),
    }


def growth(before: Mapping[str, Any], after: Mapping[str, Any], age_s: float) -> Iterator[str]:
    """Yield a line each on threads and children that are more now, e.g. "threads: +212 worker-* in 12m"."""
    for what in ("threads", "children"):
        first = whole_numbers(before.get(what))
        earlier, now = by_family(first, after[what]), by_family(after[what], first)
        more = [one for one in grown(earlier, now) if one[1] >= LEAST_GROWTH]
        if more:
            told = ", ".join(f"+{count:,} {name}" for name, count in more[:3])
            yield f"{what}: {told} (of {sum(now.values()):,}) in {format_duration(age_s)}"


def cgroup_growth(before: Mapping[str, Any], after: Mapping[str, Any], age_s: float) -> str:
    """Return the line on what changed in the memory of the cgroup; "" where nothing did.

    E.g. "cgroup: anon +300MB, slab +40MB, 2 oom_kill more in 12m".
    """
    earlier = whole_numbers(before["cgroup"].get("memory_stat"))
    more = grown(
        earlier, {k: v for k, v in after["cgroup"].get("memory_stat", {}).items() if k in TOLD_KINDS}
    )
    told = [f"{name} +{format_bytes(size)}" for name, size in more[:4] if earlier and size >= LEAST_BYTES]
    events = grown(whole_numbers(before["cgroup"].get("events")), after["cgroup"].get("events", {}))
    if "events" in before["cgroup"]:
        told += [f"{count:,} {name} more" for name, count in events[:2]]
    return f"cgroup: {', '.join(told)} in {format_duration(age_s)}" if told else ""


def many_threads(standing: Mapping[str, Any]) -> str:
    """Return the line on the threads where there are very many; "" where not."""
    names = by_family(standing["threads"])
    if sum(names.values()) < MANY:
        return ""
    name = max(names, key=lambda one: names[one])
    return f"threads: {names[name]:,} {name} of {sum(names.values()):,}"


def cgroup_memory(raw: bytes, root: Path) -> dict[str, Any]:
    """Return the cgroup's path, its memory.stat and the events of its limits, as far as they can be seen."""
    paths = parse_cgroup(raw)
    unified = root / "unified" if (root / "unified").is_dir() else root
    for mount, path in ((root / "memory", paths.get("memory")), (unified, paths.get("unified"))):
        if path is None or ".." in path.split("/"):  # outside our cgroup namespace
            continue
        folder = mount / path.lstrip("/")
        stat = parse_counters(_content(folder / "memory.stat"))
        if stat:
            kernel_bytes = _number(folder / _KERNEL_FILE)
            stat |= {"kernel_memory": kernel_bytes} if kernel_bytes else {}
            return {"path": one_line(path), "memory_stat": stat, "events": _events(folder)}
    return {"path": one_line(paths.get("memory") or paths.get("unified") or "/")}


def _events(folder: Path) -> dict[str, int]:
    """Return how often a limit was met: memory.events of v2, the like of v1."""
    found = parse_counters(_content(folder / "memory.events"))
    found |= parse_counters(_content(folder / "memory.oom_control"))
    failures = _number(folder / "memory.failcnt")
    return {name: found[name] for name in EVENTS if name in found} | (
        {} if failures is None else {"failcnt": failures}
    )


def _family(held: HeldProcess) -> tuple[Counter[str], Counter[str]]:
    """Return how many threads and how many children bear each name; children that have ended are zombies."""
    threads: Counter[str] = Counter()
    children: list[str] = []
    with held.folder("task") as folder, os.scandir(folder) as entries:
        for entry in islice(entries, MAX_THREADS):
            with suppress(FileNotFoundError, ProcessLookupError):  # threads come and go
                comm = held.read(f"task/{entry.name}/comm")
                threads[one_line(comm.rstrip(b"\n"), MAX_NAME_CHARS)] += 1
            with suppress(OSError):  # a kernel without CONFIG_PROC_CHILDREN
                children += held.read(f"task/{entry.name}/children").decode("ascii").split()
    return threads, Counter(filter(None, (_child(pid) for pid in children[:MAX_CHILDREN])))


def _child(pid: str) -> str:
    raw = _content(PROC / pid / "stat")
    try:
        zombie = parse_stat(raw).state == "Z"
    except ValueError:
        return ""  # it has ended since
    name = one_line(raw[raw.index(b"(") + 1 : raw.rindex(b")")], MAX_NAME_CHARS)
    return f"{name} (zombie)" if zombie else name


def _number(path: Path) -> int | None:
    text = _content(path).strip()
    return int(text) if text.isdigit() else None


def _content(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(MAX_FILE_BYTES)
    return b""
