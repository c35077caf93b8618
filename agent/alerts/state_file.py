"""The SQLite file under the outbox: migrations, corruption set aside, memory in its place at a full disk."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)
T = TypeVar("T")

BUSY_TIMEOUT_S = 0.5
"""How long another process that writes is waited for; the poll waits behind it."""
FILE_MODE = 0o600
"""Alerts quote command lines; SQLite gives its -wal and -shm files the mode of the database."""

_CORRUPT = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB, https://www.sqlite.org/rescode.html."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE incidents (
            id TEXT PRIMARY KEY, service TEXT NOT NULL, subject TEXT NOT NULL, open INTEGER NOT NULL,
            incident TEXT NOT NULL, updated_wall_s REAL NOT NULL
        )""",
        """CREATE TABLE deliveries (
            id TEXT PRIMARY KEY, incident_id TEXT NOT NULL, sequence INTEGER NOT NULL, channel TEXT NOT NULL,
            alert TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
            attempted_wall_s REAL NOT NULL DEFAULT 0, next_attempt_wall_s REAL NOT NULL DEFAULT 0,
            state TEXT NOT NULL DEFAULT 'pending', last_error TEXT NOT NULL DEFAULT '',
            created_wall_s REAL NOT NULL, sent_wall_s REAL, hold_until_wall_s REAL NOT NULL DEFAULT 0,
            UNIQUE (incident_id, sequence, channel)
        )""",
        """CREATE INDEX deliveries_pending ON deliveries (incident_id, channel, sequence)
            WHERE state = 'pending'""",
    ),
    (
        """CREATE TABLE story (
            incident_id TEXT NOT NULL, sequence INTEGER NOT NULL, at_wall_s REAL NOT NULL,
            transition TEXT NOT NULL, alert TEXT NOT NULL, PRIMARY KEY (incident_id, sequence)
        )""",
        """CREATE TABLE notes (
            channel TEXT NOT NULL, incident_id TEXT NOT NULL, note TEXT NOT NULL,
            PRIMARY KEY (channel, incident_id)
        )""",
        """CREATE TABLE silences (
            service TEXT PRIMARY KEY, from_wall_s REAL NOT NULL, until_wall_s REAL NOT NULL,
            by TEXT NOT NULL, why TEXT NOT NULL
        )""",
        """CREATE TABLE acknowledgements (
            incident_id TEXT PRIMARY KEY, at_wall_s REAL NOT NULL, by TEXT NOT NULL, why TEXT NOT NULL
        )""",
    ),
)
"""Statements that lead from one schema version to the next; PRAGMA user_version counts those done."""


class StateFileError(Exception):
    """The state file cannot be used by this version; the message says what to do."""


class StateFile:
    """One database behind one lock, for any thread. While it cannot be written, a copy in memory stands in.

    Raises OSError when the file can neither be opened nor made, StateFileError when a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._file: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None
        self._closed = False
        self._set_aside = ""
        try:
            self._file = self._open_or_begin_anew()
        except sqlite3.OperationalError as error:
            self._run_adrift(error, count_pending)

    @property
    def adrift(self) -> bool:
        """Whether memory stands in for the file."""
        return self._memory is not None

    @property
    def set_aside(self) -> str:
        """Where a database that was found corrupt is kept, and why; empty where none was."""
        return self._set_aside

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction and return its result; it is done again where the first try failed.

        Raises StateFileError after `close`.
        """
        with self._lock:
            if self._closed:
                raise StateFileError("the state file is closed")
            self._settle()
            if self._file is None:
                return _transact(self._memory or self._drift(), work)
            try:
                return _transact(self._file, work)
            except sqlite3.OperationalError as error:
                return self._run_adrift(error, work)
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                return self._run_anew(error, work)

    def close(self) -> None:
        """Write what memory holds if that is possible now, and close."""
        with self._lock:
            self._settle()
            if self._memory is not None:
                pending = _transact(self._memory, count_pending)
                log_event(logger, "stopped", level=logging.ERROR, unwritten_alerts=pending, file=self._path)
                self._memory.close()
                self._memory = None
            self._close_file()
            self._closed = True

    def _run_anew(self, error: sqlite3.Error, work: Callable[[sqlite3.Connection], T]) -> T:
        self._close_file()
        try:
            self._file = self._begin_anew(error)
        except (sqlite3.OperationalError, OSError) as trouble:
            return self._run_adrift(trouble, work)
        return _transact(self._file, work)

    def _run_adrift(self, error: Exception, work: Callable[[sqlite3.Connection], T]) -> T:
        memory = self._drift()
        result = _transact(memory, work)
        pending = _transact(memory, count_pending)
        why = f"state cannot be written: {error}; keeping {pending} alerts in memory"
        log_event(logger, "delayed", level=logging.ERROR, file=self._path, why=why)
        return result

    def _drift(self) -> sqlite3.Connection:
        """Go on in memory with a copy of the file, an empty one where it cannot even be read."""
        memory = _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        if self._file is not None:
            with suppress(sqlite3.Error):
                _copy(self._file, memory)
        self._close_file()
        self._memory = memory
        return memory

    def _settle(self) -> None:
        """Bring what memory holds back to the file, if that works by now."""
        if self._memory is None:
            return
        file = None
        try:
            file = self._open_or_begin_anew()
            _copy(self._memory, file)
        except (sqlite3.DatabaseError, OSError, StateFileError):
            if file is not None:
                file.close()
            return
        pending = _transact(self._memory, count_pending)
        self._memory.close()
        self._memory, self._file = None, file
        log_event(logger, "stored", file=self._path, why="state can be written again", pending_alerts=pending)

    def _open_or_begin_anew(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            return self._begin_anew(error)

    def _begin_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        """Set a corrupt database aside with its journal, say so, and begin a new one."""
        kept = _put_aside(self._path)
        self._set_aside = f"the state was corrupt ({error}) and is kept as {kept.name}"
        why = f"{error}; a new state is begun, alerts that were waiting in the old one are not sent"
        log_event(logger, "refused", level=logging.ERROR, file=self._path, kept=kept, why=why)
        return _open(self._path)

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None


def _open(path: Path) -> sqlite3.Connection:
    _make_private(path)
    connection = sqlite3.connect(path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _check(connection)
        return _prepared(connection)
    except BaseException:
        connection.close()
        raise


def _make_private(path: Path) -> None:
    """Make the file where there is none, readable by its owner alone. A full disk is SQLite's error."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise sqlite3.OperationalError(str(error)) from error
        raise
    try:
        os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _CorruptError(found)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Bring the schema up to date. Raises StateFileError for one from the future."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StateFileError(
            f"state was written by a newer leakwatch (schema {version}, this one knows {len(MIGRATIONS)}): "
            "install that version again, or move the state file away"
        )
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        _transact(connection, partial(_migrate, version=number, statements=statements))
    return connection


def _migrate(connection: sqlite3.Connection, version: int, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def _put_aside(path: Path) -> Path:
    """Rename a database with its journal and return what it is called now."""
    number = 1
    while (kept := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    path.rename(kept)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    return kept


def _transact(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already: https://www.sqlite.org/lang_transaction.html, 2.3.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Bring every row of the source to the target in one transaction; rows already there cost nothing."""

    def copy_all(_: sqlite3.Connection) -> None:
        for table in _tables(target):
            _copy_table(source, target, table)

    _transact(target, copy_all)


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    with closing(target.execute(f"SELECT * FROM {table}")) as cursor:  # noqa: S608 - names of our own tables
        known, marks = set(cursor), ", ".join("?" * len(cursor.description))
    rows = [row for row in source.execute(f"SELECT * FROM {table}") if row not in known]  # noqa: S608 - the same
    target.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - the same


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query)]


def count_pending(connection: sqlite3.Connection) -> int:
    """Return how many deliveries wait."""
    return int(connection.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'").fetchone()[0])


class _CorruptError(sqlite3.DatabaseError):
    """What PRAGMA quick_check found."""


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, _CorruptError) or (code or 0) & 0xFF in _CORRUPT
