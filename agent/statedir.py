"""Where the state lies, and the lock that keeps a second instance out of it."""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_DIRECTORY = Path("/var/lib/leakwatch")
LOCK_NAME = "lock"
STATE_FILE = "state.db"
"""Incidents, their stories and what is to be delivered."""
MAX_PID_CHARS = 20
LOCK_ATTEMPTS = 5
LOCK_PAUSE_S = 0.02


class StateError(Exception):
    """Why the state directory cannot be used, in a sentence for people."""


def choose(configured: str | None, environ: Mapping[str, str], uid: int) -> Path:
    """Return the directory: as configured, else systemd's, else the user's or the system's own.

    Raises StateError when the user has no home directory to put it in.
    """
    if configured:
        return Path(configured).expanduser().absolute()
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):  # the XDG base directory specification: a relative one is ignored
        return Path(base) / "leakwatch"
    if uid == 0:
        return SYSTEM_DIRECTORY
    return _home(environ, uid) / ".local" / "state" / "leakwatch"


def create(directory: Path) -> None:
    """Make the directory, mode 0700, if it does not exist. Raises StateError when it cannot be used."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise StateError(f"state directory {directory}: {error.strerror}") from None
    if mode & stat.S_IWOTH:
        raise StateError(f"state directory {directory}: everybody may write there; choose one of its own")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StateError(f"state directory {directory}: not writable by this user")


class InstanceLock:
    """Held by the one instance that may write to a state directory; ends with the process at the latest.

    A context manager. The file holds the pid of its latest holder.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises StateError that names who has it."""
        path = self._directory / LOCK_NAME
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"lock {path}: {error.strerror}") from None
        if not _lock(fd):
            holder = os.pread(fd, MAX_PID_CHARS, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise StateError(
                f"another leakwatch (pid {holder or 'unknown'}) uses {self._directory}; "
                "stop it, or choose another state directory"
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give it back; harmless when it is not held. The file stays: removing it could let two in."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


def _lock(fd: int) -> bool:
    """Take the lock; tried again for a moment, as `leakwatch status` holds it while it asks."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            select.select([], [], [], LOCK_PAUSE_S)
        else:
            return True
    return False


def _home(environ: Mapping[str, str], uid: int) -> Path:
    home = environ.get("HOME", "")
    if home.startswith("/"):
        return Path(home)
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        raise StateError(
            f"state directory: user {uid} has no home directory; set state_dir or STATE_DIRECTORY"
        ) from None


def user_name(uid: int) -> str:
    """Return the name of a user; "#" and the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
