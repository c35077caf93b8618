"""Reads a bounded sample of another process's memory: only pages that are there, nothing is swapped in."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.evidence.native.maps import PAGE_BYTES, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from agent.evidence.kernel.procfs import HeldProcess

SAMPLE_BYTES = 4_000_000
PIECE_BYTES = 32 * PAGE_BYTES
MAX_LATER_READS = 4000
"""Of single words and names, on top of the sample."""
WORD_BYTES = 8

_PAGEMAP_ENTRY_BYTES = 8
_PRESENT = np.uint64(1 << 63)
"""Documentation/admin-guide/mm/pagemap.rst."""


class Piece(NamedTuple):
    """Some pages in a row as they were read."""

    address: int
    content: bytes

    @property
    def words(self) -> npt.NDArray[np.uint64]:
        """The content as 64-bit numbers."""
        return np.frombuffer(self.content[: len(self.content) // WORD_BYTES * WORD_BYTES], "<u8")


class Sample(NamedTuple):
    """Pieces spread evenly over some spans."""

    pieces: tuple[Piece, ...]
    resident_bytes: int
    """What of the spans is in memory, estimated where they are longer than the sample."""

    @property
    def size_bytes(self) -> int:
        """How much was read."""
        return sum(len(piece.content) for piece in self.pieces)

    @property
    def scale(self) -> float:
        """What a count in the sample is multiplied with to stand for all that is resident."""
        return self.resident_bytes / self.size_bytes if self.pieces else 0.0


class Memory:
    """The memory of one process through descriptors that follow it; see `opened`."""

    def __init__(self, memory: int, pagemap: int) -> None:
        self._memory = memory
        self._pagemap = pagemap
        self._left = MAX_LATER_READS

    def sample(self, spans: Sequence[Span], budget_bytes: int = SAMPLE_BYTES) -> Sample:
        """Read pieces of the spans, all of them where they fit the budget. Raises OSError."""
        chosen = list(_spread(spans, budget_bytes))
        asked = sum(span.size_bytes for span in chosen)
        pieces = [piece for span in chosen for piece in self._present(span)]
        read = sum(len(piece.content) for piece in pieces)
        total = sum(span.size_bytes for span in spans)
        return Sample(tuple(pieces), round(total * read / asked) if asked else 0)

    def read(self, address: int, size_bytes: int) -> bytes:
        """Return what lies there; nothing where that is not mapped, or when too much was asked for."""
        self._left -= 1
        return self._pread(address, size_bytes) if self._left >= 0 else b""

    def word(self, address: int) -> int:
        """Return the 64-bit number that lies there; 0 where nothing can be read."""
        return int.from_bytes(self.read(address, WORD_BYTES), "little")

    def _present(self, span: Span) -> Iterator[Piece]:
        """Yield the runs of pages that are in memory: reading others would fetch them from swap."""
        first, pages = span.start // PAGE_BYTES, span.size_bytes // PAGE_BYTES
        raw = os.pread(self._pagemap, pages * _PAGEMAP_ENTRY_BYTES, first * _PAGEMAP_ENTRY_BYTES)
        present = np.frombuffer(raw[: len(raw) // 8 * 8], "<u8") & _PRESENT != 0
        edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
        for begin, end in edges.reshape(-1, 2).tolist():
            address = span.start + begin * PAGE_BYTES
            content = self._pread(address, (end - begin) * PAGE_BYTES)
            if content:
                yield Piece(address, content)

    def _pread(self, address: int, size_bytes: int) -> bytes:
        if not 0 <= address < 1 << 63:
            return b""
        try:
            return os.pread(self._memory, size_bytes, address)
        except OSError:  # unmapped meanwhile
            return b""


@contextmanager
def opened(held: HeldProcess) -> Iterator[Memory]:
    """Open the memory of a process; needs the right to trace it, and never stops it. Raises OSError."""
    with ExitStack() as stack:
        memory = stack.enter_context(held.lines("mem"))
        pagemap = stack.enter_context(held.lines("pagemap"))
        yield Memory(memory.fileno(), pagemap.fileno())


def _spread(spans: Sequence[Span], budget_bytes: int) -> Iterator[Span]:
    """Yield pieces of the spans, evenly over all of them; everything where it fits the budget."""
    pieces = [
        Span(at, min(at + PIECE_BYTES, span.end))
        for span in spans
        for at in range(span.start, span.end, _step(spans))
    ]
    every = max(1.0, sum(piece.size_bytes for piece in pieces) / budget_bytes)
    count = max(1, int(len(pieces) / every))
    for index in range(min(count, len(pieces))):
        yield pieces[int(index * every)]


def _step(spans: Sequence[Span]) -> int:
    """Return the distance of the pieces to choose from: a terabyte is not listed piece by piece."""
    total = sum(span.size_bytes for span in spans)
    return max(PIECE_BYTES, total // 10_000 // PAGE_BYTES * PAGE_BYTES)
