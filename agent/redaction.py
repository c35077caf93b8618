"""Takes out of a command line what is obviously a secret; what is left still tells which program it is."""

from __future__ import annotations

import re

HIDDEN = "<hidden>"
_NAMES = (
    r"[\w.-]*(?:passw(?:or)?d|passwd|pwd|secret|token|credential|dsn|authorization"
    r"|(?:api|access|private)[-_]?key)[\w.-]*"
)
_AFTER_NAME = re.compile(
    rf"(?<![\w.-])(-{{0,2}}{_NAMES})(\s*[=:]\s*|(?<=\w)\s+(?=[^-\s]))(\S+)", re.IGNORECASE
)
_IN_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+\S+", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?<![\w/.-])(?=[A-Za-z0-9_+=-]*\d)(?=[A-Za-z0-9_+=-]*[A-Za-z])[A-Za-z0-9_+=-]{24,}(?![\w/.-])"
)
"""Letters and digits without a break, as keys are; a path or a dotted name is none."""


def redact(command: str) -> str:
    """Return a command line with `<hidden>` in the place of secrets.

    >>> redact("api --db-password=hunter2 --port 80 --token s3cr3t postgres://u:p@db/x")
    'api --db-password=<hidden> --port 80 --token <hidden> postgres://<hidden>@db/x'
    """
    shown = _BEARER.sub(rf"\1 {HIDDEN}", command)
    shown = _AFTER_NAME.sub(rf"\1\2{HIDDEN}", shown)
    shown = _IN_ADDRESS.sub(rf"\1{HIDDEN}@", shown)
    return _TOKEN.sub(HIDDEN, shown)
