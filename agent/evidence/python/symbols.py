"""Addresses of functions in a running process, read from the symbol tables that the loader has mapped.

Nothing is opened but the memory of the process: what lies in its files, and where, does not matter.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.evidence.python.memory import Memory, Region

MAX_TABLE_BYTES = 8_000_000
"""A CPython has some 5,000 names, 120 kB; the largest libraries have a few megabytes."""
MAX_HEADERS = 64
MAX_DYNAMIC = 128

_EHDR_PHOFF_AT, _EHDR_PHNUM_AT = 32, 56
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_SYMTAB, _DT_STRSZ = 5, 6, 10
_SYMBOL = struct.Struct("<IBBHQQ")
_FUNCTION = 2


def functions(mem: Memory, regions: Iterable[Region], names: frozenset[bytes]) -> dict[bytes, int]:
    """Return the addresses of those names that one of the mapped files defines; the first one wins.

    Raises OSError, ValueError when the process changes meanwhile.
    """
    found: dict[bytes, int] = {}
    for region in regions:
        if region.offset == 0 and region.path.startswith("/") and "r" in region.rights:
            with suppress(OSError, ValueError, struct.error):  # no ELF file, or one that lies
                found |= dict(_defined(mem, region.start, names - found.keys()))
        if len(found) == len(names):
            break
    return found


def _defined(mem: Memory, start: int, names: frozenset[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield which of the names the file mapped there defines (elf(5))."""
    if mem.read(start, 6) != b"\x7fELF\x02\x01":
        return
    base, table = _dynamic(mem, start)
    texts_at, symbols_at = (_absolute(table[tag], base) for tag in (_DT_STRTAB, _DT_SYMTAB))
    size = texts_at - symbols_at
    if not 0 < size <= MAX_TABLE_BYTES or table[_DT_STRSZ] > MAX_TABLE_BYTES:
        return
    # The table has no length of its own; every linker puts the names behind it.
    symbols, texts = mem.read(symbols_at, size), mem.read(texts_at, table[_DT_STRSZ])
    wanted = {at + 1: name for name in names if (at := texts.find(b"\0" + name + b"\0")) >= 0}
    for name_at, info, _, section, value, _ in _SYMBOL.iter_unpack(symbols[: size // 24 * 24]):
        if name_at in wanted and section and info & 15 == _FUNCTION:
            yield wanted[name_at], base + value


def _dynamic(mem: Memory, start: int) -> tuple[int, dict[int, int]]:
    """Return by how much the file is shifted, and its dynamic section by tag."""
    at = struct.unpack("<Q", mem.read(start + _EHDR_PHOFF_AT, 8))[0]
    count = min(MAX_HEADERS, struct.unpack("<H", mem.read(start + _EHDR_PHNUM_AT, 2))[0])
    headers = list(struct.iter_unpack("<II6Q", mem.read(start + at, count * 56)))
    base = next(start - (h[3] & ~0xFFF) for h in headers if h[0] == _PT_LOAD and h[2] == 0)
    dynamic = next(h[3] for h in headers if h[0] == _PT_DYNAMIC)
    size = next(h[6] for h in headers if h[0] == _PT_DYNAMIC)
    raw = mem.read(base + dynamic, min(size, MAX_DYNAMIC * 16) // 16 * 16)
    return base, dict(struct.iter_unpack("<QQ", raw))


def _absolute(value: int, base: int) -> int:
    """Return an address of the dynamic section: glibc has relocated it, musl has not."""
    return value if value >= base else base + value
