"""What the files of a capture hold, and how two of the same name are compared: one entry a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.report import readings
from agent.report import readings_of_runtimes as runtimes

if TYPE_CHECKING:
    from agent.report.readings import Reader

PACKED = ".gz"


class Known(NamedTuple):
    """One kind of file."""

    holds: str
    """What is in it, for people."""
    read: Reader | None = None
    """What of it can be compared with another capture's; None where people compare it."""


FILES = {
    "evidence.json": Known("who, when, what was found, and what could not be taken"),
    "report.html": Known("the page"),
    "growth.json": Known("the growth that was seen: wall time and amount"),
    "pyspy.txt": Known("Python stacks, innermost call first"),
    "pyspy.json": Known("Python stacks for machines", runtimes.python_stacks),
    "objects.txt": Known("Python objects by class, and the containers that hold most"),
    "objects.json": Known("objects by class for machines", runtimes.python_objects),
    "node-sites.txt": Known("live bytes by the function that allocated them"),
    "node-sites.json": Known("live bytes by function for machines", runtimes.node_sites),
    "node-memory.json": Known("V8's heap by space, Node's memory and resources", runtimes.node_memory),
    "memlab.txt": Known("who keeps what has leaked: memlab's retainer traces"),
    "heap.heapsnapshot": Known("all of V8's heap, for Chrome's DevTools or memlab; it holds secrets"),
    "heap.hprof": Known("all of the JVM's heap, for Eclipse MAT or VisualVM; it holds secrets"),
    "heap-contents.txt": Known("what was recognised in native memory: classes and sizes of blocks"),
    "heap-contents.json": Known("what was recognised, for machines", runtimes.heap_contents),
    "memleak.txt": Known("outstanding allocations by stack"),
    "jvm-growth.txt": Known("the classes whose objects have become more"),
    "jvm-classes.txt": Known("objects by class, as the JVM counts them"),
    "jvm-classes.json": Known("objects by class for machines, the largest", runtimes.jvm_classes),
    "jvm-memory.txt": Known("heap, flags and native memory, as the JVM tells them"),
    "jvm-memory.json": Known("memory inside and outside of the JVM's heap", runtimes.jvm_memory),
    "jvm-threads.txt": Known("the JVM's threads, equal stacks together"),
    "jvm-threads.json": Known("threads by line of the application", readings.counts("threads by line")),
    "go-heap.txt": Known("bytes in use by line of code"),
    "go-heap.json": Known("bytes in use by line, for machines", readings.sizes("heap by line")),
    "go-heap.pb.gz": Known("the heap profile, for go tool pprof"),
    "go-goroutine.txt": Known("goroutines by line of code"),
    "go-goroutine.json": Known("goroutines by line, for machines", readings.counts("goroutines by line")),
    "go-goroutine.pb.gz": Known("the goroutine profile, for go tool pprof"),
    "smaps.json": Known("memory by kind of mapping, and the largest files", readings.smaps),
    "status.json": Known("status, limits, threads by name, the cgroup's memory", readings.status),
    "fds.json": Known("descriptors by class and by target", readings.descriptors),
    "collection.json": Known("what a full collection took back", runtimes.collection),
}
"""By name, without the ending of a packed file.

In the order of a comparison: what names the code comes first.
"""


def holds(name: str) -> str:
    """Return what a file holds, for people; empty where that is not known."""
    known = FILES.get(name) or FILES.get(name.removesuffix(PACKED))
    return known.holds if known else ""


def is_for_people(name: str) -> bool:
    """Whether a file is written to be read by people."""
    return name.removesuffix(PACKED).endswith(".txt")


def reader(name: str) -> Reader | None:
    """Return how a file is read for a comparison; JSON that is not known by its numbers."""
    plain = name.removesuffix(PACKED)
    if plain in FILES:
        return FILES[plain].read
    return readings.any_figures(plain) if plain.endswith(".json") else None
