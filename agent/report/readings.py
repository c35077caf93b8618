"""What the files of a capture measure, as named values that two captures are compared by: of any process."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.evidence.kernel.counts import family
from agent.evidence.kernel.smaps import Smaps
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

BYTES = "bytes"
MAX_NAME_CHARS = 160
MAX_VALUES = 20_000
"""Of one table; a heap of a million classes is no table for people."""
MAX_DEPTH = 12

_PEAKS = ("VmPeak_bytes", "VmHWM_bytes")
"""What they tell is in the figures that they are the peaks of."""
_COUNTS = re.compile(r"(?:total_)?(?:pg|workingset_|thp_|zswp|swpin|swpout)|hierarchical_")


class Measured(NamedTuple):
    """One table of a file."""

    title: str
    unit: str
    """ "bytes", or what is counted."""
    values: dict[str, float]


Reader = Callable[[bytes], tuple[Measured, ...]]
"""Reads a file's content; raises KeyError, TypeError, ValueError or AttributeError for anything else."""


def smaps(content: bytes) -> tuple[Measured, ...]:
    """Read memory by kind of mapping, and what was written to of mapped files."""
    found = Smaps.from_json(json.loads(content))
    files = {path: totals.private_dirty_bytes + totals.swap_bytes for path, totals in found.files.items()}
    return (
        Measured("memory by kind of mapping", BYTES, {kind: found.held_bytes(kind) for kind in found.kinds}),
        Measured("mapped files, own pages", BYTES, floats(files)),
    )


def status(content: bytes) -> tuple[Measured, ...]:
    """Read threads by name, and the figures of the process and of its cgroup."""
    found = json.loads(content)
    sizes = {name: size for name, size in found["status"].items() if name.endswith("_bytes")}
    memory = {name.removesuffix("_bytes"): size for name, size in sizes.items() if name not in _PEAKS}
    cgroup = found["cgroup"].get("memory_stat", {})
    return (
        Measured("threads by name", "threads", floats(families(found["threads"]))),
        Measured("child processes by name", "children", floats(families(found.get("children", {})))),
        Measured("memory of the process", BYTES, floats(memory)),
        Measured("memory of its cgroup", BYTES, floats(_sizes_of_cgroup(cgroup))),
    )


def descriptors(content: bytes) -> tuple[Measured, ...]:
    """Read descriptors by class, and by what they point to."""
    found = json.loads(content)
    targets = {
        f"{kind} {target}": count
        for kind, counted in found["targets"].items()
        for target, count in counted.items()
    }
    return (
        Measured("descriptors by class", "descriptors", floats(found["classes"])),
        Measured("descriptors by target", "descriptors", floats(targets)),
    )


def sizes(title: str) -> Reader:
    """Return a reader of bytes by name."""
    return lambda content: (Measured(title, BYTES, floats(json.loads(content))),)


def counts(title: str) -> Reader:
    """Return a reader of counts by name; the title's first word is what is counted."""
    return lambda content: (Measured(title, title.partition(" ")[0], floats(json.loads(content))),)


def any_figures(name: str) -> Reader:
    """Return a reader of JSON that is not known: every number in it by its path."""

    def read(content: bytes) -> tuple[Measured, ...]:
        numbers = dict(_numbers(json.loads(content), (), MAX_DEPTH))
        in_bytes = {path: value for path, value in numbers.items() if "bytes" in path}
        others = {path: value for path, value in numbers.items() if path not in in_bytes}
        return Measured(name, BYTES, in_bytes), Measured(name, "", others)

    return read


def families(counts_by_name: dict[str, Any]) -> dict[str, int]:
    """Return counts of names that differ in numbers only together, whether one of them or many."""
    sums: Counter[str] = Counter()
    for name, count in counts_by_name.items():
        sums[family(name)] += count
    return dict(sums)


def _sizes_of_cgroup(counters: dict[str, Any]) -> dict[str, Any]:
    """Return the lines of memory.stat that are sizes, of the whole subtree where there are both.

    Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
    """
    sizes = {name: value for name, value in counters.items() if not _COUNTS.match(name)}
    return {name: value for name, value in sizes.items() if f"total_{name}" not in sizes}


def floats(values: dict[str, Any]) -> dict[str, float]:
    """Return numbers under printable names. Raises TypeError or ValueError for what is no number."""
    listed = list(values.items())[:MAX_VALUES]
    return {one_line(name, MAX_NAME_CHARS): float(value) for name, value in listed}


def _numbers(data: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, float]]:
    if isinstance(data, bool) or depth == 0:
        return
    if isinstance(data, int | float):
        yield one_line(" ".join(path), MAX_NAME_CHARS), float(data)
    elif isinstance(data, dict):
        for key, value in list(data.items())[:MAX_VALUES]:
            yield from _numbers(value, (*path, str(key)), depth - 1)
