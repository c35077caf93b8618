"""Parses the counters a HotSpot JVM publishes in its hsperfdata file; pure, and ready for hostile bytes.

The format is PerfMemory (jvmstat) 2.0: a prologue of 32 bytes, then entries of 20 bytes, each followed by
its name and its value. https://github.com/openjdk/jdk/blob/master/src/hotspot/share/runtime/perfMemory.hpp
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agent.watch.probes.base import RuntimeFigures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_ENTRIES = 10_000
"""JDK 17 publishes about 200 counters; a file with more than this is no JVM's."""
MAX_BYTES = 1 << 60
"""No heap is larger: a figure beyond it is garbage."""
PROLOGUE_BYTES = 32
_MAGIC = b"\xca\xfe\xc0\xc0"
_MAJOR_VERSION = 2
_ORDERS = (">", "<")
"""The byte order by the prologue's fifth byte."""
_ENTRY_BYTES = 20
_NUMBER_BYTES = 8
_MAX_NAME_BYTES = 256
_LONG, _BYTE = ord("J"), ord("B")
"""Type letters: HotSpot publishes 64-bit numbers and strings of bytes, nothing else."""

_USED = re.compile(r"sun\.gc\.generation\.([01])\.space\.[0-9]{1,3}\.used")
_INVOCATIONS = re.compile(r"sun\.gc\.collector\.([0-2])\.invocations")
_PAUSES_ONLY = "2"
"""Collector 2 is G1's concurrent cycle (and all of ZGC before JDK 21): it counts pauses, several a cycle."""
_PAGE_MASK = ~4095
"""G1 pads its capacities by a few bytes for the sake of tools that divide by them (G1MonitoringSupport)."""
_FULL_SHARE = 15 / 16
"""From so full an old generation on, a collection may leave live objects in eden."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the figures of one JVM stand: they do not move until its prologue changes."""

    prologue: bytes
    end: int
    """So many bytes of the file hold all the figures."""
    number: struct.Struct
    eden: tuple[int, ...]
    """Offsets of the bytes used in the space where objects are born, which a collection empties."""
    young: tuple[int, ...]
    """The same of the other spaces of the young generation."""
    old: tuple[int, ...]
    old_limit_bytes: int | None
    collections: tuple[int, ...]
    """Offsets of the counters that count collections; empty where the collector counts pauses."""
    invocations: tuple[int, ...]
    """Offsets of the counters of every collector."""
    limit_bytes: int | None


class _Counters(NamedTuple):
    number: struct.Struct
    offsets: dict[str, int]
    """Where the numbers stand."""
    texts: dict[str, str]


def parse(data: bytes) -> dict[str, int | str]:
    """Return every counter by its name. Raises ValueError for anything but a PerfMemory 2 file."""
    counters = _counters(data)
    return {**_numbers(data, counters), **counters.texts}


def layout_of(data: bytes) -> Layout:
    """Return where the figures stand. Raises ValueError as `parse` does."""
    counters = _counters(data)
    offsets, numbers = counters.offsets, _numbers(data, counters)
    spaces = {name: found[1] for name in offsets if (found := _USED.fullmatch(name))}
    eden = [name for name in spaces if counters.texts.get(f"{name.removesuffix('used')}name") == "eden"]
    collectors = {name: found[1] for name in offsets if (found := _INVOCATIONS.fullmatch(name))}
    counting = [name for name, index in collectors.items() if eden and index != _PAUSES_ONLY]
    rest = {name: generation for name, generation in spaces.items() if name not in eden}

    def places(names: Iterable[str]) -> tuple[int, ...]:
        return tuple(offsets[name] for name in names)

    return Layout(
        prologue=data[:PROLOGUE_BYTES],
        end=max((at + _NUMBER_BYTES for at in places((*spaces, *collectors))), default=PROLOGUE_BYTES),
        number=counters.number,
        eden=places(eden),
        young=places(name for name, generation in rest.items() if generation == "0"),
        old=places(name for name, generation in rest.items() if generation == "1"),
        old_limit_bytes=_capacity(numbers, 1),
        collections=places(counting),
        invocations=places(collectors),
        limit_bytes=_limit_bytes(numbers, counters.texts, has_eden=bool(eden)),
    )


def figures(data: bytes, layout: Layout) -> RuntimeFigures:
    """Return the figures of the file's first `layout.end` bytes. Raises ValueError for impossible ones.

    HotSpot publishes no "used after the newest collection", but it follows from what it does publish: a
    collection empties eden, and whatever survives it moves to the other spaces, which change little until
    the next one. So the heap is what is used outside eden, whenever it is read. What this leaves open:

    - A young collection does not clean the old generation: until a full (G1: mixed) one has passed, the
      figure holds its garbage. Floors over hours see through that, a single figure does not.
    - Where the old generation is all but full, objects may stay in eden: then eden is counted in.
    - G1 counts arrays of half a region or more in whole regions, as they fill the heap. Serial and Parallel
      place very large ones in the old generation at once, so these count before they have survived anything.
    - ZGC and Shenandoah publish one space without eden: the figure is all that was used when they last
      wrote it, garbage included, and their collections are not told, as they count pauses.
    """
    if len(data) < layout.end:
        raise ValueError(f"cut off: {len(data)} of {layout.end} bytes")
    old_bytes = _sum(data, layout, layout.old)
    heap_bytes = old_bytes + _sum(data, layout, layout.young)
    if layout.old_limit_bytes and old_bytes >= _FULL_SHARE * layout.old_limit_bytes:
        heap_bytes += _sum(data, layout, layout.eden)
    return RuntimeFigures(
        heap_bytes=heap_bytes if _sum(data, layout, layout.invocations) else None,
        collections=_sum(data, layout, layout.collections) if layout.collections else None,
        limit_bytes=layout.limit_bytes,
    )


def _counters(data: bytes) -> _Counters:
    order, entry_offset, entries = _prologue(data)
    number = struct.Struct(f"{order}q")
    counters = _Counters(number, {}, {})
    header = struct.Struct(f"{order}iiiBBBBi")
    for at, fields in _entries(data, header, entry_offset, entries):
        length, name_at, vector_length, kind, _flags, _units, _variability, value_at = fields
        if not (_ENTRY_BYTES <= name_at < length and _ENTRY_BYTES <= value_at < length):
            raise ValueError(f"entry at {at} points out of itself")
        name = _text(data[at + name_at : at + min(length, name_at + _MAX_NAME_BYTES)])
        if kind == _LONG and vector_length == 0 and value_at + _NUMBER_BYTES <= length:
            counters.offsets[name] = at + value_at
        elif kind == _BYTE and 0 < vector_length <= length - value_at:
            counters.texts[name] = _text(data[at + value_at : at + value_at + vector_length])
    return counters


def _prologue(data: bytes) -> tuple[str, int, int]:
    """Return the byte order, where the entries begin and how many there are."""
    if len(data) < PROLOGUE_BYTES or not data.startswith(_MAGIC):
        raise ValueError("not a PerfMemory file")
    _magic, order_index, major, _minor, accessible = struct.unpack_from("4s4B", data)
    if order_index >= len(_ORDERS) or major != _MAJOR_VERSION:
        raise ValueError(f"PerfMemory of an unknown form: version {major}, byte order {order_index}")
    if not accessible:
        raise ValueError("the JVM has not finished starting")
    order = _ORDERS[order_index]
    _used, _overflow, _changed, entry_offset, entries = struct.unpack_from(f"{order}iiqii", data, 8)
    if entry_offset < PROLOGUE_BYTES or not 0 <= entries <= MAX_ENTRIES:
        raise ValueError(f"impossible: {entries} entries from byte {entry_offset}")
    return order, entry_offset, entries


def _entries(
    data: bytes, header: struct.Struct, at: int, count: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield where each entry begins, and its fields. Always moves on, so it always ends."""
    for _ in range(count):
        if at + _ENTRY_BYTES > len(data):
            raise ValueError(f"cut off: an entry at {at} of {len(data)} bytes")
        fields = header.unpack_from(data, at)
        if not _ENTRY_BYTES < fields[0] <= len(data) - at:
            raise ValueError(f"entry at {at} has an impossible length {fields[0]}")
        yield at, fields
        at += fields[0]


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _numbers(data: bytes, counters: _Counters) -> dict[str, int]:
    return {name: counters.number.unpack_from(data, at)[0] for name, at in counters.offsets.items()}


def _capacity(numbers: dict[str, int], generation: int) -> int | None:
    size_bytes = numbers.get(f"sun.gc.generation.{generation}.maxCapacity", 0)
    return size_bytes if 0 < size_bytes < MAX_BYTES else None


def _limit_bytes(numbers: dict[str, int], texts: dict[str, str], *, has_eden: bool) -> int | None:
    """Return the maximum heap: generations add up, except where each may take all of one heap."""
    sizes = [size for generation in (0, 1) if (size := _capacity(numbers, generation))]
    if not sizes:
        return None
    share_one_heap = not has_eden or texts.get("sun.gc.policy.name") == "GarbageFirst"
    return (max(sizes) if share_one_heap else sum(sizes)) & _PAGE_MASK or None


def _sum(data: bytes, layout: Layout, places: tuple[int, ...]) -> int:
    values = [layout.number.unpack_from(data, at)[0] for at in places]
    if any(value < 0 for value in values) or sum(values) >= MAX_BYTES:
        raise ValueError(f"impossible figures: {values[:8]}")
    return sum(values)
