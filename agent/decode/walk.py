"""The way through one document: mappings with merges, texts with references, problems with lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from agent.decode.document import CORE
from agent.decode.expand import REFERENCE_FORM, expand
from agent.decode.problems import Path, Problem, dotted, sentence, shown_key
from agent.decode.scalars import NULL, Scalar, shown_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_VALUES = 100_000
"""An alias can make a small file mean a huge one; 500 watch entries need some 10,000."""
MAX_MERGE_DEPTH = 20


class Place(NamedTuple):
    """Where a value stands: its key path and the line of its key."""

    path: Path
    line: int

    def inside(self, part: str | int, line: int) -> Place:
        """Return the place of a member."""
        return Place((*self.path, part), line)


class Entry(NamedTuple):
    """One key of a mapping."""

    line: int
    node: yaml.Node


class Located(NamedTuple):
    """A decoded value and where it stood, for checks that look at several values."""

    place: Place
    value: Any
    shown: str
    """How it may be repeated."""
    names: tuple[str, ...] = ()
    """The variables that it was made of."""


class Walk:
    """One document and one environment; `problems` and `located` hold what came of decoding."""

    def __init__(self, file: str, env: Mapping[str, str]) -> None:
        self.file = file
        self.env = env
        self.problems: list[Problem] = []
        self.located: dict[Path, Located] = {}
        self._left = MAX_VALUES

    def note(self, place: Place, message: str) -> None:
        """Remember a problem."""
        self.problems.append(Problem(self.file, place.line, dotted(place.path), message))

    def spend(self, place: Place) -> bool:
        """Count one value; False, with a problem, when the document means too many."""
        self._left -= 1
        if self._left == 0:
            self.note(place, sentence(f"at most {MAX_VALUES} values", "more (aliases multiply)"))
        return self._left > 0

    def entries(self, node: yaml.Node, place: Place) -> dict[str, Entry] | None:
        """Return a mapping's entries, merged ones included; None, with a problem, for anything else."""
        if node.tag == NULL:
            return {}
        if not isinstance(node, yaml.MappingNode) or node.tag != f"{CORE}map":
            self.note(place, sentence("a mapping", shown_kind(node)))
            return None
        given: dict[str, Entry] = {}
        for key, value in node.value:
            if key.tag != f"{CORE}merge":
                self._give(given, key, value, place)
        for name, entry in self._merged(node, place, MAX_MERGE_DEPTH):
            given.setdefault(name, entry)
        return given

    def _give(self, given: dict[str, Entry], key: yaml.Node, value: yaml.Node, place: Place) -> None:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            self.note(Place(place.path, line), sentence("a text as key", shown_kind(key)))
        elif key.value in given:
            found = f"it again (first on line {given[key.value].line})"
            self.note(place.inside(shown_key(key.value), line), sentence("this key once", found))
        else:
            given[key.value] = Entry(line, value)

    def _merged(self, node: yaml.MappingNode, place: Place, depth: int) -> Iterator[tuple[str, Entry]]:
        for key, value in node.value:
            if key.tag != f"{CORE}merge":
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode) or not depth:
                    words = sentence("a mapping to merge", shown_kind(source))
                    self.note(Place(place.path, key.start_mark.line + 1), words)
                elif self.spend(place):
                    yield from self._plain_entries(source)
                    yield from self._merged(source, place, depth - 1)

    def _plain_entries(self, node: yaml.MappingNode) -> Iterator[tuple[str, Entry]]:
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{CORE}merge":
                yield key.value, Entry(key.start_mark.line + 1, value)

    def fill(self, node: yaml.ScalarNode, place: Place) -> Scalar | None:
        """Return a scalar with its references filled in; None, with a problem, when one cannot be."""
        expanded = expand(node.value, self.env)
        if expanded.malformed:
            self.note(place, sentence(REFERENCE_FORM, 'another "${"'))
        for name in expanded.unset:
            self.note(place, sentence(f"the environment variable {name} to be set, or ${{{name}:-default}}"))
        if expanded.malformed or expanded.unset:
            return None
        filled = bool(expanded.names)
        return Scalar(expanded.text, node.tag, filled or node.style is None, expanded.names)
