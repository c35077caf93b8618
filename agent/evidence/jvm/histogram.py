"""The class histogram: read, compared with an earlier one, and told by the class that holds the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.text import lines_of, one_line
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_CLASSES = 100_000
"""Read of an answer at most; large applications load some 50,000 classes."""
MAX_CLASS_CHARS = 200
MAX_LINE_CHARS = 140
"""Of the gist."""
MAX_TOLD_CHARS = 60
"""Of a class in a line of the gist; its end says most."""
LEAST_INSTANCES = 20
"""A growth by fewer objects is not told as one of objects."""
LEAST_BYTES = 16_384
LEAST_TOP_BYTES = 500_000
"""Of a class that is told only because nothing has grown more."""
SAME_SHARE = 0.1
"""Classes whose counts grow alike within this belong together: an entry, its key and its value."""
LEAST_KEPT_SHARE = 0.05
"""A map of lists has fewer entries than the lists have elements."""
MAX_COMPANIONS = 2
MAX_OWN_TOLD = 2

PLACES = {
    "java.lang.ThreadLocal$ThreadLocalMap$Entry": "ThreadLocals",
    "java.nio.DirectByteBuffer": "direct buffers, outside the heap",
    "java.lang.Thread": "threads",
    "java.lang.ref.Finalizer": "the finalizer's queue",
    "java.util.WeakHashMap$Entry": "a WeakHashMap",
    "java.util.concurrent.ConcurrentHashMap$Node": "a ConcurrentHashMap",
    "java.util.LinkedHashMap$Entry": "a LinkedHashMap",
    "java.util.TreeMap$Entry": "a TreeMap",
    "java.util.HashMap$Node": "a HashMap or HashSet",
    "java.util.LinkedList$Node": "a LinkedList",
    "java.util.concurrent.LinkedBlockingQueue$Node": "a LinkedBlockingQueue",
    "java.util.concurrent.ConcurrentLinkedQueue$Node": "a ConcurrentLinkedQueue",
    "java.util.concurrent.ScheduledThreadPoolExecutor$ScheduledFutureTask": "a scheduler's queue",
}
"""What an object of the class says about where others are kept; the most telling first."""

_ROW = re.compile(r"\s*\d+:\s+(\d{1,18})\s+(\d{1,18})\s+(\S.*?)(?:\s+\([^()]*\))?\s*")
_ADDRESS = re.compile(r"[/+](?:0x)?[0-9a-f]{6,16}(?=;?$)")
_PLATFORM_PREFIXES = ("java.", "javax.", "jdk.", "sun.", "com.sun.")
_PRIMITIVES = {
    "B": "byte", "C": "char", "D": "double", "F": "float",
    "I": "int", "J": "long", "S": "short", "Z": "boolean",
}  # fmt: skip
_GARBAGE = "jdk.internal.vm.FillerElement[]"
"""Not objects: G1 fills what it has freed with it (JDK 19 and later)."""


class Count(NamedTuple):
    """Objects of one class."""

    instances: int
    bytes: int


class Change(NamedTuple):
    """What one class has grown by."""

    name: str
    instances: int
    bytes: int

    def __str__(self) -> str:
        return f"{shortened(self.name)} {self.instances:+,} ({_signed(self.bytes)})"


def parse(text: str) -> dict[str, Count]:
    """Read what GC.class_histogram prints, JDK 8 and later, by readable class names.

    Classes of one name out of several loaders are added up. Raises ValueError where there is no row.
    """
    found: dict[str, Count] = {}
    for line in lines_of(text):
        row = _ROW.fullmatch(line)
        if row is None:
            continue
        name = readable(row[3])
        earlier = found.get(name, Count(0, 0))
        found[name] = Count(earlier.instances + int(row[1]), earlier.bytes + int(row[2]))
        if len(found) >= MAX_CLASSES:
            break
    found.pop(_GARBAGE, None)
    if not found:
        raise ValueError("the JVM answered without a histogram")
    return found


def readable(name: str) -> str:
    """Return a class as people write it.

    Hidden classes, lambdas above all, lose their address.

    >>> readable("[[Ljava.lang.String;"), readable("[B"), readable("Handler$$Lambda$18/0x00007f169c000a08")
    ('java.lang.String[][]', 'byte[]', 'Handler$$Lambda$18')
    """
    element = _ADDRESS.sub("", name.lstrip("["))
    dimensions = len(name) - len(name.lstrip("["))
    if dimensions:
        whole = element.startswith("L") and element.endswith(";")
        element = element[1:-1] if whole else _PRIMITIVES.get(element, element)
    return one_line(element, MAX_CLASS_CHARS) + "[]" * dimensions


def is_own(name: str) -> bool:
    """Whether a class is the application's or a library's, not the platform's."""
    element = name.rstrip("[]")
    return element not in _PRIMITIVES.values() and not element.startswith(_PLATFORM_PREFIXES)


def changes(before: Mapping[str, Count], now: Mapping[str, Count]) -> list[Change]:
    """Return the classes whose objects take more than before, the largest growth first."""
    zero = Count(0, 0)
    found = [
        Change(name, count.instances - earlier.instances, count.bytes - earlier.bytes)
        for name, count in now.items()
        if (earlier := before.get(name, zero)).bytes < count.bytes
    ]
    return sorted(found, key=lambda change: -change.bytes)


def tell_growth(grown: Sequence[Change], span: str) -> tuple[str, ...]:
    """Return the lines on what has grown in a span of time ("12m"): own classes, where kept, the largest."""
    telling = [change for change in grown if change.instances >= LEAST_INSTANCES]
    own = _own_first(telling)
    lines = [_with(f"grew: {change} in {span}", companions(change, telling)) for change in own]
    lines += _kept_in(telling, own)
    top = next((change for change in grown if change.bytes >= LEAST_TOP_BYTES), None)
    if top is not None and top not in own:
        lines.append(f"grew most: {top} in {span}")
    return tuple(lines)


def tell_top(counts: Mapping[str, Count]) -> tuple[str, ...]:
    """Return the line on what takes most: a class of the application, and the largest of all."""
    order = sorted(counts, key=lambda name: -counts[name].bytes)
    own = next((name for name in order if is_own(name)), None)
    told = dict.fromkeys(name for name in (own, *order[:2]) if name is not None)
    return ("top: " + ", ".join(_standing(name, counts[name]) for name in list(told)[:2]),)


def table(grown: Iterable[Change], span: str) -> str:
    """Return every growth as a text file for people."""
    rows = (f"{_signed(change.bytes):>10} {change.instances:>+14,}  {change.name}" for change in grown)
    return "\n".join([f"growth in {span}", f"{'bytes':>10} {'objects':>14}  class", *rows, ""])


def companions(change: Change, grown: Iterable[Change]) -> list[Change]:
    """Return the platform's classes that grew by as many objects, the largest first."""
    return [
        other
        for other in grown
        if not is_own(other.name) and abs(other.instances - change.instances) <= SAME_SHARE * change.instances
    ]


def shortened(name: str, limit_chars: int = MAX_TOLD_CHARS) -> str:
    """Return a class name that fits, cut at its beginning: the packages.

    >>> shortened("java.util.concurrent.ConcurrentHashMap$Node", 30)
    'j.u.c.ConcurrentHashMap$Node'
    """
    if len(name) <= limit_chars:
        return name
    *packages, last = name.split(".")
    short = ".".join([*(package[:1] for package in packages), last])
    return short if len(short) <= limit_chars else "..." + short[-(limit_chars - 3) :]


def _own_first(telling: Sequence[Change]) -> list[Change]:
    """Return the own classes that stand for most bytes, counted with those of the classes that go along."""

    def weight(change: Change) -> int:
        return change.bytes + sum(other.bytes for other in companions(change, telling))

    own = [change for change in telling if is_own(change.name)]
    heavy = sorted(own, key=lambda change: -weight(change))
    least = weight(heavy[0]) / 4 if heavy else 0
    return [change for change in heavy[:MAX_OWN_TOLD] if weight(change) >= max(least, LEAST_BYTES)]


def _with(line: str, others: Sequence[Change]) -> str:
    """Return a line with what goes along, as far as that fits."""
    if not others:
        return line
    names = ", ".join(shortened(other.name.rpartition(".")[2], 30) for other in others[:MAX_COMPANIONS])
    longer = f"{line}, as many {names} ({_signed(sum(other.bytes for other in others))})"
    return longer if len(longer) <= MAX_LINE_CHARS else line


def _kept_in(telling: Sequence[Change], own: Sequence[Change]) -> list[str]:
    """Return what the application's objects are kept in; a few of a container's own are none of them."""
    least = LEAST_KEPT_SHARE * max((change.instances for change in own or telling), default=0)
    grown = {change.name: change for change in telling if change.instances >= least}
    place = next((name for name in PLACES if name in grown), None)
    return [] if place is None else [f"kept in: {PLACES[place]} ({grown[place]})"]


def _standing(name: str, count: Count) -> str:
    return f"{shortened(name)} {count.instances:,} ({format_bytes(count.bytes)})"


def _signed(size_bytes: int) -> str:
    return ("+" if size_bytes >= 0 else "") + format_bytes(size_bytes)
