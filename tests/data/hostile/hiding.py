"""Hides from whoever looks at it, in the way that its argument names; leaks nothing and harms nobody.

It prints "ready", and answers every line on stdin with "here".
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import sys
import threading
from pathlib import Path

PR_SET_DUMPABLE, PR_SET_NAME = 4, 15  # linux/prctl.h
SYS_EXIT = {"x86_64": 60, "aarch64": 93}
"""Ends one thread only."""
HOSTILE = b"<script>`*\x1b[2J\n\xff) S 1 ("
COUNT = 300
"""So many of a kind are told in the alert's words."""

libc = ctypes.CDLL(None)
kept: list[object] = []


def name_badly(folder: Path) -> None:
    """Give everything that bears a name one that would break out of a line, a page or a message."""
    forever = threading.Event()

    def wait() -> None:
        libc.prctl(PR_SET_NAME, HOSTILE, 0, 0, 0)
        forever.wait()

    for _ in range(COUNT):
        threading.Thread(target=wait, daemon=True).start()
    libc.prctl(PR_SET_NAME, HOSTILE, 0, 0, 0)
    place = os.fsencode(folder) + b"/" + HOSTILE + b"<!channel>"
    Path(os.fsdecode(place)).mkdir()
    for number in range(COUNT):
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(b"\0" + HOSTILE + b"\0%d-%d" % (os.getpid(), number))
        kept.append((abstract, os.open(place + b"/%d" % number, os.O_CREAT | os.O_RDWR)))
    file = os.open(place + b"/large", os.O_CREAT | os.O_RDWR)
    os.truncate(file, 8_000_000)
    memory = mmap.mmap(file, 8_000_000, flags=mmap.MAP_PRIVATE)
    memory.write(bytes(range(256)) * 31_250)
    kept.append(memory)


def change_root(folder: Path) -> None:
    os.chroot(folder)
    os.chdir("/")


def leave_leader() -> None:
    """Go on in a second thread, while the first one, by which the process is known, is a zombie."""
    threading.Thread(target=answer_alone).start()
    libc.syscall(SYS_EXIT[os.uname().machine], 0)


def answer_alone() -> None:
    while Path(f"/proc/{os.getpid()}/stat").read_bytes().rpartition(b") ")[2][:1] != b"Z":
        os.sched_yield()
    answer()


def answer() -> None:
    say("ready")
    for _ in sys.stdin:
        say("here")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    how, folder = sys.argv[1], Path(sys.argv[2])
    if how == "names":
        name_badly(folder)
    elif how == "root":
        change_root(folder)
    elif how == "undumpable":
        libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    elif how == "deleted":
        Path("/proc/self/exe").resolve().unlink()
    elif how == "leaderless":
        leave_leader()
    answer()


main()
