"""How large the blocks are that malloc of glibc has handed out, read off the sizes it keeps between them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.evidence.native.memory import Piece

PROOF = 8
"""So many blocks in a row must fit each other before their sizes are believed."""
LEAST_WALKED = 0.5
"""Of the sample: less means that another allocator than glibc's keeps it."""
MAX_BLOCK_BYTES = 1 << 20

_LEAST_BLOCK_BYTES = 32
_STEP_WORDS = 2
"""Blocks begin at multiples of 16 bytes (malloc/malloc.c, MALLOC_ALIGNMENT)."""
_IN_USE, _OF_MMAP = 1, 2
"""PREV_INUSE tells of the block before; IS_MMAPPED never stands in the middle of a heap."""
_FLAGS = 7
_HEADER_BYTES = 8


class Blocks(NamedTuple):
    """What was walked through."""

    counts: Counter[int]
    """How many blocks in use there are of each size, malloc's own eight bytes counted."""
    free_bytes: int
    """In blocks that were given back and wait to be used again, those of the thread caches not counted."""
    walked_bytes: int

    @property
    def largest(self) -> tuple[int, int]:
        """The size whose blocks take the most memory, and how many there are; (0, 0) where there are none."""
        return max(self.counts.items(), key=lambda item: item[0] * item[1], default=(0, 0))


def walk(pieces: Iterable[Piece]) -> Blocks:
    """Return the blocks in use that lie in some pieces of memory, and how much of it made sense."""
    counts: Counter[int] = Counter()
    walked = free = 0
    for piece in pieces:
        words = piece.words.tolist()
        at = 0
        while (at := _begin(words, at)) < len(words):
            end, unused = _count(words, at, counts)
            free += unused
            walked += (end - at) * 8
            at = end + _STEP_WORDS
    return Blocks(counts, free, walked)


def requested(size: int) -> str:
    """Return what a program asked malloc for when it got a block of a size.

    >>> requested(128), requested(32)
    ('105-120', '1-24')
    """
    least = 1 if size <= _LEAST_BLOCK_BYTES else size - 2 * _HEADER_BYTES - 7
    return f"{least}-{size - _HEADER_BYTES}"


def _begin(words: Sequence[int], at: int) -> int:
    """Return the next place where blocks begin that fit each other."""
    for start in range(at, len(words), _STEP_WORDS):
        place = start
        for _ in range(PROOF):
            size = _size(words, place)
            if not size:
                break
            place += size // 8
        else:
            return start
    return len(words)


def _count(words: Sequence[int], at: int, counts: Counter[int]) -> tuple[int, int]:
    """Count the blocks in use from a place on; return where they end to fit, and the bytes of the others."""
    free = 0
    while size := _size(words, at):
        following = at + size // 8
        if following + 1 >= len(words):
            break
        if words[following + 1] & _IN_USE:
            counts[size] += 1
        else:
            free += size
        at = following
    return at, free


def _size(words: Sequence[int], at: int) -> int:
    """Return the size of the block that begins at a word; 0 where none can begin."""
    if at + 1 >= len(words):
        return 0
    field = words[at + 1]
    size = field & ~_FLAGS
    valid = _LEAST_BLOCK_BYTES <= size <= MAX_BLOCK_BYTES and size % 16 == 0 and not field & _OF_MMAP
    return size if valid else 0
