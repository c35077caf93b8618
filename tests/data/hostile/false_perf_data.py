"""Maps a file as a JVM does its hsperfdata file, then puts something else in its place, or keeps changing it.

Its folder is nobody's: a JVM looks through that of its own user, and would wait for a pipe in it.
It prints "ready" when that is done, and ends with its standard input.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/tmp/hsperfdata_leakwatch-tests")


def replace(file: Path, how: str) -> None:
    if how in ("link", "fifo"):
        file.unlink()
    if how == "link":
        file.symlink_to("/etc/shadow")
    elif how == "fifo":
        os.mkfifo(file)
    elif how == "sparse":
        os.truncate(file, 10 << 30)
    elif how == "folder":
        file.unlink()
        file.mkdir()


def flicker(file: Path, content: bytes) -> None:
    """Cut the file off and write it again for ever: a reader that maps it would die of SIGBUS."""
    fd = os.open(file, os.O_WRONLY)
    while True:
        os.ftruncate(fd, 0)
        os.pwrite(fd, content, 0)


def main() -> None:
    how, content = sys.argv[1], bytes.fromhex(sys.argv[2])
    FOLDER.mkdir(mode=0o755, exist_ok=True)
    file = FOLDER / str(os.getpid())
    file.write_bytes(content)
    fd = os.open(file, os.O_RDWR)
    mapped = mmap.mmap(fd, len(content))
    replace(file, how)
    if how == "flicker":
        threading.Thread(target=flicker, args=(file, content), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    del mapped
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink()
    with suppress(OSError):  # another one is at it
        FOLDER.rmdir()


main()
