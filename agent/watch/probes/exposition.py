"""Reads chosen metrics out of a page in the Prometheus text format or OpenMetrics, piece by piece.

Only the lines of the metrics asked for are looked into, and nothing else is kept, however long the page is.
https://prometheus.io/docs/instrumenting/exposition_formats/
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_LINE_BYTES = 65_536
"""A longer line is left out; one of a known metric has a few hundred."""
MAX_LABELS_BYTES = 1_024
"""Of one sample; one with more is left out: those of a heap have some hundred."""
MAX_SAMPLES = 1_000
"""Of all metrics asked for: a heap has some ten spaces."""
_LABELS = rb'(?:\{((?:[^"}\n]++|"(?:[^"\\\n]++|\\.)*+")*+)\})?'
"""Possessive, so that a line that does not fit is given up at once."""
_VALUE = rb"[ \t]*([^ \t\r\n#]{1,64})[ \t\r]*(?:$|[ \t])"
_LABEL = re.compile(rb'(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]++|\\.)*+)"')
"""Each byte is looked at a few times only: the interpreter's lock is held meanwhile, and the poll waits."""
_ESCAPED = re.compile(r"\\(.)")


class Sample(NamedTuple):
    """One line of a metric."""

    name: str
    labels: dict[str, str]
    value: float


class Exposition:
    """Takes in a page, and keeps the samples of the metrics that were asked for, at most `MAX_SAMPLES`.

    What is no line of the format is left out, as is every value that is no number.
    """

    def __init__(self, names: Collection[str]) -> None:
        wanted = b"|".join(re.escape(name.encode()) for name in sorted(names))
        self._line = re.compile(rb"^(%s)(?=[{ \t])%s%s" % (wanted, _LABELS, _VALUE), re.MULTILINE)
        self._rest = bytearray()
        """The beginning of a line that has not ended."""
        self._cut = False
        """That line is too long, and `_rest` is only its end."""
        self._samples: list[Sample] = []

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the page; a line may end anywhere."""
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            self._look(self._rest + whole)
            self._rest, self._cut = bytearray(), False
        self._rest += rest
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._cut = bytearray(), True

    def end(self) -> tuple[Sample, ...]:
        """Return the samples of the whole page, which ends here."""
        self._look(self._rest)
        self._rest.clear()
        return tuple(self._samples)

    def _look(self, lines: bytearray) -> None:
        if self._cut:
            lines = lines.partition(b"\n")[2]
        for found in self._line.finditer(lines):
            if len(self._samples) >= MAX_SAMPLES:
                return
            value, labels = _number(found[3].decode("ascii", "replace")), bytes(found[2] or b"")
            if value is not None and len(labels) <= MAX_LABELS_BYTES:
                self._samples.append(Sample(found[1].decode(), _labels(labels), value))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _labels(text: bytes) -> dict[str, str]:
    return {
        name.decode(): _unescaped(value.decode("utf-8", "replace")) for name, value in _LABEL.findall(text)
    }


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
