"""Reads a sampling heap profile: which function of the application holds how many live bytes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from agent.evidence.node.answers import number
from agent.text import one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_NODES = 200_000
MAX_SITES = 1000
"""Kept of a profile, the largest."""
TOLD = 3
LEAST_BYTES = 1_000_000
"""Two samples of V8's interval: less is chance."""
LEAST_RECENT_BYTES = 100_000
MAX_FUNCTION_CHARS = 40
MAX_FILE_NAME_CHARS = 40
MAX_FILE_CHARS = 200
MAX_URL_CHARS = 4096
"""Percent signs are resolved before it is cut to what is told."""
_LIBRARY = "/node_modules/"
_RUNTIME = ("node:", "internal/")


class Site(NamedTuple):
    """Where memory was allocated: a function, by the line on which it begins."""

    function: str
    file: str
    line: int

    @property
    def of_runtime(self) -> bool:
        """Whether it is Node's own code."""
        return not self.file or self.file.startswith(_RUNTIME)

    def __str__(self) -> str:
        file = self.file if self.of_runtime else self.file.rpartition("/")[2]
        name = one_line(file, MAX_FILE_NAME_CHARS)
        where = f"{name}:{self.line}" if self.file else "V8"
        return f"{self.function} ({where})"


class Growth(NamedTuple):
    """What the objects of a site hold that are still alive, and by how much that has grown."""

    site: Site
    live_bytes: int
    grown_bytes: int


def read(head: Any) -> dict[Site, int]:
    """Return live bytes by the application's innermost function; else the library's, else the runtime's.

    `head` is that of HeapProfiler.SamplingHeapProfile. Raises ValueError, KeyError, TypeError for others.
    """
    found: Counter[Site] = Counter()
    waiting: list[tuple[Any, Site | None, int]] = [(head, None, -1)]
    for _ in range(MAX_NODES):
        if not waiting:
            break
        node, above, rank_above = waiting.pop()
        site, rank = _named(node["callFrame"])
        if rank < rank_above and above is not None:
            site, rank = above, rank_above
        size = number(node["selfSize"])
        if size > 0:
            found[site] += size
        waiting += [(child, site, rank) for child in node["children"]]
    return dict(found.most_common(MAX_SITES))


def compare(now: Mapping[Site, int], before: Mapping[Site, int]) -> list[Growth]:
    """Return every site with what it has grown by, the one that has grown most first."""
    grown = [Growth(site, live, live - before.get(site, 0)) for site, live in now.items()]
    return sorted(grown, key=lambda growth: -growth.grown_bytes)


def lines(growths: Iterable[Growth], age_s: float) -> list[str]:
    """Return the gist: the few sites that have grown most, if it is more than chance."""
    return _ranked(
        f"{growth.site} holds {format_bytes(growth.live_bytes)}, +{format_bytes(growth.grown_bytes)} "
        f"in {format_duration(age_s)}"
        for growth in _telling(growths)
        if growth.grown_bytes >= LEAST_BYTES
    )


def recent_lines(growths: Iterable[Growth], window_s: float) -> list[str]:
    """Return the gist of a window: a hint only, as most of what is young is no leak."""
    return _ranked(
        f"{growth.site} has {format_bytes(growth.live_bytes)} left of what it allocated "
        f"in {format_duration(window_s)} (a hint)"
        for growth in _telling(growths)
        if growth.live_bytes >= LEAST_RECENT_BYTES
    )


def _telling(growths: Iterable[Growth]) -> Iterator[Growth]:
    """Leave out what Node's own code holds beside a site of the application that holds more."""
    named = False
    for growth in growths:
        if not (named and growth.site.of_runtime):
            yield growth
        named = named or not growth.site.of_runtime


def _ranked(words: Iterable[str]) -> list[str]:
    return [f"{'also' if place else 'top'}: {word}" for place, word in zip(range(TOLD), words, strict=False)]


def readable(growths: Iterable[Growth]) -> str:
    """Return the table for people."""
    rows = [f"{'live':>10}  {'grown':>10}  allocated in"]
    for site, live, grown in growths:
        place = f"{site.file}:{site.line}" if site.file else "V8"
        rows.append(f"{format_bytes(live):>10}  {format_bytes(grown):>10}  {site.function} {place}")
    return "\n".join(rows) + "\n"


def stored(sites: Mapping[Site, int]) -> list[list[Any]]:
    """Return what `restored` takes."""
    return [[*site, size] for site, size in sites.items()]


def restored(values: Any) -> dict[Site, int]:
    """Return what `stored` gave. Raises ValueError, TypeError for anything else."""
    return {Site(str(name), str(file), number(line)): number(size) for name, file, line, size in values}


def _named(frame: Mapping[str, Any]) -> tuple[Site, int]:
    """Return the site of a frame, and how telling it is: 2 the application's, 1 a library's, 0 no file."""
    url = unquote(str(frame["url"])[:MAX_URL_CHARS]).removeprefix("file://")
    file = one_line(url[-MAX_FILE_CHARS:], MAX_FILE_CHARS)
    name = one_line(str(frame["functionName"]) or "anonymous function", MAX_FUNCTION_CHARS)
    site = Site(name, file, number(frame["lineNumber"]) + 1)
    if not url or url.startswith(_RUNTIME):
        return site, 0
    return site, 1 if _LIBRARY in url else 2
