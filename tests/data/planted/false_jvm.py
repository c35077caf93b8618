"""Looks like a JVM from outside and lies when it is attached to; what it plants is named by its argument.

It prints "ready", and answers every line on stdin with the number of SIGQUITs it has had so far.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

UNWILLING = b"0\n heap total 20K, used 10K\nExplicit GC is disabled, no GC has been performed.\n"
"""What JDK 8 says to GC.run with -XX:+DisableExplicitGC; later ones collect."""
ANSWERS = {
    "garbage": b"0\n\xff\x00 1: 99999999999999999999999 2 [[[[ (((\n" * 100,
    "unlucky": b"7\nrm -rf /\x1b[31m\n",
}
DUMPS = ("linked dump", "second name of a dump", "fifo for a dump", "sparse dump", "spoilt dump", "no dump")
SECRET = "JAVA PROFILE 1.0.2 of another"


def catch_signals(seen: list[int]) -> None:
    signal.signal(signal.SIGQUIT, lambda number, _: seen.append(number))
    signal.signal(signal.SIGSEGV, lambda number, _: seen.append(number))


def map_library(folder: Path) -> mmap.mmap:
    library = folder / "libjvm.so"
    library.write_bytes(b"\x7fELF" + bytes(4092))
    with library.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def listen(path: Path, how: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(5)
    threading.Thread(target=serve, args=(listening, how), daemon=True).start()
    return listening


def serve(listening: socket.socket, how: str) -> None:
    kept = []
    while True:
        line, _ = listening.accept()
        kept.append(line)
        command = line.recv(65536).split(b"\0")[2]
        if command.startswith(b"GC.heap_dump "):
            plant_dump(how, Path(os.fsdecode(command.split()[1])))
        with suppress(OSError):
            if how in ("endless", "dripping"):
                go_on(line, how)
            elif how != "silent":
                line.sendall(ANSWERS.get(how, UNWILLING))
                line.close()


def go_on(line: socket.socket, how: str) -> None:
    never = threading.Event()
    line.sendall(b"0\n")
    while not never.wait(0.05 if how == "dripping" else 0.0):
        line.sendall(b"x" if how == "dripping" else b"x" * 65536)


def plant_dump(how: str, where: Path) -> None:
    secret = where.parent / "secret"
    if how == "linked dump":
        where.symlink_to("/etc/passwd")
    elif how == "second name of a dump":
        secret.write_text(SECRET)
        where.hardlink_to(secret)
        secret.rename(where.parent.parent / f".java_secret{os.getpid()}")
    elif how == "fifo for a dump":
        os.mkfifo(where)
    elif how == "sparse dump":
        where.write_text(SECRET)
        os.truncate(where, 1 << 42)
    elif how == "spoilt dump":
        where.write_bytes(SECRET.encode() + bytes(1000))


def plant(how: str, where: Path, folder: Path) -> socket.socket | None:
    if how in ("silent", "endless", "dripping", "garbage", "unlucky", "unwilling", *DUMPS):
        return listen(where, how)
    if how == "link":
        where.symlink_to(folder / "elsewhere")
        return listen(folder / "elsewhere", "silent")
    if how == "fifo":
        os.mkfifo(where)
    elif how == "file":
        where.write_text("0\nyours\n")
    return None


def answer(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    how, folder = sys.argv[1], Path(sys.argv[2])
    seen: list[int] = []
    if how != "careless":
        catch_signals(seen)
    mapped = map_library(folder)
    where = Path(f"/tmp/.java_pid{os.getpid()}")
    where.unlink(missing_ok=True)  # of an earlier process of this number that was killed
    planted = plant(how, where, folder)
    answer("ready")
    try:
        for _ in sys.stdin:
            answer(str(len(seen)))
    finally:
        del mapped, planted
        where.unlink(missing_ok=True)


main()
