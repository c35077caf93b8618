"""A program that uses as much memory as it is told: one command a line on stdin, "ok" as the answer."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_BYTES = mmap.PAGESIZE
PR_SET_NAME = 15  # linux/prctl.h

kept: list[mmap.mmap] = []
descriptors: list[int] = []
stop = threading.Event()


def grow(size: str, flags: int = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) -> None:
    """Map and touch exactly so many bytes, rounded up to a page, out of reach of the allocator."""
    chunk = mmap.mmap(-1, int(size), flags=flags)
    for at in range(0, len(chunk), PAGE_BYTES):
        chunk[at] = 1
    kept.append(chunk)


def share(size: str) -> None:
    """The same with shared memory, which is not heap."""
    grow(size, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)


def free() -> None:
    """Give everything back to the kernel."""
    while kept:
        kept.pop().close()


def circle(size: str) -> None:
    """Lose so many bytes to a circle that only a collection finds, and let none come by itself."""
    gc.disable()
    lost: list[object] = [bytearray(b"\1") * int(size)]
    lost.append(lost)


def threads(count: str) -> None:
    """Start threads that do nothing."""
    for _ in range(int(count)):
        threading.Thread(target=stop.wait, daemon=True).start()


def fds(count: str) -> None:
    """Open descriptors and keep them."""
    descriptors.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(int(count)))


def rename(name_hex: str) -> None:
    """Set the kernel's name of the process, which takes any bytes but NUL."""
    libc = ctypes.CDLL(None)
    if libc.prctl(PR_SET_NAME, bytes.fromhex(name_hex), 0, 0, 0):
        raise OSError


def fork() -> int:
    """Start a child that waits until its end of the pipe is closed by our exit; answer its pid."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    return pid


COMMANDS: dict[str, Callable[..., int | None]] = {
    "grow": grow,
    "share": share,
    "free": free,
    "circle": circle,
    "threads": threads,
    "fds": fds,
    "rename": rename,
    "fork": fork,
}


def say(word: str) -> None:
    """Answer a line."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    """Obey until "quit" or the end of input."""
    say("ready")
    for line in sys.stdin:
        words = line.split()
        if words == ["quit"]:
            break
        answer = COMMANDS[words[0]](*words[1:])
        say("ok" if answer is None else str(answer))


if __name__ == "__main__":
    main()
