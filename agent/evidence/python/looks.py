"""A few looks at where a process is at work: without its owner's consent the best hint at what allocates."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.evidence.python import pyspy, stacks
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.python.stacks import Frame, Thread

LOOKS = 10
INTERVAL_S = 0.05
LOOK_TIMEOUT_S = 0.5
MAX_THREADS = 200
"""With more each look takes long, and what is at work is hidden among what waits."""
LEAST_SEEN = 2
SHARE_OF_TIME = 0.3
"""Of the time a source has; the rest has gone into the first dump."""


def at_work(held: HeldProcess, tool: Path, timeout_s: float) -> tuple[tuple[Frame, ...], ...]:
    """Return for each look the innermost application calls of those threads that were at work.

    Raises ProcessGoneError. A look that fails is left out.
    """
    pause, found = threading.Event(), []
    looks = min(LOOKS, int(timeout_s * SHARE_OF_TIME / (2 * INTERVAL_S)))
    for _ in range(looks):
        pause.wait(INTERVAL_S)
        with suppress(SourceError, KeyError, TypeError, ValueError):
            dump = pyspy.dump(held, tool, timeout_s=LOOK_TIMEOUT_S, with_locals=False)
            found.append(_places(stacks.read(dump.threads)))
    return tuple(found)


def hint(looks: Sequence[Iterable[Frame]]) -> tuple[str, ...]:
    """Return the line "hint: at work in 7 of 10 looks: remember (app.py:24)"."""
    seen: Counter[tuple[str, str]] = Counter()
    lines: dict[tuple[str, str], Frame] = {}
    for look in looks:
        seen.update({(frame.function, frame.file) for frame in look})
        lines |= {(frame.function, frame.file): frame for frame in look}
    return tuple(
        f"hint: at work in {count} of {len(looks)} looks: {lines[function]}"
        for function, count in seen.most_common(1)
        if count >= LEAST_SEEN
    )


def _places(threads: Iterable[Thread]) -> tuple[Frame, ...]:
    own = [
        [frame for frame in thread.frames if frame.origin == 0]
        for thread in threads
        if thread.active or thread.holds_gil
    ]
    return tuple(frames[0] for frames in own if frames)
