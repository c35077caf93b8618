"""A private folder that a process and we both see: lines to run go in, an answer of bounded size comes out.

It is made in the process's own view of the files (/proc/PID/root), so that a container or a chroot makes no
difference, step by step through descriptors, so that no link leads elsewhere, and only in a folder that every
user may write to: we never write where the process could not.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import select
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.evidence.rights import READ

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.procfs import HeldProcess

FOLDERS = ("tmp", "dev/shm", "var/tmp")
MAX_ANSWER_BYTES = 1_000_000
STALE_S = 600.0
"""No exchange takes that long: one that is older was left behind."""
MAX_SWEPT = 10_000
"""Entries of /tmp looked at."""
END = b"end\n"
"""The last line of a whole answer."""

_NAME = re.compile(r"leakwatch-[0-9a-f]{32}")
_SLICE_MS = 50
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FIFO = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOR_EVERYBODY = stat.S_ISVTX | stat.S_IWOTH | stat.S_IXOTH


class Exchange:
    """The folder while it exists; `path` is what the process calls it."""

    def __init__(self, path: str, folder: int, fifo: int) -> None:
        self.path = path
        self._folder = folder
        self._fifo = fifo

    @property
    def answer_path(self) -> str:
        """Where the process writes its answer."""
        return f"{self.path}/answer"

    def put(self, name: str, content: str) -> str:
        """Write a file that every user may read and nobody can find; return its path. Raises OSError."""
        fd = os.open(name, _CREATE, 0o600, dir_fd=self._folder)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(content)
            os.fchmod(fd, 0o644)
        return f"{self.path}/{name}"

    def read(self, timeout_s: float) -> bytes | None:
        """Return the answer; None where none has come whole in that time, or it is too long."""
        answer = bytearray()
        waiting = select.poll()
        waiting.register(self._fifo, select.POLLIN)
        for _ in range(max(1, round(timeout_s * 1000 / _SLICE_MS))):
            if not waiting.poll(_SLICE_MS):
                continue
            chunk = os.read(self._fifo, MAX_ANSWER_BYTES)
            answer += chunk
            if answer.endswith(END):
                return bytes(answer)
            if not chunk or len(answer) > MAX_ANSWER_BYTES:
                return None
        return None


def why_not(held: HeldProcess) -> str:
    """Return why no folder can be made; empty where one can. Nothing is made. Raises ProcessGoneError."""
    try:
        with held.folder("root") as root:
            if any(_usable(name, root) for name in FOLDERS):
                return ""
    except PermissionError:
        return READ
    return "has no /tmp, /dev/shm or /var/tmp that every user may write to"


@contextmanager
def opened(held: HeldProcess) -> Iterator[Exchange]:
    """Make the folder, and remove it with all that is in it. Raises OSError."""
    with held.folder("root") as root, _shared(root) as (place, parent):
        name = f"leakwatch-{secrets.token_hex(16)}"
        os.mkdir(name, 0o700, dir_fd=parent)
        try:
            with _descriptor(os.open(name, _OPEN_FOLDER, dir_fd=parent)) as folder:
                _sweep(parent, folder)
                yield from _filled(f"/{place}/{name}", folder)
        finally:
            with suppress(OSError):
                os.rmdir(name, dir_fd=parent)


def _filled(path: str, folder: int) -> Iterator[Exchange]:
    """Yield the exchange in a new folder of our own, and empty it afterwards."""
    if os.fstat(folder).st_uid != os.geteuid():
        raise PermissionError("somebody else's folder lies where ours was made")
    os.fchmod(folder, 0o711)
    try:
        os.mkfifo("answer", 0o600, dir_fd=folder)
        with _descriptor(os.open("answer", _OPEN_FIFO, dir_fd=folder)) as fifo:
            if not stat.S_ISFIFO(os.fstat(fifo).st_mode):
                raise PermissionError("something else lies where our FIFO was made")
            os.fchmod(fifo, 0o622)
            yield Exchange(path, folder, fifo)
    finally:
        _empty(folder)


def _sweep(parent: int, newest: int) -> None:
    """Remove what captures that were killed have left there, by the age beside our newest folder."""
    now_s = os.fstat(newest).st_mtime
    with os.scandir(parent) as entries:
        old = [entry.name for entry in itertools.islice(entries, MAX_SWEPT) if _NAME.fullmatch(entry.name)]
    for name in old:
        with suppress(OSError), _descriptor(os.open(name, _OPEN_FOLDER, dir_fd=parent)) as folder:
            status = os.fstat(folder)
            if status.st_uid == os.geteuid() and now_s - status.st_mtime > STALE_S:
                _empty(folder)
                os.rmdir(name, dir_fd=parent)


def _empty(folder: int) -> None:
    for name in os.listdir(folder):
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


@contextmanager
def _shared(root: int) -> Iterator[tuple[str, int]]:
    """Open the first folder that everybody may write to."""
    for name in FOLDERS:
        if _usable(name, root):
            with _walked(name, root) as fd:
                yield name, fd
                return
    raise PermissionError("no folder that every user may write to")


def _usable(name: str, root: int) -> bool:
    with suppress(OSError), _walked(name, root) as fd:
        for_everybody = os.fstat(fd).st_mode & _FOR_EVERYBODY == _FOR_EVERYBODY
        return for_everybody and not os.fstatvfs(fd).f_flag & os.ST_RDONLY
    return False


@contextmanager
def _walked(path: str, root: int) -> Iterator[int]:
    """Open a folder below another one, following no link on the way. Raises OSError."""
    at = os.dup(root)
    try:
        for part in path.split("/"):
            following = os.open(part, _OPEN_FOLDER, dir_fd=at)
            os.close(at)
            at = following
        yield at
    finally:
        os.close(at)


@contextmanager
def _descriptor(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
