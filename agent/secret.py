"""Secret: a string that cannot be printed, logged, compared by accident or serialised."""

from __future__ import annotations

from typing import NoReturn

HIDDEN = "<hidden>"


class Secret:
    """A value that only `reveal()` gives away.

    `str`, `repr`, `format` and f-strings give `<hidden>`; pickling and JSON raise `TypeError`.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself; call it where it is sent, never where it is stored."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __str__(self) -> str:
        return HIDDEN

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never serialised")
