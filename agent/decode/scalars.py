"""One scalar of the file as a number, a flag, a choice or a text; pure, and without a word about mistakes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args, get_origin

import yaml

from agent.decode.document import CORE
from agent.decode.problems import MAX_SHOWN_CHARS
from agent.decode.schema import mark_of
from agent.options import Unit
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_SHOWN_ITEMS = 4
NULL = f"{CORE}null"
_CORE_TAGS = {CORE + name for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")}
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_LARGEST = 2**63 - 1
_FLAGS: dict[str, bool] = yaml.SafeLoader.bool_values


class Invalid:
    """What stands in the place of a value that could not be had; the problem is already noted."""


INVALID: Final = Invalid()


class Scalar(NamedTuple):
    """A scalar after its references were filled in."""

    text: str
    tag: str
    plain: bool
    """Written without quotes, or filled in from the environment: it may be a number or a flag."""
    names: tuple[str, ...] = ()
    """The variables that were filled in."""


def is_known_tag(node: yaml.Node) -> bool:
    """Whether a scalar is ordinary YAML, not an application's own `!tag`."""
    return node.tag in _CORE_TAGS


def shown(node: yaml.Node) -> str:
    """Return what stands in the file, as far as it may be repeated: one short line, references unfilled."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if not is_known_tag(node):
        return "a YAML tag"
    if node.tag == NULL:
        return "nothing"
    if node.start_mark.line != node.end_mark.line:
        return "a text of several lines"
    text = one_line(str(node.value), MAX_SHOWN_CHARS)
    return f'"{text}"' if node.tag == f"{CORE}str" else text


def shown_items(node: yaml.Node) -> str:
    """Return the same, with the first items of a list."""
    if not isinstance(node, yaml.SequenceNode):
        return shown(node)
    items = [shown(item) for item in node.value[:MAX_SHOWN_ITEMS]]
    return f"[{', '.join(items + ['...'] * (len(node.value) > MAX_SHOWN_ITEMS))}]"


def shown_kind(node: yaml.Node) -> str:
    """Return the same without the value: where a mapping belongs, a text may be a secret in a wrong place."""
    ordinary = isinstance(node, yaml.ScalarNode) and is_known_tag(node) and node.tag != NULL
    return "a single value" if ordinary else shown(node)


def parse(kind: Any, scalar: Scalar) -> Any:
    """Return the value of a scalar type, or INVALID."""
    mark = mark_of(kind)
    if isinstance(mark, Unit):
        return _with_unit(mark, scalar)
    if get_origin(kind) is Literal:
        return scalar.text if scalar.text in get_args(kind) else INVALID
    return _PARSERS[kind](scalar)


def _with_unit(unit: Unit, scalar: Scalar) -> Any:
    try:
        value = unit.parse(scalar.text)
    except (ValueError, OverflowError):
        return INVALID
    return value if math.isfinite(value) and value <= _LARGEST else INVALID


def _whole(scalar: Scalar) -> Any:
    return int(scalar.text) if scalar.plain and _WHOLE.fullmatch(scalar.text) else INVALID


def _number(scalar: Scalar) -> Any:
    if not (scalar.plain and _NUMBER.fullmatch(scalar.text)):
        return INVALID
    value = float(scalar.text)
    return value if math.isfinite(value) else INVALID


def _flag(scalar: Scalar) -> Any:
    return _FLAGS.get(scalar.text.lower(), INVALID) if scalar.plain else INVALID


def _text(scalar: Scalar) -> Any:
    # A user id or a version number is meant as written; `yes` and nothing at all are slips.
    meant = bool(scalar.names) or scalar.tag not in (NULL, f"{CORE}bool")
    return scalar.text if meant and is_storable(scalar.text) else INVALID


def is_storable(text: str) -> bool:
    """Whether a text can be a path, a database value and a line of output: no NUL, no half character."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


_PARSERS: dict[type, Callable[[Scalar], Any]] = {int: _whole, float: _number, bool: _flag, str: _text}
