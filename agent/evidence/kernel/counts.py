"""Counts by name, and which of them grew between two looks."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEAST_GROWTH = 5
"""A few more or less are the life of a program."""
_NUMBER = re.compile(r"\d+")


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return by how much each name grew, the most first; what did not grow is left out.

    >>> grown({"a": 1, "b": 2}, {"a": 4, "b": 2, "c": 9})
    [('c', 9), ('a', 3)]
    """
    more = [(name, count - before.get(name, 0)) for name, count in after.items()]
    return sorted((one for one in more if one[1] > 0), key=lambda one: (-one[1], one[0]))


def family(name: str) -> str:
    """Return a name without its numbers: a pool names its members by them.

    >>> family("pool-1-thread-37"), family("worker"), family("12")
    ('pool-*-thread-*', 'worker', '*')
    """
    return _NUMBER.sub("*", name)


def by_family(names: Mapping[str, int], seen_before: Iterable[str] = ()) -> dict[str, int]:
    """Return the counts of names that differ in their numbers only, together.

    A name that is alone in its family, those seen before included, stays as it is.
    """
    members: dict[str, set[str]] = {}
    for name in (*names, *seen_before):
        members.setdefault(family(name), set()).add(name)
    counts: Counter[str] = Counter()
    for name, count in names.items():
        counts[name if len(members[family(name)]) == 1 else family(name)] += count
    return dict(counts)


def whole_numbers(values: Any) -> dict[str, int]:
    """Return the numbers of what an earlier look has kept; empty for anything else."""
    if not isinstance(values, dict):
        return {}
    return {name: count for name, count in values.items() if isinstance(count, int)}
