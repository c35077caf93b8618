"""Looks addresses up in the symbol table of an ELF file that anybody may have crafted."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_SECTIONS = 4096
MAX_SEGMENTS = 256
MAX_SYMBOLS = 500_000
"""12 MB of table; what comes after has no name here."""
MAX_NAME_BYTES = 512

_HEADER_BYTES, _SECTION_BYTES, _SEGMENT_BYTES, _SYMBOL_BYTES = 64, 64, 56, 24
_MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
_SYMBOLS, _DYNAMIC_SYMBOLS = 2, 11
"""SHT_SYMTAB, SHT_DYNSYM."""
_LOAD = 1
_TYPE_MASK, _OBJECT, _FUNCTION, _INDIRECT = 0xF, 1, 2, 10
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
"""Elf64_Sym (elf(5))."""


class ElfError(Exception):
    """The file is no ELF file of 64 bits, or not whole."""


class _Segment(NamedTuple):
    offset: int
    address: int
    size_bytes: int


class Symbols:
    """The symbols of one open file; the descriptor stays the caller's. Raises ElfError, OSError."""

    def __init__(self, file: int) -> None:
        self._file = file
        header = self._read(0, _HEADER_BYTES)
        if not header.startswith(_MAGIC_64_LITTLE):
            raise ElfError("not an ELF file of 64 bits")
        segments_at, sections_at = struct.unpack_from("<QQ", header, 32)
        segments, _, sections = struct.unpack_from("<HHH", header, 56)
        self._segments = self._read_segments(segments_at, min(segments, MAX_SEGMENTS))
        self._table, self._names_at, self._names_bytes = self._read_table(
            sections_at, min(sections, MAX_SECTIONS)
        )

    def at_offset(self, offset: int) -> str:
        """Return the mangled name of what lies at a place of the file; empty where nothing is known."""
        for segment in self._segments:
            if segment.offset <= offset < segment.offset + segment.size_bytes:
                return self._at_address(segment.address + offset - segment.offset)
        return ""

    def _at_address(self, address: int) -> str:
        wanted = np.uint64(address)
        values, sizes = self._table["value"], self._table["size"]
        inside = (values <= wanted) & (wanted - values < sizes)
        found = np.flatnonzero(inside)
        if not found.size:
            return ""
        narrowest = found[np.argmin(sizes[found])]
        return self._name(int(self._table["name"][narrowest]))

    def _name(self, at: int) -> str:
        if at >= self._names_bytes:
            return ""
        size = min(MAX_NAME_BYTES, self._names_bytes - at)
        raw, end, _ = self._read(self._names_at + at, size).partition(b"\0")
        return raw.decode("utf-8", "backslashreplace") if end else ""

    def _read_segments(self, at: int, count: int) -> list[_Segment]:
        raw = self._read(at, count * _SEGMENT_BYTES)
        found = []
        for kind, _, offset, address, _, size in struct.iter_unpack("<IIQQQQ16x", raw):
            if kind == _LOAD and max(offset, address, size) < 1 << 62:
                found.append(_Segment(offset, address, size))
        return found

    def _read_table(self, at: int, count: int) -> tuple[npt.NDArray[np.void], int, int]:
        """Return the full table of symbols, else the one for the linker, and where their names lie."""
        sections = list(struct.iter_unpack("<IIQQQQIIQQ", self._read(at, count * _SECTION_BYTES)))
        by_kind = {section[1]: section for section in reversed(sections)}
        table = by_kind.get(_SYMBOLS) or by_kind.get(_DYNAMIC_SYMBOLS)
        if table is None or table[6] >= len(sections):
            return np.empty(0, _SYMBOL), 0, 0
        names = sections[table[6]]
        symbols = min(table[5] // _SYMBOL_BYTES, MAX_SYMBOLS)
        read = np.frombuffer(self._read(table[4], symbols * _SYMBOL_BYTES), _SYMBOL)
        kinds = read["info"] & _TYPE_MASK
        named = read[np.isin(kinds, (_OBJECT, _FUNCTION, _INDIRECT)) & (read["section"] != 0)]
        return named, names[4], names[5]

    def _read(self, offset: int, size: int) -> bytes:
        """Return exactly so many bytes. Raises ElfError, OSError."""
        if offset >= 1 << 62:
            raise ElfError("a place far outside of the file")
        raw = os.pread(self._file, size, offset)
        if len(raw) != size:
            raise ElfError("cut off")
        return raw
