"""Objects by class, and the largest containers by name: as a process has answered, and what grew since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.evidence.python.stacks import origin
from agent.text import one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_NAME_CHARS = 70
MAX_COUNT = 1 << 48
LEAST_GROWTH = 100
"""Fewer objects or entries more are nothing to tell."""
SHARE_OF_MOST = 0.2
"""A class that grew by this share of what grew most belongs to the same leak."""
MAX_TOLD = 2
READABLE_ROWS = 60
_BUILT_IN = 2


class Class(NamedTuple):
    """How many objects of a class there are."""

    number: int
    size_bytes: int
    """With the texts and bytes they refer to; estimated from a sample."""
    origin: int
    """0 application, 1 installed package, 2 standard library."""


class Holder(NamedTuple):
    """A container with very many entries."""

    name: str
    """Where it is kept, e.g. "shop.Cart.kept"; empty where that is unknown."""
    kind: str
    entries: int


class Counted(NamedTuple):
    """One count."""

    total: int
    classes: dict[str, Class]
    holders: tuple[Holder, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return {
            "total": self.total,
            "classes": {name: one._asdict() for name, one in self.classes.items()},
            "holders": [one._asdict() for one in self.holders],
        }

    @classmethod
    def from_json(cls, data: Any) -> Counted:
        """Read what `to_json` wrote. Raises KeyError, TypeError, ValueError or AttributeError."""
        return cls(
            int(data["total"]),
            {name: Class(**one) for name, one in data["classes"].items()},
            tuple(Holder(**one) for one in data["holders"]),
        )


def parse(lines: Sequence[Sequence[str]]) -> Counted:
    """Read what the process has answered, which may be anything. Raises ValueError."""
    total, classes, holders = 0, dict[str, Class](), list[Holder]()
    for word, *words in lines:
        if word == "total":
            total = _number("".join(words[:1]))
        elif word == "class":
            name, file, count, size = words
            earlier = classes.get(_name(name), Class(0, 0, _BUILT_IN))
            where = 0 if name.startswith("__main__.") else origin(file) if file else _BUILT_IN
            classes[_name(name)] = Class(
                earlier.number + _number(count),
                earlier.size_bytes + _number(size),
                min(earlier.origin, where),
            )
        elif word == "holder":
            name, kind, entries = words
            holders.append(Holder(_name(name), one_line(kind, 40), _number(entries)))
    return Counted(total, classes, tuple(holders))


def largest(now: Counted) -> tuple[str, ...]:
    """Return the lines on a first look: "most: shop.Request 12,000 (38MB)"."""
    own = [name for name, one in now.classes.items() if one.origin < _BUILT_IN]
    own.sort(key=lambda name: -now.classes[name].size_bytes)
    first = [(name, now.classes[name]) for name in own[:1] if now.classes[name].number >= LEAST_GROWTH]
    lines = [
        f"most objects: {name} {one.number:,} (about {format_bytes(one.size_bytes)})" for name, one in first
    ]
    named = [one for one in now.holders if one.name][:1]
    return (*lines, *(f"largest: {one.name} ({one.kind}) {one.entries:,} entries" for one in named))


def growth(before: Counted, now: Counted, age_s: float) -> tuple[str, ...]:
    """Return the lines on what grew: "grew: shop.Request +12,000 (+38MB) in 12m", and where it is kept."""
    grown = {name: _more(name, before, now) for name in now.classes}
    age = format_duration(age_s)
    lines = [
        f"grew: {name} +{more.number:,} ({_signed(more.size_bytes)}) in {age}"
        for name, more in _guilty(grown)
    ]
    lines += [line for _, line in sorted(_kept(before, now), key=lambda pair: -pair[0])[:MAX_TOLD]]
    return tuple(lines) or (f"objects: no class grew by more than {LEAST_GROWTH} in {age}",)


def readable(now: Counted, before: Counted | None) -> str:
    """Return both as a text file for people, what grew most first."""
    earlier = Counted(0, {}, ()) if before is None else before
    grown = {name: _more(name, earlier, now) for name in now.classes}
    rows = sorted(grown, key=lambda name: -grown[name].size_bytes)[:READABLE_ROWS]
    head = f"{now.total:,} objects" + ("" if before is None else f", {now.total - before.total:+,} since")
    columns = f"{'count':>12} {'since':>12} {'bytes':>9} {'since':>9}  class"
    lines = [
        f"{now.classes[name].number:>12,} {grown[name].number:>+12,} "
        f"{format_bytes(now.classes[name].size_bytes):>9} {_signed(grown[name].size_bytes):>9}  {name}"
        for name in rows
    ]
    kept = [f"{one.entries:>12,} entries  {one.kind} {one.name or '(nobody found)'}" for one in now.holders]
    return "\n".join([head, "", columns, *lines, "", "containers with most entries", *kept, ""])


def _kept(before: Counted, now: Counted) -> Iterator[tuple[int, str]]:
    """Yield by how much containers have grown, and their lines; one that is new was small before."""
    earlier = {one.name: one.entries for one in before.holders}
    for one in now.holders:
        more = one.entries - earlier.get(one.name, 0)
        if one.name and more >= LEAST_GROWTH:
            new = "" if one.name not in earlier else f", +{more:,}"
            yield more, f"kept in: {one.name} ({one.kind}) {one.entries:,} entries{new}"


def _guilty(grown: dict[str, Class]) -> list[tuple[str, Class]]:
    """Return the classes that carry the growth, those of the application first: the others hang on them."""
    most = max((one.number for one in grown.values()), default=0)
    most_bytes = max((one.size_bytes for one in grown.values()), default=0)
    told = [
        (name, one)
        for name, one in grown.items()
        if one.number >= LEAST_GROWTH
        and (one.number >= SHARE_OF_MOST * most or one.size_bytes >= SHARE_OF_MOST * most_bytes)
    ]
    return sorted(told, key=lambda pair: (pair[1].origin, -pair[1].size_bytes))[:MAX_TOLD]


def _more(name: str, before: Counted, now: Counted) -> Class:
    one, earlier = now.classes[name], before.classes.get(name, Class(0, 0, 0))
    return Class(one.number - earlier.number, one.size_bytes - earlier.size_bytes, one.origin)


def _signed(size_bytes: int) -> str:
    return ("+" if size_bytes >= 0 else "") + format_bytes(size_bytes)


def _name(text: str) -> str:
    """Return a name that is safe to print; of a long one the end is told, which says more."""
    safe = one_line(text, 300)
    return safe if len(safe) <= MAX_NAME_CHARS else "..." + safe[3 - MAX_NAME_CHARS :]


def _number(text: str) -> int:
    value = int(text) if len(text) < 16 else MAX_COUNT  # noqa: PLR2004 - digits of 2**48
    return max(0, min(value, MAX_COUNT))
