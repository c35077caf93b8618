"""A JVM's own account of its memory: heap, native memory by category, and what lies outside the heap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.text import one_line
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SMAPS_LINES = 2_000_000
"""Some 25 lines for each of vm.max_map_count (65,530) mappings."""
MAX_CATEGORIES = 100
"""JDK 25 knows 30."""
LEAST_GROWTH_BYTES = 5_000_000
LEAST_SHARE = 0.25
"""Of the growth that must lie outside the heap before it is told."""

MEANINGS = {
    "Other": "direct buffers and Unsafe",
    "Thread": "stacks of threads",
    "Class": "classes and their loaders",
    "Metaspace": "classes and their loaders",
    "Code": "compiled code",
    "Compiler": "the compiler's own memory",
    "Internal": "JVMTI, direct buffers before JDK 11",
}
"""What of a program makes a category of native memory tracking grow."""

_SIZE = re.compile(r"\bused (\d{1,15})([KMGT]?)|\b(\d{1,15})([KMGT]?) used\b")
_COMMITTED = re.compile(
    r"\b(?:committed|capacity) (\d{1,15})([KMGT])|\b(\d{1,15})([KMGT]) committed|\btotal (\d{1,15})([KMGT])"
)
_RANGE = re.compile(r"\[0x([0-9a-f]{1,16}),.*?0x([0-9a-f]{1,16})\)")
_NOT_HEAP = ("Metaspace", "class space")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CATEGORY = re.compile(r"-\s+(\S[^()]{0,40}?) \(reserved=\d+KB, committed=(\d{1,15})KB\)")
_NO_TRACKING = "Native memory tracking is not enabled"
_MAPPING = re.compile(rb"([0-9a-f]{1,16})-[0-9a-f]{1,16} ")
_MAX_HEAP = re.compile(r"-XX:MaxHeapSize=(\d{1,18})")


class Heap(NamedTuple):
    """The Java heap."""

    used_bytes: int
    committed_bytes: int
    low: int
    """Where its address range begins and ends; both 0 where the collector does not say."""
    high: int


class Memory(NamedTuple):
    """What is compared between two looks."""

    heap_used_bytes: int
    outside_bytes: int
    """Anonymous and swapped-out memory that is not heap."""
    inside_bytes: int
    native_bytes: dict[str, int]
    """Committed by category; empty without native memory tracking."""

    @classmethod
    def from_json(cls, told: Any) -> Memory:
        """Read what an earlier look has kept. Raises KeyError, TypeError, ValueError."""
        native = {str(name): int(size) for name, size in dict(told["native_bytes"]).items()}
        used, outside, inside = (int(told[name]) for name in cls._fields[:3])
        return cls(used, outside, inside, native)


def parse_heap(text: str) -> Heap:
    """Read what GC.heap_info prints, for all collectors of JDK 8 to 25. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith(_NOT_HEAP)]
    used = [_first(found) for line in lines if (found := _SIZE.search(line))]
    committed = [_first(found) for line in lines if (found := _COMMITTED.search(line))]
    if not used:
        raise ValueError("the JVM answered without the size of its heap")
    ranges = [_RANGE.search(line) for line in lines]
    edges = [int(edge, 16) for found in ranges if found for edge in found.groups()]
    return Heap(sum(used), sum(committed), min(edges, default=0), max(edges, default=0))


def parse_native(text: str) -> dict[str, int] | None:
    """Return what native memory tracking has committed, by category; None where it is off."""
    if _NO_TRACKING in text:
        return None
    rows = (_CATEGORY.match(line) for line in text.splitlines())
    found = [(one_line(row[1], 40), int(row[2]) * 1024) for row in rows if row]
    return dict(found[:MAX_CATEGORIES])


def max_heap_bytes(flags: str) -> int | None:
    """Return -Xmx as VM.flags tells it."""
    found = _MAX_HEAP.search(flags)
    return int(found[1]) if found else None


def split_anonymous(smaps: Iterable[bytes], heap: Heap) -> tuple[int, int]:
    """Return anonymous and swapped-out bytes inside and outside the heap, by /proc/PID/smaps."""
    inside = outside = 0
    within = False
    for _, line in zip(range(MAX_SMAPS_LINES), smaps, strict=False):
        if line.startswith((b"Anonymous:", b"Swap:")):
            size_bytes = int(line.split()[1]) * 1024
            inside, outside = (inside + size_bytes, outside) if within else (inside, outside + size_bytes)
        elif found := _MAPPING.match(line):
            within = heap.low <= int(found[1], 16) < heap.high
    return inside, outside


def tell_standing(memory: Memory, heap: Heap, limit_bytes: int | None) -> str:
    """Return the line on how things stand."""
    most = f" of at most {format_bytes(limit_bytes)}" if limit_bytes else ""
    used, committed = format_bytes(memory.heap_used_bytes), format_bytes(heap.committed_bytes)
    return f"heap: {used} used, {committed} committed{most}; {format_bytes(memory.outside_bytes)} outside it"


def tell_outside(before: Memory, now: Memory, span: str, *, tracked: bool) -> str:
    """Return the line on a growth outside the heap, where known by category; else empty."""
    grown = now.outside_bytes - before.outside_bytes
    whole = max(grown, grown + now.inside_bytes - before.inside_bytes)
    if grown < max(LEAST_GROWTH_BYTES, LEAST_SHARE * whole):
        return ""
    told = f"outside the heap: +{format_bytes(grown)} of +{format_bytes(whole)} in {span}"
    return f"{told}, {_by_category(before, now)}" if tracked else f"{told} {_HOW_TO_TRACK}"


_HOW_TO_TRACK = "(-XX:NativeMemoryTracking=summary would say of what)"


def _by_category(before: Memory, now: Memory) -> str:
    grown = {
        name: size - before.native_bytes.get(name, 0)
        for name, size in now.native_bytes.items()
        if name != "Java Heap"
    }
    top = max(grown, key=lambda name: grown[name], default="")
    if not top or grown[top] < LEAST_SHARE * (now.outside_bytes - before.outside_bytes):
        return "not by the JVM itself: a native library or the allocator"
    meaning = MEANINGS.get(top)
    return f"+{format_bytes(grown[top])} in {top}" + (f" ({meaning})" if meaning else "")


def _first(found: re.Match[str]) -> int:
    number, unit = (group for group in found.groups() if group is not None)
    return int(number) * _UNITS[unit]
