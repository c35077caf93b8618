"""The SQLite file under the outbox: corruption set aside, memory in its place at a full disk."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from agent.alerts.state_room import keep_room
from agent.alerts.state_schema import StateFileError, copy, count_pending, prepared, transact
from agent.logs import log_event

if TYPE_CHECKING:
    from pathlib import Path

    from agent.alerts.state_schema import Work

logger = logging.getLogger(__name__)
T = TypeVar("T")
BUSY_TIMEOUT_S = 0.5
"""How long another process that writes is waited for; the poll waits behind it."""
FILE_MODE = 0o600
"""Alerts quote command lines; SQLite gives its -wal and -shm files the mode of the database."""

_CORRUPT = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB, https://www.sqlite.org/rescode.html."""


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
        self._read_lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
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

    def run(self, work: Work[T]) -> T:
        """Do `work` in one transaction and return its result; it is done again where the first try failed.

        Raises StateFileError after `close`.
        """
        with self._lock:
            if self._closed:
                raise StateFileError("the state file is closed")
            self._settle()
            if self._file is None:
                return transact(self._memory or self._drift(), work)
            try:
                return transact(self._file, work)
            except sqlite3.OperationalError as error:
                return self._run_adrift(error, work)
            except sqlite3.DatabaseError as error:
                if not _is_corrupt(error):
                    raise
                return self._run_anew(error, work)

    def read(self, work: Work[T]) -> T:
        """Do `work` that changes nothing; while the file works it waits for no writer and no slow disk.

        Raises StateFileError after `close`.
        """
        with self._read_lock, suppress(sqlite3.Error):
            if self._file is not None:
                self._reader = self._reader or _reader(self._path)
                return work(self._reader)
        return self.run(work)

    def keep_room(self) -> None:
        """Take room on the disk beforehand, so that a full one does not stop the file from being written.

        To be called now and then; where the room is there it costs nothing.
        """
        with self._lock:
            if self._file is not None:
                keep_room(self._file)

    def close(self) -> None:
        """Write what memory holds if that is possible now, and close."""
        with self._lock:
            self._settle()
            if self._memory is not None:
                pending = transact(self._memory, count_pending)
                log_event(logger, "stopped", level=logging.ERROR, unwritten_alerts=pending, file=self._path)
                self._memory.close()
                self._memory = None
            self._close_file()
            self._closed = True

    def _run_anew(self, error: sqlite3.Error, work: Work[T]) -> T:
        self._close_file()
        try:
            self._file = self._begin_anew(error)
        except (sqlite3.OperationalError, OSError) as trouble:
            return self._run_adrift(trouble, work)
        return transact(self._file, work)

    def _run_adrift(self, error: Exception, work: Work[T]) -> T:
        memory = self._drift()
        result = transact(memory, work)
        pending = transact(memory, count_pending)
        why = f"state cannot be written: {error}; keeping {pending} alerts in memory"
        log_event(logger, "delayed", level=logging.ERROR, file=self._path, why=why)
        return result

    def _drift(self) -> sqlite3.Connection:
        """Go on in memory with a copy of the file, an empty one where it cannot even be read."""
        memory = prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        if self._file is not None:
            with suppress(sqlite3.Error):
                copy(self._file, memory)
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
            copy(self._memory, file)
        except (sqlite3.DatabaseError, OSError, StateFileError):
            if file is not None:
                file.close()
            return
        pending = transact(self._memory, count_pending)
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
        with self._read_lock:
            file, reader, self._file, self._reader = self._file, self._reader, None, None
        for connection in (reader, file):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()


def _open(path: Path) -> sqlite3.Connection:
    if _make_private(path):
        _begin(path)
    connection = sqlite3.connect(path, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _check(connection)
        return prepared(connection)
    except BaseException:
        connection.close()
        raise


def _begin(path: Path) -> None:
    """Fill a new file: nothing can be lost of it yet, so the disk is waited for once and not at every step.

    It is opened beside SQLite only while no connection is: closing it would give up SQLite's locks of it
    (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
    """
    with closing(sqlite3.connect(path, BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        prepared(connection)
    try:
        for place in (path, path.parent):
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error


def _reader(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"  # which makes no file where there is none
    connection = sqlite3.connect(uri, BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=True)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _make_private(path: Path) -> bool:
    """Make the file where there is none, readable by its owner alone; return whether nothing is in it yet.

    A full disk is SQLite's error.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise sqlite3.OperationalError(str(error)) from error
        raise
    try:
        os.fchmod(descriptor, FILE_MODE)
        return os.fstat(descriptor).st_size == 0
    finally:
        os.close(descriptor)


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _CorruptError(found)


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


class _CorruptError(sqlite3.DatabaseError):
    """What PRAGMA quick_check found."""


def _is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, _CorruptError) or (code or 0) & 0xFF in _CORRUPT
