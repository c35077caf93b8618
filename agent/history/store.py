"""The history on disk: what a restart of the agent must not forget, one row a minute for everybody together.

Two resolutions are kept, as blocks (floor and peak of each series): fine ones for about a day, coarse ones
for a month. A row holds the blocks of all processes of that time: a poll costs no row and a minute costs one.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from agent.history import packing
from agent.history.database import is_damage, open_or_begin_anew
from agent.logs import log_event
from agent.model import ProcessKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

Item_contra = TypeVar("Item_contra", contravariant=True)

FINE_KEPT_S = 26 * 3600.0
COARSE_KEPT_S = 30 * 86400.0
MAX_WAITING_ROWS = 60
"""Rows that wait for a slow disk; beyond it the oldest are given up, and said so once."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS processes (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, birth_t_s REAL NOT NULL, seen_t_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS spans (
    coarse INTEGER NOT NULL, t_s REAL NOT NULL, data BLOB NOT NULL, PRIMARY KEY (coarse, t_s)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """The blocks of one time span, of everybody."""

    coarse: bool
    t_s: float
    """When the span began, on the boot clock."""
    keys: tuple[ProcessKey, ...]
    births_t_s: tuple[float, ...]
    floors: NDArray[np.float64]
    """Shape (processes, series); NaN where nothing was seen."""
    peaks: NDArray[np.float64]


class Stored(NamedTuple):
    """What is stored of one time span, of those who were asked for."""

    coarse: bool
    t_s: float
    """When the span began, on the boot clock."""
    floors: NDArray[np.float64]
    """Shape (processes, series); NaN where nothing is stored."""
    peaks: NDArray[np.float64]


class HistoryStore:
    """Rows in SQLite; one thread at a time. History of an earlier boot is dropped: its clock means nothing.

    A damaged file is set aside under another name and a new one begun; one that cannot be opened is tried
    again at every row. History is a convenience: its loss is said but never stops the watch.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._ids: dict[ProcessKey, int] = {}
        self._connection: sqlite3.Connection | None = None
        try:
            self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            log_event(logger, "history", level=logging.ERROR, file=path, why=f"cannot be opened: {error}")

    def append(self, row: Row) -> None:
        """Store one row. Raises sqlite3.Error or OSError when it cannot be written."""
        if self._connection is None:
            self._connection = self._open()
        try:
            self._append(self._connection, row)
        except sqlite3.Error as error:
            self._ids.clear()  # what was rolled back gave them no numbers
            if is_damage(error):
                self.close()
            raise

    def _append(self, connection: sqlite3.Connection, row: Row) -> None:
        with connection:
            for key, birth in zip(row.keys, row.births_t_s, strict=True):
                self._note(connection, key, birth, row.t_s)
            data = self._pack(row)
            connection.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?)", (row.coarse, row.t_s, data))
            kept_s = COARSE_KEPT_S if row.coarse else FINE_KEPT_S
            ended_t_s = row.t_s - kept_s
            connection.execute("DELETE FROM spans WHERE coarse = ? AND t_s < ?", (row.coarse, ended_t_s))
            if row.coarse:
                self._forget_ended(connection, row)

    def _forget_ended(self, connection: sqlite3.Connection, row: Row) -> None:
        """Note who still lives, and drop whom nothing was seen of for as long as coarse blocks are kept."""
        self._ids = {key: self._ids[key] for key in row.keys}
        seen = [(row.t_s, number) for number in self._ids.values()]
        connection.executemany("UPDATE processes SET seen_t_s = ? WHERE id = ?", seen)
        connection.execute("DELETE FROM processes WHERE seen_t_s < ?", (row.t_s - COARSE_KEPT_S,))

    def births(self) -> dict[ProcessKey, float]:
        """Return since when each stored process was watched."""
        if self._connection is None:
            return {}
        rows = self._connection.execute("SELECT key, birth_t_s FROM processes")
        return {ProcessKey.parse(key): birth for key, birth in rows}

    def rows(self, keys: Sequence[ProcessKey], series: int) -> Iterator[Stored]:
        """Return what is stored of these processes, oldest first: coarse rows, then the fine ones."""
        if self._connection is None:
            return
        ids = dict(self._connection.execute("SELECT key, id FROM processes"))
        position = np.full(max(ids.values(), default=0) + 1, -1, dtype=np.intp)
        for at, key in enumerate(keys):
            if str(key) in ids:
                position[ids[str(key)]] = at
        query = (
            "SELECT coarse, t_s, data FROM spans WHERE NOT coarse OR t_s <"
            " (SELECT ifnull(min(t_s), 1e18) FROM spans WHERE NOT coarse) ORDER BY coarse DESC, t_s"
        )
        for coarse, t_s, data in self._connection.execute(query):
            floors = np.full((len(keys), series), np.nan)
            peaks = floors.copy()
            _unpack_into(floors, peaks, data, position)
            yield Stored(bool(coarse), t_s, floors, peaks)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        connection = open_or_begin_anew(self._path, _SCHEMA, _say, shared=False)
        try:
            self._drop_earlier_boot(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop_earlier_boot(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT value FROM meta WHERE name = 'boot'").fetchone()
        if row is not None and row[0] == self._boot_id:
            return
        with connection:
            connection.execute("DELETE FROM spans")
            connection.execute("DELETE FROM processes")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (self._boot_id,))

    def _note(self, connection: sqlite3.Connection, key: ProcessKey, birth_t_s: float, t_s: float) -> None:
        if key in self._ids:
            return
        connection.execute(
            "INSERT INTO processes (key, birth_t_s, seen_t_s) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (str(key), birth_t_s, t_s),
        )
        (number,) = connection.execute("SELECT id FROM processes WHERE key = ?", (str(key),)).fetchone()
        self._ids[key] = number

    def _pack(self, row: Row) -> bytes:
        process, series = np.nonzero(np.isfinite(row.floors))
        ids = np.array([self._ids[key] for key in row.keys], dtype=np.uint32)
        floors, peaks = (one[process, series].astype(np.float32) for one in (row.floors, row.peaks))
        return packing.pack(ids[process], series.astype(np.uint8), floors, peaks)


def _say(why: str) -> None:
    log_event(logger, "history", level=logging.ERROR, why=why)


def _unpack_into(
    floors: NDArray[np.float64], peaks: NDArray[np.float64], data: bytes, position: NDArray[np.intp]
) -> None:
    """Fill in the blocks of one span; `position` of a stored number is the row it is wanted in, or -1."""
    try:
        process, kinds, low, high = packing.unpack(data)
    except ValueError:  # one span of many: what is left is worth more than none
        return
    known = (process < len(position)) & (kinds < floors.shape[1])
    places = position[np.where(known, process, 0)]
    known &= places >= 0
    at = (places[known], kinds[known])
    floors[at], peaks[at] = low[known], high[known]


class Store(Protocol[Item_contra]):
    """What a writer writes to."""

    def append(self, row: Item_contra, /) -> None:
        """Store one row. Raises sqlite3.Error or OSError when it cannot be written."""
        ...


class HistoryWriter(Generic[Item_contra]):
    """Writes rows on a thread of its own: a slow disk never delays a poll."""

    def __init__(self, store: Store[Item_contra], name: str = "leakwatch-history") -> None:
        self._store = store
        self._queue: queue.Queue[Item_contra | None] = queue.Queue(MAX_WAITING_ROWS)
        self._failed = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to write; once."""
        self._thread.start()

    def put(self, row: Item_contra) -> None:
        """Hand over a row; returns at once. When too many wait, the oldest is given up."""
        while True:
            try:
                self._queue.put_nowait(row)
            except queue.Full:
                self._give_up_oldest()
            else:
                return

    def stop(self, timeout_s: float) -> bool:
        """Write what waits and end; True when that was done in time."""
        if not self._thread.is_alive():
            return True
        self._put_end()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put_end(self) -> None:
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._give_up_oldest()
            self._put_end()

    def _give_up_oldest(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return
        self._say("the disk is too slow; some history is given up")

    def _run(self) -> None:
        while (row := self._queue.get()) is not None:
            self._attempt(lambda row=row: self._store.append(row))  # type: ignore[misc]

    def _attempt(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (sqlite3.Error, OSError) as error:
            self._say(f"cannot be written: {error}")
        else:
            self._failed = ""

    def _say(self, why: str) -> None:
        if why != self._failed:
            self._failed = why
            _say(why)
