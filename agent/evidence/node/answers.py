"""Takes values out of a program's answer, which may hold anything. All raise ValueError for the rest."""

from __future__ import annotations

from typing import Any

_MOST = 2**63


def mapping(value: Any) -> dict[str, Any]:
    """Return what is an object."""
    if not isinstance(value, dict):
        raise ValueError("its answer is not what Node gives")  # noqa: TRY004 - the port's reasons are ValueErrors
    return value


def number(value: Any) -> int:
    """Return what is a number of bytes, objects or milliseconds."""
    if not isinstance(value, int | float) or not -_MOST < value < _MOST:
        raise ValueError("its answer holds something else where a number belongs")
    return int(value)
