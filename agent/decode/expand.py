"""`${NAME}` and `${NAME:-default}` in the texts of a file, filled in from the environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(
    r"(?P<literal>\$\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\}|\$\{", re.ASCII
)

REFERENCE_FORM = '${NAME} or ${NAME:-default} ("$${" for a plain "${")'


class Expanded(NamedTuple):
    """A text after its references were filled in."""

    text: str
    names: tuple[str, ...] = ()
    """The variables it refers to."""
    unset: tuple[str, ...] = ()
    """Those that are not set and have no default."""
    malformed: bool = False
    """Whether a "${" is no reference."""


def expand(raw: str, env: Mapping[str, str]) -> Expanded:
    """Fill in the references of one text; a variable set to nothing counts as not set before `:-`."""
    names: list[str] = []
    unset: list[str] = []
    malformed = False

    def fill(match: re.Match[str]) -> str:
        nonlocal malformed
        if match["literal"]:
            return "${"
        if match["name"] is None:
            malformed = True
            return ""
        names.append(match["name"])
        value = env.get(match["name"])
        if match["default"] is not None:
            return value or match["default"]
        if value is None:
            unset.append(match["name"])
        return value or ""

    return Expanded(_REFERENCE.sub(fill, raw), tuple(names), tuple(unset), malformed)


def escape(text: str) -> str:
    """Return the text that `expand` turns into this one."""
    return text.replace("${", "$${")
