"""How `leakwatch watch` shows its readings: in place on a terminal, a line each elsewhere, or as JSON."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TextIO

import click
import numpy as np

from agent.cli.sparkline import BLOCKS, PLAIN, columns, sparkline
from agent.model import State
from agent.units import format_bytes, format_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cli.live import Reading

HEAD = ("TIME", "PID", "NAME", "HEAP", "RSS", "LIMIT", "THREADS", "FDS", "RATE", "STATE", "MINUTE", "WHY")
WIDTHS = (8, 7, 15, 7, 7, 5, 7, 5, 26, 8, 10, 0)
TREND_CHARS = 10
NOTABLE_SHARE = 0.002
"""A minute in which the heap moved by less than this share of itself is drawn flat."""
COLOURS = {State.SUSPECT: "yellow", State.WARNING: "magenta", State.CRITICAL: "red"}
LEFT_OUT = 2
"""Lines of a terminal that are not for processes: the head, and the one that the cursor stands on."""
_HIDE_CURSOR, _SHOW_CURSOR, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[J"


class Screen(Protocol):
    """Shows one poll after another."""

    def show(self, readings: Sequence[Reading]) -> None:
        """Show the readings of one poll."""
        ...

    def close(self) -> None:
        """Leave the output as it was found."""
        ...


class LiveScreen:
    """Overwrites what it has shown before; hides the cursor until it is closed."""

    def __init__(self, stream: TextIO, size: tuple[int, int] | None = None) -> None:
        self._stream = stream
        self._size = size
        self._drawn = 0
        self._marks = marks_for(stream)
        stream.write(_HIDE_CURSOR)

    def show(self, readings: Sequence[Reading]) -> None:
        """Draw the table over the one before."""
        width, height = self._size or shutil.get_terminal_size()
        room = max(1, height - LEFT_OUT)
        shown = readings if len(readings) <= room else readings[: room - 1]
        lines = [cells_line(HEAD)[:width], *(_coloured(one, self._marks, width) for one in shown)]
        if len(shown) < len(readings):
            lines.append(f"and {len(readings) - len(shown)} more"[:width])
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"{_CLEAR_LINE}{line}\n" for line in lines)
        self._stream.write(f"\r{up}{text}{_CLEAR_BELOW}")
        self._stream.flush()
        self._drawn = len(lines)

    def close(self) -> None:
        """Give the cursor back."""
        self._stream.write(_SHOW_CURSOR)
        self._stream.flush()


class PlainScreen:
    """Appends a line a process and poll, the head once; of an ended process one line only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._marks = marks_for(stream)
        self._ended: set[int] = set()
        stream.write(cells_line(HEAD) + "\n")

    def show(self, readings: Sequence[Reading]) -> None:
        """Append the lines of one poll."""
        for one in _news(readings, self._ended):
            self._stream.write(cells_line(cells(one, self._marks)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: what was written stays."""


class JsonScreen:
    """Appends an object a process and poll; of an ended process one only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended: set[int] = set()

    def show(self, readings: Sequence[Reading]) -> None:
        """Append the objects of one poll."""
        for one in _news(readings, self._ended):
            self._stream.write(json.dumps(plain(one)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: what was written stays."""


def marks_for(stream: TextIO) -> str:
    """Return the marks that the stream's encoding can carry."""
    try:
        BLOCKS.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return BLOCKS


def cells(one: Reading, marks: str) -> tuple[str, ...]:
    """Return the columns of `HEAD` of one reading."""
    who = (_time(one), str(one.process.key.pid), one.process.name)
    if one.gone:
        return (*who, *("-" for _ in HEAD[3:9]), "gone", "", one.gone)
    if one.sample is None:
        return (*who, *("-" for _ in HEAD[3:9]), str(one.state), "", "could not be read this time")
    seen, percent = one.sample, one.percent
    return (
        *who,
        format_bytes(seen.heap_bytes),
        format_bytes(seen.rss_bytes),
        "-" if percent is None else f"{percent:.0f}%",
        str(seen.threads),
        "-" if seen.fds is None else str(seen.fds),
        _rate(one),
        str(one.state),
        _trend(one, marks),
        one.why,
    )


def cells_line(texts: Sequence[str]) -> str:
    """Return the columns below those of other lines."""
    return " ".join(text.ljust(width) for text, width in zip(texts, WIDTHS, strict=True)).rstrip()


def plain(one: Reading) -> dict[str, object]:
    """Return a reading as values for JSON; rates are bytes an hour."""
    return {
        "time": datetime.fromtimestamp(one.now.wall_s, UTC).isoformat(timespec="milliseconds"),
        "pid": one.process.key.pid,
        "name": one.process.name,
        "sample": None if one.sample is None else asdict(one.sample),
        "limit": None if one.limit is None else asdict(one.limit),
        "percent": None if one.percent is None else round(one.percent, 2),
        "rate": None if one.rate is None else one.rate._asdict(),
        "state": str(one.state),
        "reasons": [asdict(reason) for reason in one.reasons],
        "gone": one.gone or None,
    }


def _news(readings: Sequence[Reading], ended: set[int]) -> list[Reading]:
    """Return the readings without those of processes whose end was told, and note who has ended now."""
    news = [one for one in readings if one.process.key.pid not in ended]
    ended |= {one.process.key.pid for one in news if one.gone}
    return news


def _coloured(one: Reading, marks: str, width: int) -> str:
    line = cells_line(cells(one, marks))[:width]
    colour = "bright_black" if one.gone else COLOURS.get(one.state)
    return click.style(line, fg=colour) if colour else line


def _time(one: Reading) -> str:
    return datetime.fromtimestamp(one.now.wall_s, UTC).astimezone().strftime("%H:%M:%S")


def _rate(one: Reading) -> str:
    if one.rate is None:
        return "-"
    value, low, high = one.rate
    return f"{format_rate(value)} ({format_bytes(low)}..{format_bytes(high)})"


def _trend(one: Reading, marks: str) -> str:
    if len(one.trend) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    t_s, heap = np.array(one.trend).T
    if np.ptp(heap) < NOTABLE_SHARE * float(heap.max()):
        heap = np.zeros_like(heap)
    return sparkline(columns(t_s, heap, min(TREND_CHARS, len(heap))), marks)
