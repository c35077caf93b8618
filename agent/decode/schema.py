"""What a class of options says of itself: its keys, their types and the words for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from agent.options import Spec, Unit
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

SECRET_SUFFIXES = ("_file", "_credential")
"""Beside `key`, a secret may be given as `key_file` or `key_credential`."""


class Kinds(Mapping[str, type[T]]):
    """Classes by the names that the file calls them; the module of each is imported when it is asked for."""

    def __init__(self, package: str, **places: str) -> None:
        """Take each class as "module.Class" below the package."""
        self._places = {name: f"{package}.{place}" for name, place in places.items()}

    def __getitem__(self, name: str) -> type[T]:
        module, _, found = self._places[name].rpartition(".")
        return getattr(import_module(module), found)  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def name_of(self, value: T) -> str:
        """Return what the file calls the class of a value; nothing is imported for it."""
        place = f"{type(value).__module__}.{type(value).__name__}"
        return next(name for name, known in self._places.items() if known == place)


class Tagged(NamedTuple):
    """Marks a mapping whose `tag` key chooses its class; without it, the mapping's own name does."""

    tag: str
    classes: Kinds[Any]


class Key(NamedTuple):
    """One key that a class of options knows."""

    name: str
    attribute: str
    kind: Any
    """The type without `| None`."""
    optional: bool
    """Whether the value may be None."""
    spec: Spec
    default: Callable[[], Any] | None
    """Makes the value of a key that is not given; None where it must be."""

    @property
    def required(self) -> bool:
        """Whether the file must give it."""
        return self.default is None

    @property
    def secret(self) -> bool:
        """Whether its value must never be printed."""
        return self.kind is Secret

    @property
    def is_section(self) -> bool:
        """Whether its value is a mapping with keys of its own."""
        return is_dataclass(self.kind)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return every key of the file that gives it."""
        suffixes = SECRET_SUFFIXES if self.secret else ()
        return (self.name, *(self.name + suffix for suffix in suffixes))


@cache
def keys_of(options: type) -> dict[str, Key]:
    """Return the keys of a class by their names in the file, in the order of the class."""
    hints = get_type_hints(options, include_extras=True)
    keys = [
        _key(hints[f.name], f.name, f.metadata["option"], f.default, f.default_factory)
        for f in fields(options)
        if "option" in f.metadata
    ]
    return {key.name: key for key in keys}


def named_secret(spelling: str) -> Key:
    """Return the key of a secret that the file gives a name of its own, by one of its spellings."""
    ending = next((suffix for suffix in SECRET_SUFFIXES if spelling.endswith(suffix)), "")
    name = spelling.removesuffix(ending)
    return Key(name, name, Secret, optional=False, spec=Spec(None, "", None), default=None)


def _key(hint: Any, attribute: str, spec: Spec, default: Any, factory: Any) -> Key:
    kind, optional = unwrapped(hint)
    made = factory if factory is not MISSING else None if default is MISSING else lambda: default
    return Key(spec.key or attribute, attribute, kind, optional, spec, made)


def unwrapped(hint: Any) -> tuple[Any, bool]:
    """Return the type of `X | None` and whether None was allowed."""
    if get_origin(hint) not in (Union, UnionType):
        return hint, False
    (kind,) = [part for part in get_args(hint) if part is not NoneType]
    return kind, True


def mark_of(kind: Any) -> Unit | Tagged | None:
    """Return what an `Annotated` type carries for the decoder."""
    if get_origin(kind) is not Annotated:
        return None
    return next((mark for mark in kind.__metadata__ if isinstance(mark, Unit | Tagged)), None)


def expected(kind: Any) -> str:
    """Return the words for what a value of this type looks like in the file."""
    mark, origin = mark_of(kind), get_origin(kind)
    if isinstance(mark, Unit):
        return mark.expected
    if origin is Literal:
        return one_of(get_args(kind))
    if origin is tuple:
        return "a list"
    if mark is not None or origin is dict or is_dataclass(kind):
        return "a mapping"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")


def one_of(names: tuple[str, ...]) -> str:
    """Return `one of "a", "b"`."""
    return "one of " + ", ".join(f'"{name}"' for name in names)
