"""What is wrong with a file: one sentence a mistake, with file, line and key path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""Where a value stands, e.g. ("watch", 2, "match", "exe")."""

MAX_SHOWN_CHARS = 60
"""So much of a wrong value is repeated in the sentence about it."""
MAX_KEY_CHARS = 24
"""A longer unknown key is cut short: a missing space can weld a secret to the key before it."""
KEPT_KEY_CHARS = 8


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. `line` 0 is the file as a whole."""

    file: str
    line: int
    path: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(Exception):
    """The file cannot be used; `problems` says why, in the order of its lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(p) for p in self.problems))


def sentence(expected: str, found: str | None = None, nearest: str | None = None) -> str:
    """Return `expected ..., found ...; did you mean "..."?`."""
    text = f"expected {expected}" if found is None else f"expected {expected}, found {found}"
    return f'{text}; did you mean "{nearest}"?' if nearest else text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that somebody who typed `word` most likely meant, if one is close."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    by_lower = {name.lower().replace("-", "_"): name for name in known}
    close = get_close_matches(word.lower().replace("-", "_"), by_lower, n=1)
    return by_lower[close[0]] if close else None


def dotted(path: Path) -> str:
    """Return `watch[2].match.exe`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shown_name(part)}" if text else shown_name(part)
    return text


def shown_name(key: str) -> str:
    """Return a key that somebody chose (a channel, a label) so that it can be printed."""
    return one_line(key, MAX_SHOWN_CHARS)


def shown_key(key: str) -> str:
    """Return an unknown key, or the start of one that is too odd to be a slip of the pen."""
    word = key[: next((at for at, c in enumerate(key) if not (c.isalnum() or c in "_-.")), len(key))]
    if word == key and len(key) <= MAX_KEY_CHARS:
        return key
    return (word if len(word) <= MAX_KEY_CHARS else word[:KEPT_KEY_CHARS]) + "..."
