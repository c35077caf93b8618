"""How a room declares what the YAML file may say: frozen dataclasses with units in their types.

    @dataclass(frozen=True, slots=True)
    class PollOptions:
        interval_s: Duration = option(10.0, key="poll_interval", describe="time between two polls")

The decoder turns a YAML mapping into such a class and finds every mistake in it.
"""

from __future__ import annotations

import re
from dataclasses import MISSING, field
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from agent.units import parse_duration, parse_percent, parse_rate, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
HTTP_HOST = r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
"""Without user and password: none are sent."""


class Unit(NamedTuple):
    """How a text of the file becomes a number, and what to say when it does not."""

    expected: str
    parse: Callable[[str], float]


Duration = Annotated[float, Unit('a duration such as "10s", "15m" or "7d"', parse_duration)]
"""Seconds."""
Size = Annotated[int, Unit('a size such as "100MB" or "1.5GiB"', parse_size)]
"""Bytes."""
Rate = Annotated[float, Unit('a rate such as "100MB/h"', parse_rate)]
"""Bytes an hour."""
Percent = Annotated[float, Unit('a percentage such as "80%"', parse_percent)]
"""0 to 100."""


class Spec(NamedTuple):
    """What `option` keeps in a field's metadata under "option"."""

    key: str | None
    """The YAML key where it differs from the attribute (units are in names, not in keys)."""
    describe: str
    check: Callable[[Any], str | None] | None
    """Returns what was expected when the decoded value is wrong, else None."""


def option(
    default: Any = MISSING,
    *,
    key: str | None = None,
    describe: str = "",
    check: Callable[[Any], str | None] | None = None,
    factory: Callable[[], Any] | None = None,
) -> Any:
    """Declare a key of the file; without default and factory it is required."""
    metadata = {"option": Spec(key, describe, check)}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def at_least(least: float, expected: str) -> Callable[[float], str | None]:
    """Return a check that refuses smaller values with the words given."""
    return lambda value: None if value >= least else expected


def fits(pattern: str, expected: str) -> Callable[[str | None], str | None]:
    """Return a check that refuses a text that is not all of the pattern, with the words given."""
    compiled = re.compile(pattern)
    return lambda text: None if text is None or compiled.fullmatch(text) else expected
