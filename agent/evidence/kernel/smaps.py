"""Memory by kind of mapping: totals of /proc/PID/smaps, and what grew between two of them."""

from __future__ import annotations

import heapq
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.text import one_line
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAP = "[heap]"
SMALL = "anonymous <1MB"
MEDIUM = "anonymous 1-4MB"
"""Where CPython's small objects live: its arenas are 1 MiB (256 KiB before 3.10)."""
LARGE = "anonymous 4-64MB"
ARENAS = "anonymous 64MB arenas"
"""Memory of threads under glibc (HEAP_MAX_SIZE) and the heap of Go (heapArenaBytes)."""
HUGE = "anonymous >64MB"
FILES = "files"
SHARED = "shared"
STACKS = "stacks"
OTHER = "other"

MAX_MAPPINGS = 200_000
"""Three times the kernel's default vm.max_map_count (65530); what comes after is not read."""
MAX_FILES_TRACKED = 10_000
TOP_FILES = 20
MAX_PATH_CHARS = 200
LEAST_CHANGE_BYTES = 1_000_000
MAX_CHANGES = 4

_KIB = 1024
_MIB = 1024 * _KIB
_PAGE_BYTES = 4 * _KIB
_PATH_COLUMN = 5
_FIELDS = {b"Rss": 1, b"Pss": 2, b"Private_Dirty": 3, b"Swap": 4}


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums over some mappings."""

    mappings: int = 0
    rss_bytes: int = 0
    pss_bytes: int = 0
    private_dirty_bytes: int = 0
    swap_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Smaps:
    """What a process has mapped."""

    kinds: dict[str, Totals]
    """By kind of mapping; kinds without a mapping are left out."""
    files: dict[str, Totals] = field(default_factory=dict)
    """By path, the largest by private and resident memory."""
    truncated: bool = False
    """There were more mappings than are read."""

    def held_bytes(self, kind: str) -> int:
        """Return what the process itself holds in a kind: of files only what it wrote, the rest is cache."""
        totals = self.kinds.get(kind, Totals())
        owned = totals.private_dirty_bytes if kind == FILES else totals.rss_bytes
        return owned + totals.swap_bytes

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Smaps:
        """Read what `to_json` wrote. Raises KeyError, TypeError or AttributeError for anything else."""
        kinds = {kind: Totals(**totals) for kind, totals in data["kinds"].items()}
        files = {path: Totals(**totals) for path, totals in data["files"].items()}
        return cls(kinds, files, bool(data["truncated"]))


class _Mapping(NamedTuple):
    start: int
    end: int
    permissions: bytes
    path: bytes

    @property
    def is_guard(self) -> bool:
        """A page nobody may touch: glibc puts one below the stack of a thread."""
        return self.permissions[:3] == b"---" and self.end - self.start == _PAGE_BYTES


_NONE = _Mapping(0, 0, b"rw-p", b"")


def parse(lines: Iterable[bytes], limit: int = MAX_MAPPINGS) -> Smaps:
    """Sum up the lines of a smaps file (proc_pid_smaps(5)) without keeping them, `limit` mappings at most.

    Raises ValueError for a line that no kernel writes.
    """
    kinds: dict[str, list[int]] = {}
    files: dict[bytes, list[int]] = {}
    sums: tuple[list[int], ...] = ()
    previous, count = _NONE, 0
    for line in lines:
        if line[:1].islower() or line[:1].isdigit():  # an address; fields start with a capital
            count += 1
            if count > limit:
                break
            mapping = _header(line)
            sums = _sums_of(mapping, previous, kinds, files)
            previous = mapping
            continue
        name, _, rest = line.partition(b":")
        column = _FIELDS.get(name)
        if column is not None:
            kib = int(rest.split(None, 1)[0])
            for total in sums:
                total[column] += kib
    return Smaps(
        {kind: _totals(total) for kind, total in kinds.items()}, _top(files), truncated=count > limit
    )


def largest(smaps: Smaps) -> str:
    """Return the line on where the memory lies, e.g. "holds: [heap] 58MB, stacks 1MB (of 61MB)"."""
    held = {kind: smaps.held_bytes(kind) for kind in smaps.kinds}
    told = sorted((kind for kind in held if held[kind]), key=lambda kind: -held[kind])[:3]
    parts = ", ".join(f"{kind} {format_bytes(held[kind])}" for kind in told)
    return f"holds: {parts or 'nothing'} (of {format_bytes(sum(held.values()))})"


def growth(before: Smaps, after: Smaps) -> str:
    """Return the line on what changed, e.g. "grew: [heap] +58MB, anonymous 1-4MB +3MB".

    Neighbouring mappings of one kind merge, so that growth can move between size classes: what shrank
    is told too.
    """
    changes = {kind: after.held_bytes(kind) - before.held_bytes(kind) for kind in after.kinds | before.kinds}
    told = [kind for kind, change in changes.items() if abs(change) >= LEAST_CHANGE_BYTES]
    told.sort(key=lambda kind: -changes[kind])
    parts = [f"{kind} {_signed(changes[kind])}" for kind in told[:MAX_CHANGES]]
    return "grew: " + (", ".join(parts) or f"nothing by {format_bytes(LEAST_CHANGE_BYTES)} or more")


def _header(line: bytes) -> _Mapping:
    columns = line.split(None, _PATH_COLUMN)
    start, _, end = columns[0].partition(b"-")
    path = columns[_PATH_COLUMN].rstrip(b"\n") if len(columns) > _PATH_COLUMN else b""
    return _Mapping(int(start, 16), int(end, 16), columns[1], path)


def _sums_of(
    mapping: _Mapping, previous: _Mapping, kinds: dict[str, list[int]], files: dict[bytes, list[int]]
) -> tuple[list[int], ...]:
    """Return the sums that a mapping adds to, itself counted."""
    sums = [kinds.setdefault(_kind(mapping, previous), [0, 0, 0, 0, 0])]
    if mapping.path.startswith(b"/"):
        path = mapping.path if mapping.path in files or len(files) < MAX_FILES_TRACKED else b"(more files)"
        sums.append(files.setdefault(path, [0, 0, 0, 0, 0]))
    for total in sums:
        total[0] += 1
    return tuple(sums)


def _kind(mapping: _Mapping, previous: _Mapping) -> str:
    path = mapping.path
    if path == b"[heap]":
        return HEAP
    if path.startswith(b"[stack"):
        return STACKS
    if mapping.permissions[3:4] == b"s":
        return SHARED
    if path.startswith(b"/"):
        return FILES
    if path and not path.startswith(b"[anon"):
        return OTHER
    return _anonymous_kind(mapping, previous)


def _anonymous_kind(mapping: _Mapping, previous: _Mapping) -> str:
    size = mapping.end - mapping.start
    if size <= 64 * _MIB and mapping.start % (64 * _MIB) == 0:
        return ARENAS
    if previous.is_guard and previous.end == mapping.start:
        return STACKS
    for kind, below in ((SMALL, _MIB), (MEDIUM, 4 * _MIB), (LARGE, 64 * _MIB)):
        if size < below:
            return kind
    return HUGE


def _top(files: dict[bytes, list[int]]) -> dict[str, Totals]:
    def weight(path: bytes) -> tuple[int, int]:
        _, rss, _, dirty, swap = files[path]
        return dirty + swap, rss

    paths = heapq.nlargest(TOP_FILES, files, key=weight)
    return {one_line(path, MAX_PATH_CHARS): _totals(files[path]) for path in paths}


def _totals(sums: list[int]) -> Totals:
    return Totals(sums[0], *(kib * _KIB for kib in sums[1:]))


def _signed(change: int) -> str:
    return format_bytes(change) if change < 0 else f"+{format_bytes(change)}"
