"""Speaks to one JVM as its own user: a program of its own, so that it can be killed at any moment.

It runs with `python -I -S`, imports nothing of ours and is given descriptors in place of paths. Its real user
stays the one it was started by: the JVM's user can neither signal nor trace it. What it says is on standard
output, the reason why it could not on standard error. HotSpot's protocol:
https://github.com/openjdk/jdk/blob/master/src/hotspot/os/posix/attachListener_posix.cpp
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOL = b"1"
ARGUMENTS = 3
"""So many follow every command of protocol 1."""
CHUNK_BYTES = 65536
WAIT_S = 0.02
"""Between two looks for the socket of a JVM that has been asked to open it; the JDK begins with as much."""
DUMP_FILE = "heap.hprof"
NOT_SENT, SENT = b"?", b"!"
"""What a file that asks for the socket begins with, before the start of the run that it asks."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LateError(Exception):
    """The time is up; no OSError, which would be taken for a file's."""


class Task(NamedTuple):
    """What the arguments say."""

    process_fd: int
    """The folder /proc/PID, which follows the process."""
    tmp_fd: int
    """The folder /tmp of the JVM's own mount namespace."""
    pid: int
    start_ticks: int
    inner_pid: int
    uid: int
    gid: int
    timeout_ms: int
    max_bytes: int


def main(arguments: Sequence[str]) -> None:
    """Do one of ask (send a command, print the answer), make and sweep (the folder for a heap dump)."""
    verb, text, *numbers = arguments
    task = Task(*map(int, numbers))
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, task.timeout_ms / 1000)
    try:
        _become(task.uid, task.gid)
        {"ask": _ask, "make": _make, "sweep": _sweep}[verb](task, text)
    except LateError:
        _fail("no whole answer in time: the JVM is busy, or stopped")
    except OSError as error:
        _fail(error.strerror or type(error).__name__)


def _late(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - what a handler is called with
    """End whatever it does: also an answer that comes drop by drop."""
    raise LateError


def _become(uid: int, gid: int) -> None:
    if (uid, gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.setgroups([gid])
        os.setegid(gid)
        os.seteuid(uid)
    except PermissionError:
        _fail("needs root, or the JVM's own user: it answers no other")


def _ask(task: Task, command: str) -> None:
    with contextlib.closing(_connected(task) or _attached(task)) as line:
        _remove(f".attach_pid{task.inner_pid}", task.tmp_fd)
        words = [PROTOCOL, b"jcmd", command.encode(), *[b""] * (ARGUMENTS - 1)]
        line.sendall(b"".join(word + b"\0" for word in words))
        size_bytes = 0
        while chunk := line.recv(CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > task.max_bytes:
                _fail(f"its answer is longer than {task.max_bytes // 1_000_000}MB")
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def _connected(task: Task) -> socket.socket | None:
    """Return a connection to the JVM's socket; None where it listens on none.

    Anybody who can write to /tmp can put something in its place, and containers can share a /tmp: no link is
    followed, nothing but a socket of its user is touched, and the kernel must say that this process listens.
    """
    name = f".java_pid{task.inner_pid}"
    try:
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=task.tmp_fd)
    except FileNotFoundError:
        return None
    try:
        about = os.fstat(file)
        if not stat.S_ISSOCK(about.st_mode) or about.st_uid not in (task.uid, 0):
            _fail(f"{name} in its /tmp is not its socket")
        return _connect(task, f"/proc/self/fd/{file}", name)
    finally:
        os.close(file)


def _connect(task: Task, path: str, name: str) -> socket.socket | None:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(path)
    except ConnectionRefusedError:  # left behind by an earlier process of that number
        line.close()
        return None
    peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", peer)[0] != task.pid:
        line.close()
        _fail(f"{name} in its /tmp belongs to another process")
    return line


def _attached(task: Task) -> socket.socket:
    """Let the JVM open its socket: SIGQUIT, while a file of ours says that it is not for a thread dump."""
    _ask_for_socket(task)
    while True:
        select.select([], [], [], WAIT_S)
        if line := _connected(task):
            return line


def _ask_for_socket(task: Task) -> None:
    """Send the signal, once in the process's life until it has answered.

    It may stand still (a collection, a frozen cgroup) and look for the file when we have long given up: to
    take the file away, or to send a second signal, would be answered by a thread dump on the program's own
    output. So the file stays, and says which run the signal was sent to.
    """
    name = f".attach_pid{task.inner_pid}"
    run = b"%d" % task.start_ticks
    if _content(name, task.tmp_fd) == SENT + run:
        return
    _check_signals(task.process_fd)
    file = _create(name, task.tmp_fd, NOT_SENT + run)
    try:
        os.kill(task.pid, signal.SIGQUIT)
        os.pwrite(file, SENT, 0)
    finally:
        os.close(file)


def _content(name: str, folder: int) -> bytes:
    """Return what stands in the file; nothing where it is missing, or not of the JVM's user."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        return b""
    try:
        about = os.fstat(file)
        ours = stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
        return os.read(file, CHUNK_BYTES) if ours else b""
    finally:
        os.close(file)


def _create(name: str, folder: int, content: bytes) -> int:
    """Make the file anew, HotSpot wants it to be its user's, and return it, open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _remove(name, folder)
        file = os.open(name, flags, 0o600, dir_fd=folder)
        os.write(file, content)
    except OSError as error:
        _fail(f"{name} cannot be put into its /tmp: {error.strerror}")
    return file


def _remove(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _check_signals(process_fd: int) -> None:
    """Make sure once more that the signal ends nobody: a process can become another program."""
    file = os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        caught = re.search(rb"^SigCgt:\s*([0-9a-f]+)$", os.read(file, CHUNK_BYTES), re.MULTILINE)
    finally:
        os.close(file)
    if caught is None or not int(caught[1], 16) >> (signal.SIGQUIT - 1) & 1:
        _fail("it does not catch SIGQUIT any more")


def _make(task: Task, name: str) -> None:
    _sweep(task, name)
    os.mkdir(name, 0o700, dir_fd=task.tmp_fd)


def _sweep(task: Task, name: str) -> None:
    try:
        folder = os.open(name, _FOLDER_FLAGS, dir_fd=task.tmp_fd)
    except FileNotFoundError:
        return
    try:
        _remove(DUMP_FILE, folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=task.tmp_fd)


def _fail(why: str) -> NoReturn:
    sys.stderr.write(f"{why}\n")
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
