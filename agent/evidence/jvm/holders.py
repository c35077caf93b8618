"""Names the static field behind which a heap dump has the most elements: who holds what leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from agent.evidence.jvm import hprof
from agent.evidence.jvm.histogram import MAX_LINE_CHARS, is_own, shortened
from agent.text import one_line

if TYPE_CHECKING:
    from agent.evidence.jvm.hprof import Found

MAX_DEPTH = 4
"""A static field, a singleton's field, a set's map and its table are as many."""
MAX_WANTED = 20_000
"""Objects looked at in one pass."""
LEAST_ELEMENTS = 1000
_SIZES = ("size", "count", "elementCount", "baseCount")
"""Fields in which the platform's collections keep how many elements they have."""


class Holder(NamedTuple):
    """A collection, or an array, and how it is reached."""

    elements: int
    path: str
    """From a static field: "Registry.INSTANCE.sessions"."""
    kind: str

    def __str__(self) -> str:
        kind = shortened(self.kind)
        return one_line(
            f"largest static: {self.path}, {kind} with {self.elements:,} elements", MAX_LINE_CHARS
        )


def largest(dump: BinaryIO, size_bytes: int) -> Holder | None:
    """Return the largest collection that static fields of the application hold; None below 1,000 elements.

    It reads the first `size_bytes` of the dump as often as `MAX_DEPTH`. Raises ValueError for what is no
    dump, OSError.
    """
    classes = hprof.read_classes(dump)
    wanted = {
        target: f"{known.name}.{name}"
        for known in classes.by_id.values()
        if is_own(known.name)
        for name, target in known.statics.items()
        if not name.startswith("<")  # the JVM's own: <resolved_references>
    }
    holders: list[Holder] = []
    for _ in range(MAX_DEPTH):
        looked_for = dict(list(wanted.items())[:MAX_WANTED])
        found = hprof.find(dump, size_bytes, classes, looked_for)
        holders += [holder for number, one in found.items() if (holder := _holder(one, looked_for[number]))]
        wanted = _next(found, looked_for)
    best = max(holders, default=None)
    return best if best is not None and best.elements >= LEAST_ELEMENTS else None


def _holder(found: Found, path: str) -> Holder | None:
    elements = found.length
    if elements is None:
        elements = next((found.numbers[name] for name in _SIZES if name in found.numbers), None)
    return None if elements is None else Holder(elements, path, found.class_name)


def _next(found: dict[int, Found], paths: dict[int, str]) -> dict[int, str]:
    """Return what the objects refer to that are no collections themselves."""
    following: dict[int, str] = {}
    for number, one in found.items():
        if _holder(one, "") is None:
            own = is_own(one.class_name)
            for name, target in one.references.items():
                if target not in paths:
                    following.setdefault(target, f"{paths[number]}.{name}" if own else paths[number])
    return following
