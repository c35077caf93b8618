"""Builds hsperfdata files as a JVM writes them, for everybody's tests."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MB = 1_000_000

SERIAL = {
    "sun.gc.policy.name": "Copy:MSC",
    "sun.gc.collector.0.invocations": 7,
    "sun.gc.collector.1.invocations": 2,
    "sun.gc.generation.0.maxCapacity": 40_960_000,
    "sun.gc.generation.1.maxCapacity": 81_920_000,
    "sun.gc.generation.0.space.0.name": "eden",
    "sun.gc.generation.0.space.0.used": 9 * MB,
    "sun.gc.generation.0.space.1.name": "s0",
    "sun.gc.generation.0.space.1.used": 1 * MB,
    "sun.gc.generation.0.space.2.name": "s1",
    "sun.gc.generation.0.space.2.used": 0,
    "sun.gc.generation.1.space.0.name": "old",
    "sun.gc.generation.1.space.0.used": 20 * MB,
    "sun.gc.cause": "No GC",
}
"""What a JVM with -XX:+UseSerialGC publishes, as far as it matters here."""


def perf_memory(
    counters: Mapping[str, int | str],
    *,
    order: str = "<",
    major: int = 2,
    accessible: int = 1,
    count: int | None = None,
    size_bytes: int = 32_768,
) -> bytes:
    """Return a whole file of PerfMemory 2.0; `count` lies about the number of entries."""
    body = b"".join(_entry(order, name, value) for name, value in counters.items())
    prologue = b"\xca\xfe\xc0\xc0" + bytes([order == "<", major, 0, accessible])
    entries = len(counters) if count is None else count
    prologue += struct.pack(f"{order}iiqii", 32 + len(body), 0, 1, 32, entries)
    return (prologue + body).ljust(size_bytes, b"\0")


def _entry(order: str, name: str, value: int | str) -> bytes:
    raw_name = name.encode() + b"\0"
    value_at = 20 + len(raw_name) + -(20 + len(raw_name)) % 8
    if isinstance(value, int):
        raw, vector, kind, units = struct.pack(f"{order}q", value), 0, b"J", 2
    else:
        raw = value.encode() + b"\0"
        vector, kind, units = len(raw), b"B", 5
    raw += b"\0" * (-len(raw) % 8)
    fields = (value_at + len(raw), 20, vector, kind, 0, units, 2, value_at)
    header = struct.pack(f"{order}iiicBBBi", *fields)
    return (header + raw_name).ljust(value_at, b"\0") + raw
