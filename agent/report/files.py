"""What the files of a capture hold, and how two of the same name are compared: one entry a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from agent.report import readings
from agent.report.readings import Measured

Reader = Callable[[bytes], tuple[Measured, ...]]
"""Reads a file's content; raises KeyError, TypeError, ValueError or AttributeError for anything else."""
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
    "smaps.json": Known("memory by kind of mapping, and the largest files", readings.smaps),
    "status.json": Known("status, limits, threads by name, the cgroup's memory", readings.status),
    "fds.json": Known("descriptors by class and by target", readings.descriptors),
    "pyspy.txt": Known("Python stacks, innermost call first"),
    "pyspy.json": Known("Python stacks for machines", readings.python_stacks),
    "collection.json": Known("what a full collection took back", readings.collection),
}
"""By name, without the ending of a packed file."""


def holds(name: str) -> str:
    """Return what a file holds, for people; empty where that is not known."""
    known = FILES.get(name.removesuffix(PACKED))
    return known.holds if known else ""


def reader(name: str) -> Reader | None:
    """Return how a file is read for a comparison; JSON that is not known by its numbers."""
    plain = name.removesuffix(PACKED)
    if plain in FILES:
        return FILES[plain].read
    return readings.any_figures(plain) if plain.endswith(".json") else None
