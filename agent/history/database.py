"""Opens the SQLite files of the history: private to their owner, checked, set aside when they are damaged."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _DamagedError(sqlite3.DatabaseError):
    """Found by looking."""


def open_or_begin_anew(
    path: Path, schema: str, say: Callable[[str], None], *, shared: bool = True
) -> sqlite3.Connection:
    """Return a connection; a damaged file is set aside under another name, said, and a new one begun.

    A file that is not shared can be opened by nobody else meanwhile; the index of its journal is then kept in
    memory (https://sqlite.org/wal.html#noshm), where it costs no page of the disk at every transaction.
    Raises sqlite3.Error or OSError where neither can be opened.
    """
    try:
        return _open(path, schema, shared=shared)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        aside = path.with_name(f"{path.name}.unusable")
        for suffix in ("", "-wal", "-shm"):  # an old journal would be played into the new file
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).replace(f"{aside}{suffix}")
        say(f"{error}; set aside as {aside.name}")
        return _open(path, schema, shared=shared)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, and not the disk, its owner or its mode."""
    return isinstance(error, _DamagedError) or getattr(error, "sqlite_errorcode", None) in _DAMAGED


def _open(path: Path, schema: str, *, shared: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        path.chmod(0o600)
        if not shared:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = OFF")  # a new file: the first poll waits for no slow disk
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA cache_size = -256")  # kB: each page is written once, and read at the start
        _check(connection)
        connection.executescript(schema)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise _DamagedError(found)
