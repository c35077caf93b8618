"""Tables and moments as the commands print them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines with columns below each other; nothing for no rows."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()


def when(wall_s: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a moment in the reader's own time zone."""
    return datetime.fromtimestamp(wall_s, UTC).astimezone().strftime(form)


def iso(wall_s: float | None) -> str | None:
    """Return a moment for machines."""
    return None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="seconds")
