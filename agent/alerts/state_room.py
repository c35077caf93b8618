"""Room that the state file keeps for itself, so that a full disk does not stop it from being written."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

ROOM_BYTES = 1_000_000
"""About a hundred alerts; the journal takes as much once more."""
_LARGEST_TRANSACTION_BYTES = 400_000
"""What the journal must still hold when it is due to be emptied."""


def keep_room(connection: sqlite3.Connection, room_bytes: int = ROOM_BYTES) -> None:
    """Make the database and its journal as long as they need to be when nothing more can be had.

    Free pages stay in the file (https://www.sqlite.org/fileformat2.html#the_freelist) and the journal is
    overwritten from its beginning once it was emptied into the file (https://www.sqlite.org/wal.html, 2.3):
    what is written then takes no new block of the disk. Where there is no room for it, all stays as it is.
    """
    page_bytes = _number(connection, "page_size")
    emptied_at_pages = max(1, (room_bytes - _LARGEST_TRANSACTION_BYTES) // page_bytes)
    with suppress(sqlite3.Error):
        if _number(connection, "freelist_count") * page_bytes < room_bytes // 2:
            _grow(connection, room_bytes)
            connection.execute("PRAGMA shrink_memory")  # its pages went through the cache
        connection.execute(f"PRAGMA wal_autocheckpoint = {emptied_at_pages}")


def _grow(connection: sqlite3.Connection, room_bytes: int) -> None:
    """Take the room and give it back to the file; in one transaction its pages would never be written."""
    synchronous = _number(connection, "synchronous")
    connection.execute("PRAGMA synchronous = NORMAL")  # nobody would miss it
    try:
        connection.execute("DROP TABLE IF EXISTS room")  # of one that was killed at this
        connection.execute("CREATE TABLE room (content BLOB)")
        try:
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (room_bytes,))
            connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            connection.execute("DROP TABLE room")
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    finally:
        connection.execute(f"PRAGMA synchronous = {synchronous}")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
