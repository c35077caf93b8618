"""Open descriptors by class and by what they point to: files, sockets by state and peer, pipes, timers."""

from __future__ import annotations

import os
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from agent.evidence.kernel import sockets
from agent.evidence.kernel.counts import LEAST_GROWTH, by_family, grown, whole_numbers
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.evidence.kernel.procfs import HeldProcess

MAX_ENTRIES = 100_000
"""Descriptors looked at; the kernel's default limit is 1,048,576."""
MAX_TARGETS = 10_000
"""Different targets counted; the rest is counted as one."""
TOP_TARGETS = 40
MAX_TARGET_CHARS = 200
MAX_TOLD_CHARS = 60
MANY = 200
"""So many descriptors are told also where nothing is known to have grown."""
SOCKET = "socket"
_INODE = slice(len("socket:["), -1)


def read_fds(held: HeldProcess) -> dict[str, Any]:
    """Return its descriptors: how many are open, by class, and by class what most of them point to.

    Raises OSError.
    """
    classes: Counter[str] = Counter()
    targets: dict[str, Counter[str]] = {}
    inodes: Counter[str] = Counter()
    for target in _links(held):
        kind = fd_class(target)
        classes[kind] += 1
        if kind == SOCKET:
            inodes[target[_INODE]] += 1
        elif target.startswith("/"):
            _add(targets.setdefault(kind, Counter()), target)
    for inode, what in sockets.describe(held, frozenset(inodes)).items():
        targets.setdefault(SOCKET, Counter())[what] += inodes[inode]
    return {
        "open": classes.total(),
        "classes": dict(classes.most_common()),
        "targets": {kind: _top(by_family(found)) for kind, found in targets.items()},
        "folders": {kind: _top(_by_folder(found)) for kind, found in targets.items() if kind != SOCKET},
    }


def fd_class(target: str) -> str:
    """Return what kind of thing a link of /proc/PID/fd points to.

    >>> fd_class("socket:[4711]"), fd_class("anon_inode:[eventpoll]"), fd_class("/memfd:x (deleted)")
    ('socket', 'anon_inode:[eventpoll]', 'memfd')
    """
    if target.startswith("anon_inode:"):
        return one_line(target, MAX_NAME_CHARS)
    if target.startswith("/memfd:"):
        return "memfd"
    if target.startswith("/dev/") and not target.startswith("/dev/shm/"):  # noqa: S108 - a name that is compared
        return "device"
    if target.startswith("/"):
        return "deleted file" if target.endswith(" (deleted)") else "file"
    return one_line(target.partition(":")[0], MAX_NAME_CHARS)


def growth(before: Mapping[str, Any], after: Mapping[str, Any], age_s: float) -> str:
    """Return the line on the class that grew most, by what it points to; "" where none did.

    E.g. "descriptors: +1,204 socket (CLOSE_WAIT to 10.0.0.7:5432) in 12m".
    """
    more = grown(whole_numbers(before["classes"]), after["classes"])
    if not more or more[0][1] < LEAST_GROWTH:
        return ""
    kind, count = more[0]
    told = _named(_more(before, after, "targets", kind), _more(before, after, "folders", kind), count)
    others = ", ".join(f"+{number:,} {name}" for name, number in more[1:3] if number >= LEAST_GROWTH)
    line = f"descriptors: +{count:,} {_short(kind)}{told} in {format_duration(age_s)}"
    return f"{line}; {others}" if others else line


def most(fds: Mapping[str, Any]) -> str:
    """Return the line on the largest class where there are very many; "" where not."""
    if fds["open"] < MANY:
        return ""
    kind = max(fds["classes"], key=lambda name: fds["classes"][name])
    count = fds["classes"][kind]
    told = _named(_more({}, fds, "targets", kind), _more({}, fds, "folders", kind), count)
    return f"descriptors: {count:,} {_short(kind)}{told} of {fds['open']:,}"


def _more(before: Mapping[str, Any], after: Mapping[str, Any], by: str, kind: str) -> list[tuple[str, int]]:
    return grown(whole_numbers(before.get(by, {}).get(kind)), after[by].get(kind, {}))


def _named(targets: list[tuple[str, int]], folders: list[tuple[str, int]], of: int) -> str:
    """Return in brackets what most of them point to, or where they lie; "" where nothing stands out."""
    for start, found in (("", targets), ("in ", folders)):
        for name, count in found[:1]:
            if 2 * count >= of:
                return f" ({start}{one_line(name, MAX_TOLD_CHARS)})"
    return ""


def _short(kind: str) -> str:
    """Return a class as people call it.

    >>> _short("anon_inode:[eventfd]")
    'eventfd'
    """
    return kind.removeprefix("anon_inode:").strip("[]")


def _add(targets: Counter[str], target: str) -> None:
    name = one_line(target, MAX_TARGET_CHARS)
    targets[name if name in targets or len(targets) < MAX_TARGETS else "(more)"] += 1


def _by_folder(targets: Mapping[str, int]) -> dict[str, int]:
    folders: Counter[str] = Counter()
    for name, count in targets.items():
        folders[name.rpartition("/")[0] or "/"] += count
    return dict(folders)


def _top(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: -one[1])[:TOP_TARGETS])


def _links(held: HeldProcess) -> Iterator[str]:
    with held.folder("fd") as folder, os.scandir(folder) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            try:
                yield os.readlink(entry.name, dir_fd=folder)
            except FileNotFoundError:
                continue  # closed between the listing and now
