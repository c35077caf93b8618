"""Log lines for people and machines: one event a line, key=value or JSON, to standard error."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

WORD_WIDTH = 9
"""The event's word is padded so that the pairs of neighbouring lines stand below each other."""

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""syslog(3)'s, from the most urgent on."""
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def log_event(logger: logging.Logger, word: str, *, level: int = logging.INFO, **pairs: object) -> None:
    """Log one change of state: a word ("suspect", "LEAK", "delivered") and its pairs; None is left out."""
    logger.log(level, word, extra={"pairs": {k: v for k, v in pairs.items() if v is not None}})


def pair(key: str, value: object) -> str:
    """Return key=value, quoted where a space, a quote, an equals sign or a control character needs it."""
    text = str(value)
    if text and not any(c in ' "=\\' or not c.isprintable() for c in text):
        return f"{key.replace('_', '-')}={text}"
    quoted = "".join(_ESCAPES.get(c, c if c.isprintable() else f"\\x{ord(c):02x}") for c in text)
    return f'{key.replace("_", "-")}="{quoted}"'


class KeyValueFormatter(logging.Formatter):
    """`word key=value ...`; journald adds time and host, `timestamps` adds the time elsewhere."""

    def __init__(self, *, timestamps: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._timestamps = timestamps

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record; a traceback is folded into it."""
        pairs: dict[str, Any] = dict(getattr(record, "pairs", {}))
        if record.exc_info and record.exc_info[1] is not None:
            pairs["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        words = [record.getMessage().ljust(WORD_WIDTH), *(pair(k, v) for k, v in pairs.items())]
        if record.levelno >= logging.WARNING and "level" not in pairs:
            words.append(pair("level", record.levelname.lower()))
        if self._timestamps:
            words.insert(0, self.formatTime(record, self.datefmt))
        return " ".join(words).rstrip()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event and the pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of one record."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage().lower(),
            **getattr(record, "pairs", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        return json.dumps(line, default=str)  # ASCII: no character of a value can end the line


class PriorityFormatter(logging.Formatter):
    """Another formatter's line behind its priority, which journald takes off again (sd-daemon(3))."""

    def __init__(self, line: logging.Formatter) -> None:
        super().__init__()
        self._line = line

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{self._line.format(record)}"


def journal_reads(fd: int, environ: Mapping[str, str]) -> bool:
    """Return whether what this descriptor is given goes to journald ($JOURNAL_STREAM, systemd.exec(5))."""
    try:
        about = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{about.st_dev}:{about.st_ino}"


def configure(*, level: str, as_json: bool, timestamps: bool, priorities: bool = False) -> None:
    """Send the agent's lines to standard error, and nothing of other libraries below a warning."""
    handler = logging.StreamHandler(sys.stderr)
    line = JsonFormatter() if as_json else KeyValueFormatter(timestamps=timestamps)
    handler.setFormatter(PriorityFormatter(line) if priorities else line)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("agent").setLevel(level.upper())
