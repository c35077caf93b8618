"""What a native program's memory looks like, and who allocates it, as sources of evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.native import chunks, maps, memleak, memory
from agent.evidence.native.contents import Contents, Found, look
from agent.evidence.native.maps import Span
from agent.evidence.rights import MEMORY, denied, try_memory
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE, COUNTS
from agent.text import one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

FILE = "heap-contents.json"
LEAST_GROWN_BYTES = 1_000_000
"""Less new memory than this says little about a leak: all of the heap is looked at instead."""
LEAST_SHARE = 0.05
"""Of what was looked at; what takes less is in the file alone."""
LEAST_BLOCKS_SHARE = 0.3
LEAST_FREE_SHARE = 0.3
MAX_TOLD = 2
MAX_TOLD_CHARS = 60

_ELF_64_LITTLE = b"\x7fELF\x02\x01"


class _Before(NamedTuple):
    """What an earlier capture has seen."""

    spans: list[Span]
    counts: dict[str, int]
    age: str


_NEVER = _Before([], {}, "")


class HeapContents:
    """Counts objects by class and pointers to functions in a sample of the heap, above all in its new part.

    Reads at most `memory.SAMPLE_BYTES` of pages that are in memory anyway; the process runs on meanwhile.
    Tells names of symbols and numbers alone, never what else the memory holds.
    """

    name = "heap contents"
    cost = Cost(Tier.CHEAP, baseline=True)

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's; this needs none
        """Whether it is a native program: other runtimes keep their objects in ways of their own."""
        return process.runtime == "native"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why its memory could not be read."""
        return denied(lambda: try_memory(held), MEMORY) or _unknown_machine(held)

    def take(self, taking: Taking) -> None:
        """Look at what is new since the first look, else at everything, and tell what it is full of."""
        why = self.why_not(taking.process, taking.held)
        if why:
            raise SourceError(f"{self.name}: {why}")
        with taking.held.lines("maps") as lines:
            regions = maps.parse(lines)
        spans, before = maps.allocated(regions), _before(taking)
        new = maps.without(spans, before.spans)
        grown = bool(before.age) and sum(span.size_bytes for span in new) >= LEAST_GROWN_BYTES
        with memory.opened(taking.held) as opened:
            sample = opened.sample(new if grown else spans)
            contents = look(taking.held, opened, regions, sample)
        taking.write_raw("heap-contents.txt", _readable(contents, grown=grown).encode("utf-8", "replace"))
        taking.write(FILE, _to_json(contents, spans, grown=grown))
        _tell(taking, contents, before, grown=grown)


class AllocationTrace:
    """What is allocated and not given back while memleak looks, by stack."""

    name = memleak.NAME
    cost = Cost(Tier.MEDIUM)

    def __init__(
        self,
        find_tool: Callable[[], Path | None] = memleak.find,
        refusal: Callable[[Path | None], str] = memleak.refusal,
    ) -> None:
        self._find_tool = find_tool
        self._refusal = refusal

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - any runtime calls malloc
        """Whether the entry allows it: each malloc and free takes one or two microseconds more meanwhile."""
        return consent.trace

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; rights and tool decide
        """Return why nothing can be traced here."""
        return self._refusal(self._find_tool())

    def take(self, taking: Taking) -> None:
        """Trace for as long as the time allows, and tell the stack that holds most of what was not freed."""
        tool = self._find_tool()
        why = self._refusal(tool)
        if tool is None or why:
            raise SourceError(f"{self.name}: {why}")
        with taking.held.lines("maps") as lines:
            regions = maps.parse(lines)
        output, seconds = memleak.trace(tool, taking.held, regions, timeout_s=taking.options.timeout_s)
        taking.write_raw("memleak.txt", output.encode("utf-8", "replace"))
        found = memleak.parse(output)
        if found:
            size, count = format_bytes(found[0].size_bytes), f"{found[0].blocks:,}"
            who = memleak.label(found[0], regions)
            taking.tell(CODE, f"not freed: {who} allocated {size} in {count} blocks within {seconds}s")


def _unknown_machine(held: HeldProcess) -> str:
    """Return why its words could not be understood."""
    try:
        with held.lines("exe") as file:
            head = file.read(len(_ELF_64_LITTLE))
    except OSError:
        return ""  # permitted to trace, but not to read the file: nearly all are of this kind
    return "" if head == _ELF_64_LITTLE else "not a program of 64 bits, little-endian"


def _before(taking: Taking) -> _Before:
    before = taking.before(FILE)
    if before is None:
        return _NEVER
    try:
        told = json.loads(before.content)
        spans = [Span(int(start), int(end)) for start, end in told["spans"]]
        counts = {str(found["name"]): int(found["number"]) for found in told["found"] if told["whole"]}
    except (ValueError, KeyError, TypeError):
        return _NEVER  # cut off by a full disk, or written by another version
    return _Before(spans, counts, format_duration(before.age_s))


def _to_json(contents: Contents, spans: list[Span], *, grown: bool) -> dict[str, object]:
    return {
        "whole": not grown,
        "resident_bytes": contents.resident_bytes,
        "sampled_bytes": contents.sampled_bytes,
        "found": [found._asdict() for found in contents.found],
        "block_bytes": contents.block_bytes,
        "blocks": contents.blocks,
        "free_share": round(contents.free_share, 3),
        "spans": spans,
    }


def _tell(taking: Taking, contents: Contents, before: _Before, *, grown: bool) -> None:
    size = format_bytes(contents.resident_bytes)
    where = f"what grew ({size} in {before.age})" if grown else f"{size} of heap"
    weighty = [found for found in contents.found if _share(found, contents) >= LEAST_SHARE]
    for found in weighty[:MAX_TOLD]:
        taking.tell(CODE, _line(found, where, before, grown=grown))
    if contents.blocks_share >= LEAST_BLOCKS_SHARE:
        block, asked = contents.block_bytes, chunks.requested(contents.block_bytes)
        count, share = _about(contents.blocks), f"{min(1.0, contents.blocks_share):.0%}"
        taking.tell(COUNTS, f"blocks: {count} of {block}B (malloc of {asked}B), {share} of {where}")
    if contents.free_share >= LEAST_FREE_SHARE:
        taking.tell(COUNTS, f"free: {contents.free_share:.0%} of {where} lies free between blocks in use")


def _line(found: Found, where: str, before: _Before, *, grown: bool) -> str:
    name = one_line(found.name, MAX_TOLD_CHARS)
    begin = "objects: {} of {}" if found.is_class else "pointers: {} to {}"
    line = f"{begin.format(_about(found.number), name)} in {where}"
    if before.age and not grown:
        return f"{line}, {found.number - before.counts.get(found.name, 0):+,} in {before.age}"
    return f"{line}, one every {found.every_bytes}B" if found.every_bytes else line


def _share(found: Found, contents: Contents) -> float:
    """Return what it takes of all that was looked at, with what lies between two of them."""
    return found.number * max(found.every_bytes, memory.WORD_BYTES) / max(1, contents.resident_bytes)


def _about(count: int) -> str:
    """Return an estimate with three figures: "~163,000"."""
    digits = len(str(count))
    return f"~{round(count, min(0, 3 - digits)):,}"


def _readable(contents: Contents, *, grown: bool) -> str:
    return "\n".join(_rows(contents, grown=grown)) + "\n"


def _rows(contents: Contents, *, grown: bool) -> Iterator[str]:
    part = "what is new since the first look" if grown else "all allocated memory"
    sampled, resident = format_bytes(contents.sampled_bytes), format_bytes(contents.resident_bytes)
    yield f"looked at: {sampled} of {resident}, {part}"
    if contents.blocks:
        asked = chunks.requested(contents.block_bytes)
        share = f"{min(1.0, contents.blocks_share):.0%}"
        yield f"blocks: about {contents.blocks:,} of {contents.block_bytes}B (malloc of {asked}B), {share}"
    if contents.free_share:
        yield f"free between blocks in use: {contents.free_share:.0%}"
    yield f"{'about':>12} {'one every':>10}  found"
    for found in contents.found:
        kind = "objects of" if found.is_class else "pointers to"
        yield f"{found.number:>12,} {found.every_bytes:>9}B  {kind} {found.name}"
