"""The state file as another process opens it while the daemon runs: to look, or to leave it a word."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Self, TypeVar

from agent.alerts.state_schema import MIGRATIONS, StateFileError, transact

if TYPE_CHECKING:
    from pathlib import Path

    from agent.alerts.state_schema import Work

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""How long the daemon's own writing is waited for; it waits for ours much shorter, so ours are short."""


class Visit:
    """A context manager. Raises StateFileError, in a sentence for people, for all that can be wrong."""

    def __init__(self, path: Path, *, writes: bool = False) -> None:
        self._path = path
        self._writes = writes
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._check_access()
        uri = f"{self._path.absolute().as_uri()}?mode={'rw' if self._writes else 'ro'}"
        try:
            self._connection = sqlite3.connect(uri, BUSY_TIMEOUT_S, isolation_level=None, uri=True)
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            self._close()
            raise StateFileError(f"{self._path}: cannot be read: {error}") from None
        if version != len(MIGRATIONS):
            self._close()
            age = "an older" if version < len(MIGRATIONS) else "a newer"
            raise StateFileError(
                f"{self._path}: written by {age} leakwatch (schema {version}, this one knows "
                f"{len(MIGRATIONS)}); ask with the version that runs"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self, work: Work[T]) -> T:
        """Do work that changes nothing, seeing one moment of the file."""
        return self._run("BEGIN", work)

    def write(self, work: Work[T]) -> T:
        """Do work in one transaction."""
        return self._run("", work)

    def _run(self, begin: str, work: Work[T]) -> T:
        if self._connection is None:
            raise StateFileError(f"{self._path}: is not open")
        try:
            if not begin:
                return transact(self._connection, work)
            self._connection.execute(begin)
            try:
                return work(self._connection)
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            doing = "read" if begin else "written"
            raise StateFileError(f"{self._path}: cannot be {doing}: {error}") from None

    def _check_access(self) -> None:
        try:
            self._path.stat()
        except FileNotFoundError:
            raise StateFileError(f"{self._path}: not there; has leakwatch run with this directory?") from None
        except OSError as error:
            raise StateFileError(
                f"{self._path}: {error.strerror}; ask as the user that leakwatch runs as"
            ) from None
        if not os.access(self._path, os.R_OK | (os.W_OK if self._writes else 0)):
            raise StateFileError(f"{self._path}: permission denied; ask as the user that leakwatch runs as")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
