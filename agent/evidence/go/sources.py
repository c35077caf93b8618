"""Heap and goroutines of a Go program by line of its code, as sources of evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.evidence.go import address, sites
from agent.evidence.go.pprof import fetch_profile
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from agent.evidence.go.profile import Profile
    from agent.evidence.taking import Taking

MANY_GOROUTINES = 1000
LEAST_HELD_BYTES = 1_000_000
"""Go samples one allocation in 512 kB: smaller sums are guesses."""
LEAST_MORE = 100
"""So many more goroutines at one place are told."""
MAX_SITES = 2000


class _Profiled(address.Served):
    """What a process serves at the address that its entry names."""

    name = ""
    cost = Cost(Tier.CHEAP, baseline=True)

    def _fetch(self, taking: Taking, what: str, counting: str) -> Profile:
        """Fetch a profile of exactly this process, and keep it as it was sent. Raises SourceError."""
        why = self.why_not(taking.process, taking.held)
        if why:
            raise SourceError(f"{self.name}: {why}")
        where = self._addresses.of(taking.process.key)
        raw, profile = fetch_profile(
            self.name, where, what, counting=counting, timeout_s=taking.options.timeout_s
        )
        taking.write_raw(f"go-{what}.pb.gz", raw)
        return profile


class GoHeap(_Profiled):
    """Bytes in use by line of code, as of the last collection that has ended."""

    name = "pprof heap"

    def take(self, taking: Taking) -> None:
        """Sum the heap profile up, and tell the line that holds the memory, or whose memory has grown."""
        profile = self._fetch(taking, "heap", "inuse_space")
        changes, age = _compared(taking, "go-heap.json", sites.held_by_site(profile, "inuse_space"))
        _write_table(taking, "go-heap.txt", "bytes in use", changes, format_bytes)
        for line in _heap_lines(changes, age):
            taking.tell(CODE, line)


class Goroutines(_Profiled):
    """How many goroutines are at each line of the application."""

    name = "pprof goroutines"

    def take(self, taking: Taking) -> None:
        """Count them by where they are and what they wait for, and tell where they have become more."""
        profile = self._fetch(taking, "goroutine", "goroutine")
        changes, age = _compared(taking, "go-goroutine.json", sites.waiting_by_site(profile))
        _write_table(taking, "go-goroutine.txt", "goroutines", changes, "{:,}".format)
        if not changes:
            return
        total, (name, now, more) = sum(change.now for change in changes), changes[0]
        if age and more >= LEAST_MORE:
            taking.tell(CODE, f"goroutines: +{more:,} in {sites.told(name)} in {age}")
        elif total >= MANY_GOROUTINES:
            taking.tell(CODE, f"goroutines: {now:,} of {total:,} in {sites.told(name)}")


def _heap_lines(changes: list[sites.Change], age: str) -> list[str]:
    """Return the lines on the two sites that grew most, else the one on the site that holds most."""
    grown = [change for change in changes[:2] if age and change.change >= LEAST_HELD_BYTES]
    if grown:
        return [
            f"{word}: {sites.told(name)} holds {format_bytes(now)}, +{format_bytes(more)} in {age}"
            for word, (name, now, more) in zip(("top", "next"), grown, strict=False)
        ]
    largest = max(changes, key=lambda change: change.now, default=None)
    if largest is None or largest.now < LEAST_HELD_BYTES:
        return []
    total = format_bytes(sum(change.now for change in changes))
    return [f"top: {sites.told(largest.site)} holds {format_bytes(largest.now)} of {total}"]


def _compared(taking: Taking, name: str, sums: Counter[str]) -> tuple[list[sites.Change], str]:
    """Keep the sums, and return them compared with the first look, and how long ago that was.

    What was held before counts as nothing, and the time is empty, where there was no look.
    """
    kept = dict(sums.most_common(MAX_SITES))
    taking.write(name, kept)
    before = taking.before(name)
    if before is not None:
        try:
            earlier = {str(site): int(value) for site, value in json.loads(before.content).items()}
        except (ValueError, TypeError, AttributeError):
            pass  # cut off by a full disk, or written by another version
        else:
            return sites.changes(earlier, kept), format_duration(before.age_s)
    return sites.changes({}, kept), ""


def _write_table(
    taking: Taking, name: str, what: str, changes: list[sites.Change], show: Callable[[int], str]
) -> None:
    """Write the table for people."""
    rows = [f"{'now':>10} {'more':>10}  {what} by line of code"]
    rows += [f"{show(now):>10} {show(more):>10}  {site}" for site, now, more in changes]
    taking.write_raw(name, ("\n".join(rows) + "\n").encode("utf-8", "backslashreplace"))
