"""One capture at a time on the host: a lock that every leakwatch of the same user asks for."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent.evidence.folder import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = Path("/run/lock")
"""Everybody may write there (hier(7) of Debian, file-hierarchy(7)): another user's file is not taken."""
_STEP_S = 0.05
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TakenError(Exception):
    """Somebody else takes a capture at the moment."""


@contextmanager
def our_turn(directory: Path, wait_s: float, shared: Path | None = None) -> Iterator[None]:
    """Hold the lock of the host in `shared`; without it, or where it is another's, that of `directory`.

    A file of mode 0600 by user: nobody else can hold it to keep us from taking evidence.
    Raises TakenError when it is not free within `wait_s`, FolderError, OSError.
    """
    fd = _open(directory, shared)
    try:
        _lock(fd, wait_s)
        yield
    finally:
        os.close(fd)


def _open(directory: Path, shared: Path | None) -> int:
    if shared is not None:
        with suppress(OSError):
            fd = os.open(shared / f"leakwatch-capture-{os.geteuid()}.lock", _OPEN, 0o600)
            if _own(fd):
                return fd
            os.close(fd)
    with opened(str(directory)) as fd:
        return os.dup(fd)


def _own(fd: int) -> bool:
    found = os.fstat(fd)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _lock(fd: int, wait_s: float) -> None:
    pause = threading.Event()
    for _ in range(1 + round(wait_s / _STEP_S)):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        pause.wait(_STEP_S)
    raise TakenError("captures: another capture is being taken on this host")
