"""The program that leaks for a drill: a size in bytes a line on stdin, "ok" once that much is in memory.

It runs by its path and stands on nothing but the standard library. It ends with its input, so it cannot be
left behind whatever happens to the drill.
"""

from __future__ import annotations

import mmap
import signal
import sys

kept: list[mmap.mmap] = []


def remember(size_bytes: int) -> None:
    """Map and touch so many bytes, rounded up to a page, and never let go of them."""
    chunk = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, size_bytes, mmap.PAGESIZE):
        chunk[at] = 1
    kept.append(chunk)


def say(word: str) -> None:
    """Answer a line."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def leak_as_told() -> None:
    """Grow by each line until the input ends."""
    say("ready")
    for line in sys.stdin:
        remember(int(line))
        say("ok")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the drill, which then closes our input
    leak_as_told()
