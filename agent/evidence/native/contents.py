"""What the bytes of a program's heap look like: which classes, which functions, which sizes. No content."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.evidence.native import chunks, files, maps
from agent.evidence.native.classes import class_of
from agent.evidence.native.elf import ElfError, Symbols
from agent.evidence.native.mangled import readable
from agent.evidence.native.places import Places
from agent.median import median
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.native.maps import Region
    from agent.evidence.native.memory import Memory, Sample

MAX_POINTERS = 64
"""The most frequent ones are looked up."""
MAX_FILES = 8
LEAST_IN_SAMPLE = 20
MAX_NAME_CHARS = 200

_CLASS_TABLE = "vtable for "
_TABLES = ("_ZTV", "_ZTT", "_ZTC")
_GLIBC = (b"/libc.so.6", b"/libc-2.")


class Found(NamedTuple):
    """Something that many blocks of the heap begin with or hold."""

    name: str
    is_class: bool
    """Objects of a class, else pointers to a function or to something of the program."""
    number: int
    """In all that is resident, estimated."""
    every_bytes: int
    """The usual distance of two of them."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What was found in a sample."""

    resident_bytes: int
    sampled_bytes: int
    found: tuple[Found, ...]
    """The most frequent first."""
    block_bytes: int
    """The size whose blocks take most, as malloc of glibc keeps it; 0 where that is not to be told."""
    blocks: int
    """How many there are of them, estimated."""
    blocks_share: float
    """What they take of all that is resident."""
    free_share: float
    """What of all that is resident lies in free blocks between others, where only malloc can use it."""


def look(held: HeldProcess, memory: Memory, regions: Sequence[Region], sample: Sample) -> Contents:
    """Return what a sample of the heap holds. Reads names and tables, a bounded number of them."""
    places = Places(regions)
    pointers = _frequent(sample, places)
    classes = {pointer: class_of(memory, places, pointer) for pointer, _ in pointers}
    others = [pointer for pointer, _ in pointers if not classes[pointer]]
    symbols = _symbols(held, places, others)
    found: dict[tuple[str, bool], list[int]] = {}
    for pointer, count in pointers:
        name, is_class = (classes[pointer], True) if classes[pointer] else symbols.get(pointer, ("", False))
        if name:
            entry = found.setdefault((name, is_class), [0, pointer])
            entry[0] += count
    ranked = sorted(found.items(), key=lambda item: -item[1][0])
    told = tuple(
        Found(name, is_class, round(count * sample.scale), _distance(sample, pointer))
        for (name, is_class), (count, pointer) in ranked
    )
    return Contents(sample.resident_bytes, sample.size_bytes, told, *_blocks(regions, sample))


def _frequent(sample: Sample, places: Places) -> list[tuple[int, int]]:
    """Return the pointers into files that are found most often, and how often."""
    pointers = [places.pointers(piece.words) for piece in sample.pieces]
    values, counts = np.unique(np.concatenate([np.empty(0, np.uint64), *pointers]), return_counts=True)
    most = np.argsort(-counts, kind="stable")[:MAX_POINTERS]
    return [(int(values[i]), int(counts[i])) for i in most if counts[i] >= LEAST_IN_SAMPLE]


def _distance(sample: Sample, pointer: int) -> int:
    """Return the median distance of a pointer's places within the pieces; 0 where it is alone in each."""
    gaps = [np.diff(np.flatnonzero(piece.words == np.uint64(pointer))) for piece in sample.pieces]
    all_gaps = np.concatenate([np.empty(0, np.int64), *gaps])
    return int(median(all_gaps)) * 8 if all_gaps.size else 0


def _symbols(held: HeldProcess, places: Places, pointers: Iterable[int]) -> dict[int, tuple[str, bool]]:
    """Return names by the symbol tables of the mapped files, and whether they are classes."""
    by_file: dict[tuple[int, int], list[tuple[int, Region]]] = {}
    for pointer in pointers:
        region = places.region(pointer)
        if region is not None:
            by_file.setdefault((region.device, region.inode), []).append((pointer, region))
    found = {}
    for wanted in list(by_file.values())[:MAX_FILES]:
        with suppress(OSError, ElfError), files.mapped(held, wanted[0][1]) as file:
            at_offset = Symbols(file).at_offset
            for pointer, region in wanted:
                found[pointer] = _named(at_offset, region, pointer)
    return found


def _named(at_offset: Callable[[int], str], region: Region, pointer: int) -> tuple[str, bool]:
    mangled = at_offset(pointer - region.span.start + region.offset)
    is_class = mangled.startswith(_TABLES)
    name = readable(mangled[len(_TABLES[0]) :] if is_class else mangled)
    return one_line(name, MAX_NAME_CHARS), is_class


def _blocks(regions: Sequence[Region], sample: Sample) -> tuple[int, int, float, float]:
    """Return size, number and share of the blocks that take most, and the share of free ones."""
    spans = maps.of_malloc(regions)
    pieces = [
        piece for piece in sample.pieces if any(span.start <= piece.address < span.end for span in spans)
    ]
    if not pieces or not any(name in region.path for region in regions for name in _GLIBC):
        return 0, 0, 0.0, 0.0
    walked = chunks.walk(pieces)
    if walked.walked_bytes < chunks.LEAST_WALKED * sum(len(piece.content) for piece in pieces):
        return 0, 0, 0.0, 0.0
    size, count = walked.largest
    share, free_share = (part / sample.size_bytes for part in (size * count, walked.free_bytes))
    return size, round(count * sample.scale), share, free_share
