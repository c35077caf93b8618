"""Classes of options back to what a file may say: units as people write them, secrets hidden."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

import yaml

from agent.decode.document import CORE
from agent.decode.expand import escape
from agent.decode.schema import Key, Tagged, keys_of, mark_of
from agent.options import Unit
from agent.secret import HIDDEN, Secret
from agent.units import BYTES, SECONDS, parse_duration, parse_percent, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ODD_BREAKS = "\x85\u2028\u2029"


def to_plain(options: Any) -> dict[str, Any]:
    """Return mappings, lists and scalars that decode to equal options, but for hidden secrets."""
    kind: type = type(options)
    return {key.name: _plain(key, getattr(options, key.attribute)) for key in keys_of(kind).values()}


def to_yaml(values: dict[str, Any]) -> str:
    """Return the text of a file that holds these values, in their order."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes odd line breaks as escapes; between other quotes PyYAML would read them back as a space."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        odd = any(char in data for char in _ODD_BREAKS)
        return self.represent_scalar(f"{CORE}str", data, style='"' if odd else None)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        """Write equal lists and mappings out each time."""
        return True


_Dumper.add_representer(str, _Dumper.represent_str)


def _section(options: Any) -> dict[str, Any]:
    # Deep in the file, what is neither given nor has a default would only be noise.
    return {name: value for name, value in to_plain(options).items() if value is not None}


def _plain(key: Key, value: Any) -> Any:
    if key.secret:
        return None if value is None else HIDDEN if value else ""
    return None if value is None else _value(key.kind, value)


def _value(hint: Any, value: Any) -> Any:
    mark = mark_of(hint)
    if isinstance(mark, Unit):
        return _WRITERS[mark.parse](value)
    if isinstance(mark, Tagged):
        return {mark.tag: mark.classes.name_of(value), **_section(value)}
    if is_dataclass(hint):
        return _section(value)
    if get_origin(hint) is tuple:
        return [_value(get_args(hint)[0], item) for item in value]
    if get_origin(hint) is dict:
        return {name: _value(get_args(hint)[1], item) for name, item in value.items()}
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, Secret):
        return HIDDEN if value else ""
    return escape(value) if isinstance(value, str) else value


def write_duration(seconds: float) -> str:
    """Return the shortest text that means exactly so many seconds: "10s", "90m", "7d"."""
    smallest = "s" if seconds >= 1 else "ms"
    units = [
        (unit, size)
        for unit, size in SECONDS.items()
        if unit in (smallest, "m", "h", "d") and seconds >= size
    ]
    texts = [_decimal(seconds / size) + unit for unit, size in units]
    return _shortest(texts, seconds, parse_duration) or _decimal(seconds) + "s"


def write_size(count: int) -> str:
    """Return the shortest text that means exactly so many bytes: "50MB", "1.5GiB"."""
    texts = [_decimal(count / size) + unit for unit, size in BYTES.items() if count >= size and len(unit) > 1]
    return _shortest(texts, count, parse_size) or f"{count}B"


def write_rate(bytes_per_hour: float) -> str:
    """Return a text that means exactly so many bytes an hour, by the hour where that can be: "100MB/h"."""
    units = ("h", "m", "s", "d", "w", "ms")
    texts = [f"{write_size(round(bytes_per_hour * SECONDS[unit] / 3600))}/{unit}" for unit in units]
    return next((text for text in texts if parse_rate(text) == bytes_per_hour), texts[0])


def write_percent(percent: float) -> str:
    """Return "80%"."""
    return f"{_decimal(percent)}%"


def _shortest(texts: Iterable[str], value: float, parse: Callable[[str], float]) -> str | None:
    return min((text for text in texts if parse(text) == value), key=len, default=None)


def _decimal(number: float) -> str:
    whole = int(number)
    text = str(whole) if whole == number else repr(number)
    if "e" not in text:
        return text
    from decimal import Decimal  # noqa: PLC0415 - half a MB, for numbers that nobody writes

    return f"{Decimal(text):f}"


_WRITERS: dict[Callable[[str], float], Callable[[Any], str]] = {
    parse_duration: write_duration,
    parse_size: write_size,
    parse_rate: write_rate,
    parse_percent: write_percent,
}
