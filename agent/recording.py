"""Recordings: a process's memory over time as CSV, read into columns of numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

JUDGED = ("heap", "anon", "uss", "rss", "file", "shmem", "threads", "fds")
"""Columns of which at least one must be there; bytes, and counts for the last two."""
KNOWN = (*JUDGED, "swap", "vmdata", "cpu")
"""Every column that is read; others are ignored."""
MAX_AMOUNT = 1e18
"""No memory, count or CPU time is larger (an exabyte)."""
MAX_T_S = 1e11
"""No clock in seconds shows more; the milliseconds since 1970 do."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_PLAIN = b"0123456789.,\n"
_SHOWN_CHARS = 40


class RecordingError(ValueError):
    """What is wrong with a recording, and in which line (counted from 1; None: the file as a whole)."""

    def __init__(self, name: str, line: int | None, what: str) -> None:
        file = one_line(name)
        super().__init__(f"{file}: {what}" if line is None else f"{file}:{line}: {what}")


@dataclass(frozen=True, slots=True)
class Recording:
    """The samples of one process, oldest first."""

    name: str
    t_s: Floats
    """The recording's own clock; strictly increasing."""
    columns: dict[str, Floats]
    """Column name -> its values, NaN where nothing was seen; only columns that hold a value."""


def decode(name: str, data: bytes) -> list[str]:
    """Return the lines of a file's bytes. Raises RecordingError where they are no UTF-8 text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecordingError(name, line, "expected text in UTF-8, found other bytes") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RecordingError(name, line, "expected text, found a NUL byte")
    return text.splitlines(keepends=True)


def parse(name: str, lines: Iterable[str]) -> Recording:
    """Read CSV with a header: `t` in seconds and any of `KNOWN`; an empty cell was not seen.

    Rows of the same t become one, in which a later value takes the place of an earlier one. Raises
    RecordingError with the line of the first mistake.
    """
    lines = list(lines)
    reader = csv.reader(lines)
    try:
        places = _places(name, next(reader, None), reader.line_num)
        width = places.pop("")
        at = [places.pop("t"), *places.values()]
        table = _plain(lines[reader.line_num :], width, at)
        if table is not None:
            return _recording(name, table, list(places))
        rows = list(_rows(name, reader, width, at))
    except csv.Error as error:
        raise RecordingError(name, reader.line_num, f"expected CSV: {error}") from None
    if not rows:
        raise RecordingError(name, reader.line_num, "expected samples below the header, found none")
    return _recording(name, np.array(rows), list(places))


def _plain(lines: list[str], width: int, at: list[int]) -> Floats | None:
    """Return the chosen columns of lines of plain numbers, ten times as fast as `_rows`; None for all else.

    Whatever is not quite as it should be goes the other way, which says what is wrong and where.
    """
    text = "".join(lines).replace("\r\n", "\n")
    if not text or text.encode().translate(None, _PLAIN):
        return None
    while ",," in text:
        text = text.replace(",,", ",nan,")
    text = text.replace(",\n", ",nan\n")
    try:
        cells = np.loadtxt(io.StringIO(text), delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    if cells.shape != (len(lines), width):
        return None
    table = cells[:, at]
    t_s = table[:, 0]
    ordered = np.isfinite(t_s).all() and (np.diff(t_s) > 0).all() and t_s[-1] <= MAX_T_S
    return None if not ordered or (table[:, 1:] > MAX_AMOUNT).any() else table


def _recording(name: str, table: Floats, names: list[str]) -> Recording:
    columns = {one: table[:, k + 1] for k, one in enumerate(names)}
    seen = {one: values for one, values in columns.items() if np.isfinite(values).any()}
    if not any(one in seen for one in JUDGED):
        empty = ", ".join(one for one in names if one in JUDGED)
        raise RecordingError(name, 1, f"expected values, found only empty cells in {empty}")
    return Recording(name, table[:, 0], seen)


def _places(name: str, header: list[str] | None, line: int) -> dict[str, int]:
    """Return where each known column and t stand, and under "" how many cells a row has."""
    names = [cell.strip().lower() for cell in header or ()]
    if not any(names):
        found = "an empty file" if header is None else "an empty line"
        raise RecordingError(name, max(1, line), f'expected a header such as "t,rss,anon", found {found}')
    if "t" not in names:
        raise RecordingError(name, line, f'expected a column "t" (seconds), found {_list(names)}')
    twice = next((one for one in ("t", *KNOWN) if names.count(one) > 1), None)
    if twice is not None:
        raise RecordingError(
            name, line, f'expected each column once, found "{twice}" {names.count(twice)} times'
        )
    if not any(one in names for one in JUDGED):
        raise RecordingError(name, line, f"expected one of {', '.join(JUDGED)}, found {_list(names)}")
    return {"": len(names), "t": names.index("t")} | {one: names.index(one) for one in KNOWN if one in names}


def _rows(name: str, reader: Iterator[list[str]], width: int, at: list[int]) -> Iterator[list[float]]:
    """Yield t and the known columns of every sample; `at` says where they stand in the line."""
    newest: list[float] | None = None
    for cells in reader:
        if not cells:
            continue
        line: int = reader.line_num  # type: ignore[attr-defined] # csv's reader has it, its type is private
        if len(cells) != width:
            raise RecordingError(name, line, f"expected {width} cells as in the header, found {len(cells)}")
        try:
            row = [_time_s(cells[at[0]]), *(_amount(cells[place]) for place in at[1:])]
        except ValueError as error:
            raise RecordingError(name, line, str(error)) from None
        if newest is not None and row[0] < newest[0]:
            raise RecordingError(
                name, line, f"expected t not to go back, found {row[0]:.15g} after {newest[0]:.15g}"
            )
        if newest is not None and row[0] == newest[0]:
            newest[:] = [old if math.isnan(new) else new for old, new in zip(newest, row, strict=True)]
            continue
        newest = row
        yield row


def _time_s(text: str) -> float:
    value = _number(text.strip(), "a time in seconds")
    if abs(value) > MAX_T_S:
        raise ValueError(f"expected a time in seconds, found {value:g} (milliseconds?)")
    return value


def _amount(text: str) -> float:
    text = text.strip()
    if not text:
        return math.nan
    value = _number(text, "a number, or nothing where it was not seen")
    if not 0 <= value <= MAX_AMOUNT:
        raise ValueError(
            f'expected a number from 0 to {MAX_AMOUNT:g}, found "{one_line(text, _SHOWN_CHARS)}"'
        )
    return value


def _number(text: str, expected: str) -> float:
    """Return a finite or over-large number; "nan", "inf" and what only Python reads as one are refused."""
    if _NUMBER.fullmatch(text) is None:
        found = f'"{one_line(text, _SHOWN_CHARS)}"' if text else "an empty cell"
        raise ValueError(f"expected {expected}, found {found}")
    return float(text)


def _list(names: list[str]) -> str:
    return one_line(", ".join(f'"{one}"' for one in names), 4 * _SHOWN_CHARS)
