"""Every source of evidence there is, the cheapest first: a new one is added here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.collection import ProofByCollection
from agent.evidence.collectors import all_collectors
from agent.evidence.go.sources import GoHeap, Goroutines
from agent.evidence.jvm.dump import HeapDump
from agent.evidence.jvm.sources import ClassHistogram, JvmMemory, ThreadStacks
from agent.evidence.kernel.sources import Descriptors, Mappings, Standing
from agent.evidence.native.sources import AllocationTrace, HeapContents
from agent.evidence.node.sources import heavy_node_sources, node_sources
from agent.evidence.python import pyspy
from agent.evidence.python.sources import PythonObjects, PythonStacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.evidence.source import Source


def all_sources(find_py_spy: Callable[[], Path | None] = pyspy.find) -> tuple[Source, ...]:
    """Return the sources in the order in which they are taken."""
    return (
        Mappings(),
        PythonStacks(find_py_spy),
        PythonObjects(),
        GoHeap(),
        Goroutines(),
        HeapContents(),
        ClassHistogram(),
        JvmMemory(),
        ThreadStacks(),
        *node_sources(),
        Standing(),
        Descriptors(),
        AllocationTrace(),
        ProofByCollection(all_collectors()),
        HeapDump(),
        *heavy_node_sources(),
    )
