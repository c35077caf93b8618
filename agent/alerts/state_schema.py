"""The tables of the state file, version by version, and how rows move from one file to another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""What is done with the database in one transaction."""

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
            service TEXT PRIMARY KEY, from_t_s REAL NOT NULL, from_wall_s REAL NOT NULL,
            until_wall_s REAL NOT NULL, by TEXT NOT NULL, why TEXT NOT NULL
        )""",
        """CREATE TABLE acknowledgements (
            incident_id TEXT PRIMARY KEY, at_wall_s REAL NOT NULL, by TEXT NOT NULL, why TEXT NOT NULL
        )""",
        """CREATE TABLE storms (
            id TEXT PRIMARY KEY, open INTEGER NOT NULL, storm TEXT NOT NULL, updated_wall_s REAL NOT NULL
        )""",
        "ALTER TABLE deliveries ADD COLUMN transition TEXT NOT NULL DEFAULT ''",
        *(
            f"""UPDATE deliveries SET transition = '{word}' WHERE alert LIKE '%"transition": "{word}"%'"""  # noqa: S608 - constants
            for word in ("opened", "worsened", "reminded", "resolved", "gone")
        ),
        """CREATE INDEX deliveries_waiting ON deliveries (channel, created_wall_s)
            WHERE state = 'pending'""",
        "CREATE INDEX deliveries_of_channel ON deliveries (channel, state)",
        "CREATE INDEX deliveries_parked ON deliveries (created_wall_s) WHERE state = 'parked'",
    ),
)
"""Statements that lead from one schema version to the next; PRAGMA user_version counts those done."""


class StateFileError(Exception):
    """The state file cannot be used by this version; the message says what to do."""


def prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Bring the schema up to date. Raises StateFileError for one from the future."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StateFileError(
            f"state was written by a newer leakwatch (schema {version}, this one knows {len(MIGRATIONS)}): "
            "install that version again, or move the state file away"
        )
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        transact(connection, partial(_migrate, version=number, statements=statements))
    return connection


def _migrate(connection: sqlite3.Connection, version: int, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def transact(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Do `work` and keep all or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled back already: https://www.sqlite.org/langtransaction.html, 2.3.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Bring every row of the source to the target in one transaction; rows already there cost nothing."""

    def copy_all(_: sqlite3.Connection) -> None:
        for table in _tables(target):
            _copy_table(source, target, table)

    transact(target, copy_all)


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    with closing(target.execute(f"SELECT * FROM {table}")) as cursor:  # noqa: S608 - names of our own tables
        known, marks = set(cursor), ", ".join("?" * len(cursor.description))
    rows = [row for row in source.execute(f"SELECT * FROM {table}") if row not in known]  # noqa: S608 - the same
    target.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 - the same


def _tables(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that hold something to keep; a full disk or a kill can leave `room` behind."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return [name for (name,) in connection.execute(query) if name != "room"]


def count_pending(connection: sqlite3.Connection) -> int:
    """Return how many deliveries wait."""
    return int(connection.execute("SELECT count(*) FROM deliveries WHERE state = 'pending'").fetchone()[0])
