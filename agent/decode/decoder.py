"""Turns YAML nodes into classes of options and notes every mistake on the way."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import yaml

from agent.decode.problems import nearest, sentence, shown_key
from agent.decode.scalars import INVALID, NULL, is_known_tag, parse, shown, shown_items, shown_kind
from agent.decode.schema import Key, Tagged, expected, keys_of, mark_of, named_secret, one_of
from agent.decode.secrets import decode_secret
from agent.decode.walk import Entry, Located, Place, Walk
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


class Decoder:
    """Decodes parts of one document; the walk holds what came of it.

    `bases` gives classes an instance (or INVALID) whose values stand for the keys that are not given.
    """

    def __init__(self, walk: Walk, bases: Mapping[type, Any]) -> None:
        self._walk = walk
        self._bases = bases

    def options(self, options: type, entries: dict[str, Entry] | None, place: Place) -> Any:
        """Return an instance made from the entries of a mapping, or INVALID when a problem was noted."""
        if entries is None:
            return INVALID
        keys = keys_of(options)
        meant = self._refuse_unknown(keys, entries, place)
        values = {
            key.attribute: INVALID if meant & {*key.spellings} else self._key(key, options, entries, place)
            for key in keys.values()
        }
        if any(value is INVALID for value in values.values()):
            return INVALID
        made = options(**values)
        self._walk.located[place.path] = Located(place, made, "a mapping")
        return made

    def _refuse_unknown(self, keys: dict[str, Key], entries: dict[str, Entry], place: Place) -> set[str]:
        """Note the keys that the class does not know, and return those they were likely meant for."""
        spellings = [name for key in keys.values() for name in key.spellings]
        meant = set()
        for name in [name for name in entries if name not in spellings]:
            word = shown_key(name)
            close = _one_level_down(name, keys) or nearest(name, spellings)
            known = "a known key" if close else one_of(tuple(keys))
            if ":" in name:  # {key:value} is one long key without a value
                known, close = '"key: value" with a space after the colon', None
                meant.add(name.partition(":")[0])
            self._walk.note(place.inside(word, entries[name].line), sentence(known, f'"{word}"', close))
            meant.add(close or "")
        return meant - entries.keys()

    def _key(self, key: Key, options: type, entries: dict[str, Entry], place: Place) -> Any:
        given = tuple(name for name in key.spellings if name in entries)
        if not given:
            return self._absent(key, options, place)
        entry = entries[given[0]]
        inner = place.inside(given[0], entry.line)
        if len(given) > 1:
            self._walk.note(inner, sentence(f"only {one_of(given)}", f"{len(given)} of them"))
            return INVALID
        if key.secret:
            return decode_secret(self._walk, key, given[0], entry.node, inner)
        value = self._value(key.kind, entry.node, inner, optional=key.optional)
        return self._checked(key, value, entry, inner)

    def _absent(self, key: Key, options: type, place: Place) -> Any:
        if options in self._bases:
            base = self._bases[options]
            return base if base is INVALID else getattr(base, key.attribute)
        if key.default is not None:
            return key.default()
        words = one_of(key.spellings) if key.secret else expected(key.kind)
        words += f" ({key.spec.describe})" if key.spec.describe else ""
        self._walk.note(place.inside(key.name, place.line), sentence(words, "nothing"))
        return INVALID

    def _checked(self, key: Key, value: Any, entry: Entry, place: Place) -> Any:
        if key.spec.check is None or value is None or value is INVALID:
            return value
        words = key.spec.check(value)
        if words is None:
            return value
        self._walk.note(place, sentence(words, shown_items(entry.node)))
        return INVALID

    def _value(self, hint: Any, node: yaml.Node, place: Place, *, optional: bool = False) -> Any:
        if not self._walk.spend(place):
            return INVALID
        # A section without a line in it is a section all the same; `null` is none.
        if optional and node.tag == NULL and not (is_dataclass(hint) and node.value == ""):
            return None
        return self._node(hint, node, place, optional=optional)

    def _node(self, hint: Any, node: yaml.Node, place: Place, *, optional: bool) -> Any:
        mark = mark_of(hint)
        if isinstance(mark, Tagged):
            return self._tagged(mark, node, place)
        if is_dataclass(hint):
            return self.options(hint, self._walk.entries(node, place), place)  # type: ignore[arg-type]
        if get_origin(hint) is tuple:
            return self._list(get_args(hint)[0], node, place)
        if get_origin(hint) is dict:
            inner = get_args(hint)[1]
            return self._secrets(node, place) if inner is Secret else self._named(inner, node, place)
        if hint is Secret:
            return decode_secret(self._walk, named_secret(""), "", node, place)
        return self._scalar(hint, node, place, optional=optional)

    def _list(self, hint: Any, node: yaml.Node, place: Place) -> Any:
        if node.tag == NULL:
            return ()
        if hint in (str, Secret) and isinstance(node, yaml.ScalarNode):
            nodes = [node]
        elif isinstance(node, yaml.SequenceNode):
            nodes = node.value
        else:
            self._walk.note(place, sentence("a list", shown_kind(node)))
            return INVALID
        places = [place.inside(at, item.start_mark.line + 1) for at, item in enumerate(nodes)]
        values = [self._value(hint, item, inner) for item, inner in zip(nodes, places, strict=True)]
        return INVALID if any(value is INVALID for value in values) else tuple(values)

    def _named(self, hint: Any, node: yaml.Node, place: Place) -> Any:
        entries = self._walk.entries(node, place)
        if entries is None:
            return INVALID
        values = {}
        for name, entry in entries.items():
            values[name] = self._value(hint, entry.node, place.inside(name, entry.line))
        return INVALID if any(value is INVALID for value in values.values()) else values

    def _secrets(self, node: yaml.Node, place: Place) -> Any:
        """Return secrets by names of the file's own, each given like any other secret (`NAME_file`)."""
        entries = self._walk.entries(node, place)
        if entries is None:
            return INVALID
        values: dict[str, Any] = {}
        for spelling, entry in entries.items():
            key, inner = named_secret(spelling), place.inside(spelling, entry.line)
            if key.name in values:
                self._walk.note(inner, sentence(f"only {one_of(key.spellings)}", "several of them"))
                values[key.name] = INVALID
                continue
            values[key.name] = decode_secret(self._walk, key, spelling, entry.node, inner)
        return INVALID if any(value is INVALID for value in values.values()) else values

    def _tagged(self, mark: Tagged, node: yaml.Node, place: Place) -> Any:
        entries = self._walk.entries(node, place)
        if entries is None:
            return INVALID
        tag, name = entries.pop(mark.tag, None), str(place.path[-1])
        names = tuple(mark.classes)
        if tag is not None:
            chosen = self._value(Literal[names], tag.node, place.inside(mark.tag, tag.line))
            return INVALID if chosen is INVALID else self.options(mark.classes[chosen], entries, place)
        if name not in names:
            words = sentence(one_of(names), "nothing", nearest(name, names))
            self._walk.note(place.inside(mark.tag, place.line), words)
            return INVALID
        return self.options(mark.classes[name], entries, place)

    def _scalar(self, hint: Any, node: yaml.Node, place: Place, *, optional: bool) -> Any:
        if not isinstance(node, yaml.ScalarNode) or not is_known_tag(node):
            self._walk.note(place, sentence(expected(hint), shown_kind(node)))
            return INVALID
        scalar = self._walk.fill(node, place)
        if scalar is None:
            return INVALID
        if optional and scalar.names and not scalar.text:
            return None
        value = parse(hint, scalar)
        if value is INVALID:
            choices = get_args(hint) if get_origin(hint) is Literal and not scalar.names else ()
            self._walk.note(place, sentence(expected(hint), shown(node), nearest(scalar.text, choices)))
        else:
            self._walk.located[place.path] = Located(place, value, shown(node), scalar.names)
        return value


def _one_level_down(name: str, keys: dict[str, Key]) -> str | None:
    """Return `match.exe` for an `exe` that stands one level too high."""
    sections = (key.name for key in keys.values() if key.is_section and name in keys_of(key.kind))
    return next((f"{section}.{name}" for section in sections), None)
