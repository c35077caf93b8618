"""Python stacks for people: which application line how many threads are in, and a dump to read."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PART_CHARS = 120
MAX_LOCAL_CHARS = 300
MAX_TOLD_STACKS = 3
LIBRARY = 2
"""The standard library as a frame's origin."""

_INSTALLED = re.compile(r"/(?:site|dist)-packages/")
_STANDARDLIBRARY = re.compile(r"/lib(?:64)?/python\d(?:\.\d+)?t?/|^<frozen |/zipimport\b")


class Frame(NamedTuple):
    """One call of a stack, safe to print."""

    function: str
    file: str
    line: int
    origin: int
    """0 application, 1 installed package, 2 standard library."""

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


class Thread(NamedTuple):
    """One thread of a dump, its innermost call first."""

    name: str
    os_thread_id: int | None
    active: bool
    holds_gil: bool
    frames: tuple[Frame, ...]
    variables: tuple[tuple[str, ...], ...]
    """By frame, "name = value"; empty unless local variables were asked for."""


def read(dump: Any) -> tuple[Thread, ...]:
    """Read what `py-spy dump --json` prints. Raises KeyError, TypeError or ValueError for anything else."""
    return tuple(
        Thread(
            one_line(thread["thread_name"] or "", MAX_PART_CHARS),
            thread["os_thread_id"],
            bool(thread["active"]),
            bool(thread["owns_gil"]),
            tuple(_frame(frame) for frame in thread["frames"]),
            tuple(_variables(frame) for frame in thread["frames"]),
        )
        for thread in dump
    )


def summarise(threads: Sequence[Thread]) -> tuple[str, ...]:
    """Return the lines on where threads are, e.g. "top stack: remember (handlers.py:88) in 11 of 12 threads".

    A thread counts as being in its innermost application call: what waits below it (locks, selectors,
    drivers) says nothing about whose memory grows.
    """
    places = [(place, thread) for thread in threads if (place := _place(thread.frames)) is not None]
    if not places:
        return ()
    counts = Counter(place for place, _ in places)
    running = {place for place, thread in places if thread.holds_gil or thread.active}
    order = sorted(counts, key=lambda place: (place.origin == LIBRARY, -counts[place], place not in running))
    top, others = order[0], order[1:MAX_TOLD_STACKS]
    of = f"of {len(threads)} thread{'s' if len(threads) != 1 else ''}"
    lines = [f"top stack: {top} in {counts[top]} {of}"]
    lines += [f"also: {place} in {counts[place]}" for place in others if place.origin != LIBRARY]
    told = set(order[:MAX_TOLD_STACKS])
    lines += [f"running: {place}" for place in order if place in running - told][:1]
    return tuple(lines)


def readable(threads: Sequence[Thread]) -> str:
    """Return every thread's calls, innermost first, as a text file for people."""
    return "\n".join(line for thread in threads for line in (*_thread_lines(thread), ""))


def _frame(frame: dict[str, Any]) -> Frame:
    file = str(frame["short_filename"] or frame["filename"])
    return Frame(
        one_line(str(frame["name"]), MAX_PART_CHARS),
        one_line(file, MAX_PART_CHARS),
        int(frame["line"]),
        origin(str(frame["filename"])),
    )


def origin(path: str) -> int:
    """Return where a file belongs: 0 application, 1 installed package, 2 standard library."""
    if _INSTALLED.search(path):
        return 1
    return LIBRARY if _STANDARDLIBRARY.search(path) else 0


def _variables(frame: dict[str, Any]) -> tuple[str, ...]:
    found = frame["locals"] or ()
    return tuple(one_line(f"{local['name']} = {local['repr']}", MAX_LOCAL_CHARS) for local in found)


def _place(frames: tuple[Frame, ...]) -> Frame | None:
    """Return the innermost call of the application, else of a package, else of the standard library."""
    return min(frames, key=lambda frame: frame.origin, default=None)


def _thread_lines(thread: Thread) -> list[str]:
    marks = ("running" if thread.active else "waiting") + (", holds the GIL" if thread.holds_gil else "")
    lines = [f'thread {thread.os_thread_id} "{thread.name}" ({marks})']
    for frame, variables in zip(thread.frames, thread.variables, strict=True):
        lines.append(f"    {frame}")
        lines += [f"        {variable}" for variable in variables]
    return lines
