"""A full collection of a Go program, asked for through pprof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.collection import Collected
from agent.evidence.go import address
from agent.evidence.go.pprof import heap_in_use
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from agent.evidence.kernel.procfs import HeldProcess

COLLECTIONS = 2
"""What a sync.Pool gives up survives one collection as its victim (sync/pool.go)."""


class GoCollector(address.Served):
    """`heap?gc=1` runs runtime.GC and answers when it is done."""

    name = "pprof heap?gc=1"

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        """Read the heap in use, collect, and read it again."""
        try:
            where = self._addresses.of(held.key)
        except ValueError as error:
            raise SourceError(f"{self.name}: {error}") from None
        part_s = timeout_s / (1 + COLLECTIONS)
        before = heap_in_use(self.name, where, collect=False, timeout_s=part_s)
        for _ in range(COLLECTIONS):
            after = heap_in_use(self.name, where, collect=True, timeout_s=part_s)
        return Collected(before, after)
