"""Which code's threads became more: threads grouped by the function that each of them was started with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.python import stacks
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.evidence.python.stacks import Frame, Thread

LEAST_MORE = 3
"""Pools breathe by one or two threads."""
MANY = 20
"""So many threads of one function are told on a first look, too."""
MAX_TOLD = 2


class Root(NamedTuple):
    """The outermost call of a thread that is no part of the standard library."""

    function: str
    file: str


def grown(before: Sequence[Thread], now: Sequence[Thread], age_s: float) -> tuple[str, ...]:
    """Return lines such as "grew: +60 threads started with poll (app.py:10) in 12m, 61 of 64 now"."""
    had, have = _by_root(before), _by_root(now)
    more = sorted(((len(have[root]) - len(had.get(root, ())), root) for root in have), reverse=True)
    return tuple(
        f"grew: +{count} threads started with {have[root][0]} in {format_duration(age_s)}, "
        f"{len(have[root])} of {len(now)} now"
        for count, root in more[:MAX_TOLD]
        if count >= LEAST_MORE
    )


def many(now: Sequence[Thread]) -> tuple[str, ...]:
    """Return a line such as "threads: 61 of 64 were started with poll (app.py:10)"."""
    most = max(_by_root(now).values(), key=len, default=[])
    return (f"threads: {len(most)} of {len(now)} were started with {most[0]}",) if len(most) >= MANY else ()


def read(content: bytes) -> tuple[Thread, ...]:
    """Read an earlier dump; nothing where it was cut off, or is of another version."""
    try:
        return stacks.read(json.loads(content))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def _by_root(threads: Iterable[Thread]) -> dict[Root, list[Frame]]:
    """Return the outermost calls by what they are of: where a thread stands in its function differs."""
    found: dict[Root, list[Frame]] = {}
    for thread in threads:
        frame = next((one for one in reversed(thread.frames) if one.origin < stacks.LIBRARY), None)
        if frame is not None:
            found.setdefault(Root(frame.function, frame.file), []).append(frame)
    return found
