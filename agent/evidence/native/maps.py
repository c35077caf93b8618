"""The mappings of a process: which hold what it allocated, and which are files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_MAPPINGS = 70_000
"""A little more than the kernel's default vm.max_map_count (65530); what comes after is not read."""
PAGE_BYTES = 4096
ARENA_BYTES = 64 << 20
"""Arenas begin at multiples of it (malloc/arena.c, HEAP_MAX_SIZE on 64 bits)."""

_PATH_COLUMN = 5


class Span(NamedTuple):
    """A range of addresses."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.end - self.start


class Region(NamedTuple):
    """A line of /proc/PID/maps (proc_pid_maps(5))."""

    span: Span
    permissions: str
    offset: int
    device: int
    inode: int
    path: bytes
    """As the kernel writes it: newlines as \\012, " (deleted)" at its end where the file is gone."""

    @property
    def is_file(self) -> bool:
        """Whether a file lies behind it, on a disk or a memfd."""
        return self.inode != 0 and self.path.startswith(b"/")

    @property
    def is_guard(self) -> bool:
        """Pages that nobody may touch: below a stack, or the part of an arena that is not used yet."""
        return self.permissions.startswith("---")

    @property
    def is_arena(self) -> bool:
        """Whether it can be an arena of glibc for threads; one may begin where the last one's rest ends."""
        return not self.path and self.span.start % ARENA_BYTES == 0


def parse(lines: Iterable[bytes], limit: int = MAX_MAPPINGS) -> list[Region]:
    """Return the mappings in the order of their addresses, `limit` at most.

    Raises ValueError for a line that no kernel writes.
    """
    found: list[Region] = []
    for line in lines:
        if len(found) == limit:
            break
        columns = line.split(None, _PATH_COLUMN)
        start, _, end = columns[0].partition(b"-")
        path = columns[_PATH_COLUMN].rstrip(b"\n") if len(columns) > _PATH_COLUMN else b""
        major, _, minor = columns[3].partition(b":")
        device = os.makedev(int(major, 16), int(minor, 16))
        span = Span(int(start, 16), int(end, 16))
        offset, inode = int(columns[2], 16), int(columns[4])
        found.append(Region(span, columns[1].decode("ascii"), offset, device, inode, path))
    return found


def allocated(regions: Sequence[Region]) -> list[Span]:
    """Return where a program's allocations can lie: the heap and private anonymous memory, without stacks."""
    found = []
    guard_end = -1
    for region in regions:
        stack = region.span.start == guard_end and not region.is_arena
        guard_end = region.span.end if region.is_guard else -1
        anonymous = not region.path or region.path.startswith(b"[anon")
        if region.permissions == "rw-p" and (region.path == b"[heap]" or (anonymous and not stack)):
            found.append(region.span)
    return found


def of_malloc(regions: Iterable[Region]) -> list[Span]:
    """Return where blocks of glibc's malloc follow each other: its heap, and its arenas for threads."""
    return [
        region.span
        for region in regions
        if region.permissions == "rw-p" and (region.path == b"[heap]" or region.is_arena)
    ]


def without(spans: Iterable[Span], known: Sequence[Span]) -> list[Span]:
    """Return the parts of spans that lie outside of others; both in the order of their addresses.

    >>> without([Span(0, 10), Span(20, 30)], [Span(2, 4), Span(8, 25)])
    [Span(start=0, end=2), Span(start=4, end=8), Span(start=25, end=30)]
    """
    return [part for span in spans for part in _rest(span, known)]


def _rest(span: Span, known: Sequence[Span]) -> Iterator[Span]:
    at = span.start
    for other in known:
        if other.end <= at or other.start >= span.end:
            continue
        if other.start > at:
            yield Span(at, other.start)
        at = max(at, other.end)
    if at < span.end:
        yield Span(at, span.end)
