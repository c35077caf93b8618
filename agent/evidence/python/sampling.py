"""A second of samples of where a process is at work: without its owner's consent the best hint there is."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.python import pyspy
from agent.evidence.python.stacks import MAX_PART_CHARS, origin
from agent.evidence.tool import left_running, run
from agent.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from agent.evidence.kernel.procfs import HeldProcess

DURATION_S = 1
"""py-spy knows whole seconds only."""
RATE_HZ = 100
"""Without pausing it: 1 s takes py-spy 60 ms of CPU time, and the process none."""
LEAST_TIMEOUT_S = 3.0
"""Where a source has less time there are no samples."""
MAX_BYTES = 4_000_000
LEAST_SEEN = 2
SCRIPT = "<module>"
"""A script's own lines start everything, and say nothing."""

_FRAME = re.compile(r"(.*) \((.*):(\d+)\)")


class Place(NamedTuple):
    """One function of the application."""

    function: str
    path: str


def sample(held: HeldProcess, tool: Path, timeout_s: float) -> bytes:
    """Return what `py-spy record --format raw` has seen: a line "outer;inner 12" for each stack at work.

    Nothing where it fails, or there is no time. Raises SourceError, ProcessGoneError.
    """
    if timeout_s < LEAST_TIMEOUT_S:
        return b""
    with os.fdopen(os.memfd_create("leakwatch-samples", os.MFD_CLOEXEC), "rb") as output, left_running(held):
        command = [str(tool), "record", "--nonblocking", "--format", "raw", "--full-filenames"]
        command += ["--duration", str(DURATION_S), "--rate", str(RATE_HZ), "--pid", str(held.key.pid)]
        command += ["--output", f"/proc/self/fd/{output.fileno()}"]
        run(pyspy.NAME, command, timeout_s=timeout_s, max_bytes=MAX_BYTES, pass_fds=(output.fileno(),))
        return output.read(MAX_BYTES)


def hint(samples: bytes) -> tuple[str, ...]:
    """Return the line "hint: at work in 7 of 41 samples: remember (app.py:24)".

    A sample counts for its innermost call of the application.
    """
    places, lines, total = Counter[Place](), Counter[tuple[Place, str]](), 0
    for row in samples.decode("utf-8", "replace").splitlines():
        stack, _, words = row.rpartition(" ")
        count = int(words) if words.isdecimal() and len(words) < 9 else 0  # noqa: PLR2004 - digits
        total += count
        found = _innermost(stack)
        if found is not None:
            places[found[0]] += count
            lines[found] += count
    return tuple(
        f"hint: at work in {count} of {total} samples: {_readable(place, lines)}"
        for place, count in places.most_common(1)
        if count >= LEAST_SEEN
    )


def _innermost(stack: str) -> tuple[Place, str] | None:
    for text in reversed(stack.split(";")):
        frame = _FRAME.fullmatch(text)
        if frame is not None and frame[1] != SCRIPT and origin(frame[2]) == 0:
            return Place(frame[1], frame[2]), frame[3]
    return None


def _readable(place: Place, lines: Counter[tuple[Place, str]]) -> str:
    line = max((count, line) for (at, line), count in lines.items() if at == place)[1]
    name = one_line(place.path.rpartition("/")[2], MAX_PART_CHARS // 2)
    return f"{one_line(place.function, MAX_PART_CHARS // 2)} ({name}:{line})"
