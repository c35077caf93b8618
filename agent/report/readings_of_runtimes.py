"""The same of the files that only some runtimes give."""

from __future__ import annotations

import json
from collections import Counter

from agent.evidence.python import stacks
from agent.report.readings import BYTES, Measured, floats

MAX_CALLS = 3
_LIBRARY = 2
"""The origin of a frame of the standard library (agent.evidence.python.stacks)."""


def python_stacks(content: bytes) -> tuple[Measured, ...]:
    """Read how many threads stand in which calls, innermost first."""
    threads = stacks.read(json.loads(content))
    return (Measured("Python threads by stack", "threads", floats(Counter(map(_calls, threads)))),)


def python_objects(content: bytes) -> tuple[Measured, ...]:
    """Read objects and bytes by class, and the entries of the containers that hold most."""
    found = json.loads(content)
    classes = found["classes"].items()
    entries = {f"{one['name'] or 'unknown'} ({one['kind']})": one["entries"] for one in found["holders"]}
    return (
        Measured("entries of containers", "entries", floats(entries)),
        Measured("bytes by class", BYTES, floats({name: one["size_bytes"] for name, one in classes})),
        Measured("objects by class", "objects", floats({name: one["number"] for name, one in classes})),
    )


def jvm_classes(content: bytes) -> tuple[Measured, ...]:
    """Read objects and bytes by class."""
    found = {name: (pair[0], pair[1]) for name, pair in json.loads(content).items()}
    return (
        Measured("bytes by class", BYTES, floats({name: size for name, (_, size) in found.items()})),
        Measured("objects by class", "objects", floats({name: count for name, (count, _) in found.items()})),
    )


def jvm_memory(content: bytes) -> tuple[Measured, ...]:
    """Read memory inside and outside of the JVM's heap, and by what for where the JVM tracks that."""
    found = json.loads(content)
    parts = {
        "heap in use": found["heap_used_bytes"],
        "resident, heap": found["inside_bytes"],
        "resident, outside of the heap": found["outside_bytes"],
    }
    return (
        Measured("memory of the JVM", BYTES, floats(parts)),
        Measured("native memory of the JVM", BYTES, floats(found["native_bytes"])),
    )


def node_memory(content: bytes) -> tuple[Measured, ...]:
    """Read memory, the spaces of V8's heap, and what keeps the loop busy."""
    found = json.loads(content)
    return (
        Measured("memory of Node", BYTES, floats(found["memory"])),
        Measured("spaces of V8's heap", BYTES, floats(found["spaces"])),
        Measured("resources of Node", "resources", floats(found["resources"])),
    )


def node_sites(content: bytes) -> tuple[Measured, ...]:
    """Read live bytes by the function that allocated them."""
    sums: Counter[str] = Counter()
    for function, url, line, size in json.loads(content)["sites"]:
        sums[f"{function} ({url}:{line})"] += size
    return (Measured("heap by function", BYTES, floats(sums)),)


def heap_contents(content: bytes) -> tuple[Measured, ...]:
    """Read what a look into native memory has recognised, of all of it or of what grew."""
    found = json.loads(content)
    seen_in = "the heap" if found["whole"] else "what grew"
    numbers = {one["name"]: one["number"] for one in found["found"]}
    return (Measured(f"native objects in {seen_in}", "objects", floats(numbers)),)


def collection(content: bytes) -> tuple[Measured, ...]:
    """Read the heap that a full collection left."""
    found = json.loads(content)
    left = {"in use before": found["before_bytes"], "left after": found["after_bytes"]}
    return (Measured("heap around a full collection", BYTES, floats(left)),)


def _calls(thread: stacks.Thread) -> str:
    """Return the innermost calls of the application, else those of libraries."""
    own = [frame for frame in thread.frames if frame.origin < _LIBRARY]
    return " < ".join(str(frame) for frame in (own or thread.frames)[:MAX_CALLS]) or "no call"
