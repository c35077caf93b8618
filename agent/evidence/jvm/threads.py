"""A JVM's threads: grouped by what they do, and the application's line that most of them are in."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.jvm.histogram import MAX_LINE_CHARS, is_own
from agent.text import MAX_NAME_CHARS, lines_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_THREADS = 20_000
MAX_FRAMES = 100
MAX_FRAME_CHARS = 200
MAX_CALLS = 50_000
"""Different ones; a large application has some thousand."""
MANY = 100
"""So many threads at one line are told, whether they have become more or not."""
LEAST_GROWTH = 20

_HEADER = re.compile(r'"(.*)" (?:#|daemon|prio|os_prio)')
_FRAME = re.compile(r"\tat (?:[^/()]*/)*([^/()]+)\((?:[^/()]*/)?([^()]*)\)")
_DIGITS = re.compile(r"\d+")
_MORE = "(more)"


class Thread(NamedTuple):
    """One thread, safe to print, its innermost call first."""

    name: str
    """With "*" in the place of its number."""
    frames: tuple[str, ...]

    @property
    def place(self) -> str:
        """The innermost call of the application; empty where there is none."""
        return next((frame for frame in self.frames if is_own(frame)), "")


def parse(text: str) -> list[Thread]:
    """Read what Thread.print prints. Raises ValueError where there is no thread."""
    found: list[Thread] = []
    frames: list[str] = []
    known: dict[str, str] = {}
    name = None
    for line in chain(lines_of(text), ['"" #']):
        if header := _HEADER.match(line):
            found += [] if name is None else [Thread(name, tuple(frames))]
            name, frames = _DIGITS.sub("*", one_line(header[1], MAX_NAME_CHARS)), []
            if len(found) >= MAX_THREADS:
                break
        elif len(frames) < MAX_FRAMES and (frame := _FRAME.match(line)):
            call = one_line(f"{frame[1]} ({frame[2]})", MAX_FRAME_CHARS)
            frames.append(known.setdefault(call, call) if len(known) < MAX_CALLS else _MORE)
    if not found:
        raise ValueError("the JVM answered without a thread")
    return found


def places(threads: Iterable[Thread]) -> dict[str, int]:
    """Return how many threads are in each line of the application, the most first."""
    return dict(Counter(thread.place for thread in threads if thread.place).most_common())


def tell(threads: Sequence[Thread], before: Mapping[str, int] | None, span: str) -> str:
    """Return the line on threads that have become more since, or are very many; empty where neither."""
    now = places(threads)
    grown = {place: count - (before or {}).get(place, 0) for place, count in now.items()} if before else {}
    top = max(grown or now, key=lambda place: (grown or now)[place], default="")
    if not top or (grown.get(top, 0) < LEAST_GROWTH and now[top] < MANY):
        return ""
    names = Counter(thread.name for thread in threads if thread.place == top)
    more = f"+{grown[top]} in {span}, " if grown.get(top, 0) > 0 else ""
    line = f"threads: {more}{now[top]} of {len(threads)} in {top}, named {names.most_common(1)[0][0]}"
    return one_line(line, MAX_LINE_CHARS)


def readable(threads: Iterable[Thread]) -> str:
    """Return the stacks as a text file for people, equal ones together."""
    groups: dict[tuple[str, ...], Counter[str]] = {}
    for thread in threads:
        groups.setdefault(thread.frames, Counter())[thread.name] += 1
    order = sorted(groups.items(), key=lambda group: -group[1].total())
    return "\n".join(line for frames, names in order for line in _group_lines(frames, names))


def _group_lines(frames: tuple[str, ...], names: Counter[str]) -> list[str]:
    named = ", ".join(f'{count} "{name}"' for name, count in names.most_common(5))
    return [f"{names.total()} threads: {named}", *(f"    {frame}" for frame in frames), ""]
