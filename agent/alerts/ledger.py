"""The tables beside the outbox: every incident's story, storms, silences and acknowledgements."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agent.incident_parts import Acknowledgement
from agent.incidents import Incident
from agent.model import Alert, Instant
from agent.silences import Silence
from agent.storms import Storm

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from agent.alerts.state_schema import Work
    from agent.model import Evidence

T = TypeVar("T")

KEEP_STORMS_S = 30 * 86400.0


class Reads(Protocol):
    """What answers questions to the state file."""

    def read(self, work: Work[T]) -> T:
        """Do work that changes nothing and return its result."""
        ...


class Ledger:
    """What the daemon asks of these tables at every tick, and what it writes besides transitions.

    Commands write silences and acknowledgements from other processes while the daemon runs.
    """

    def __init__(self, file: Reads, write: Callable[[Work[None]], None]) -> None:
        self._file = file
        self._write = write

    def inbox(self) -> tuple[tuple[Silence, ...], dict[str, Acknowledgement]]:
        """Return the silences, those that are over included, and acknowledgements by incident."""
        return self._file.read(lambda c: (silences(c), acknowledgements(c)))

    def forget_silences(self, over: Iterable[Silence]) -> None:
        """Delete silences that are over; one that was asked for anew meanwhile stays."""
        keys = [(one.pattern, one.until_wall_s) for one in over]
        self._write(
            lambda c: _run_many(c, "DELETE FROM silences WHERE service = ? AND until_wall_s = ?", keys)
        )

    def forget_acknowledgements(self, incident_ids: Iterable[str]) -> None:
        """Delete acknowledgements that were taken over, or that are about nothing open."""
        keys = [(incident_id,) for incident_id in incident_ids]
        self._write(lambda c: _run_many(c, "DELETE FROM acknowledgements WHERE incident_id = ?", keys))

    def storms(self) -> tuple[Storm, ...]:
        """Return the storms that are not over, the oldest first; what cannot be read is left out."""
        query = "SELECT storm FROM storms WHERE open ORDER BY updated_wall_s, id"
        rows = self._file.read(lambda c: c.execute(query).fetchall())
        return tuple(storm for (text,) in rows if (storm := _read(Storm.from_json, text)))

    def save_storm(self, storm: Storm, now: Instant) -> None:
        """Store what became of a storm without anybody being told."""
        self._write(lambda c: store_storm(c, storm, now))

    def ended_since(self, wall_s: float) -> tuple[Incident, ...]:
        """Return the incidents that ended at that wall time or later, the latest last."""
        query = (
            "SELECT incident FROM incidents WHERE NOT open AND updated_wall_s >= ? ORDER BY updated_wall_s"
        )
        rows = self._file.read(lambda c: c.execute(query, (wall_s,)).fetchall())
        return tuple(incident for (text,) in rows if (incident := _read(Incident.from_json, text)))

    def alarms(self, incident_id: str) -> tuple[Alert, ...]:
        """Return the transitions of an incident that opened it or made it worse, the latest last."""
        query = (
            "SELECT alert FROM story WHERE incident_id = ? AND transition IN ('opened', 'worsened')"
            " ORDER BY sequence"
        )
        rows = self._file.read(lambda c: c.execute(query, (incident_id,)).fetchall())
        return tuple(alert for (text,) in rows if (alert := _read(Alert.from_json, text)))


def store_story(connection: sqlite3.Connection, alert: Alert) -> None:
    """Write one transition as it was, whoever was told of it."""
    connection.execute(
        "INSERT OR REPLACE INTO story VALUES (?, ?, ?, ?, ?)",
        (
            alert.incident_id,
            alert.sequence,
            alert.at_wall_s,
            str(alert.transition),
            json.dumps(alert.to_json() | {"course": ()}),
        ),
    )


def store_evidence(
    connection: sqlite3.Connection, incident_id: str, sequence: int, evidence: Evidence
) -> None:
    """Add what a capture found to the story of the transition that it was taken for."""
    place = (incident_id, sequence)
    query = "SELECT alert FROM story WHERE incident_id = ? AND sequence = ?"
    for (text,) in connection.execute(query, place).fetchall():
        # Not SQLite's json_set: it takes no infinite figures.
        told = json.dumps(json.loads(text) | {"evidence": asdict(evidence)})
        change = "UPDATE story SET alert = ? WHERE incident_id = ? AND sequence = ?"
        connection.execute(change, (told, *place))


def store_storm(connection: sqlite3.Connection, storm: Storm, now: Instant) -> None:
    """Write a storm in place of what it was; what has been over for long is forgotten."""
    row = (storm.storm_id, not storm.ended, json.dumps(storm.to_json()), now.wall_s)
    connection.execute("INSERT OR REPLACE INTO storms VALUES (?, ?, ?, ?)", row)
    old = (now.wall_s - KEEP_STORMS_S,)
    connection.execute("DELETE FROM storms WHERE NOT open AND updated_wall_s < ?", old)


def silences(connection: sqlite3.Connection) -> tuple[Silence, ...]:
    """Return every silence that is stored, by pattern."""
    query = "SELECT service, from_t_s, from_wall_s, until_wall_s, by, why FROM silences ORDER BY service"
    return tuple(
        Silence(pattern, Instant(t_s, wall_s), until_wall_s, by, why)
        for pattern, t_s, wall_s, until_wall_s, by, why in connection.execute(query)
    )


def store_silence(connection: sqlite3.Connection, silence: Silence) -> None:
    """Write a silence, in place of an earlier one of the same pattern."""
    connection.execute(
        "INSERT OR REPLACE INTO silences (service, from_t_s, from_wall_s, until_wall_s, by, why)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            silence.pattern,
            silence.begun.t_s,
            silence.begun.wall_s,
            silence.until_wall_s,
            silence.by,
            silence.why,
        ),
    )


def delete_silence(connection: sqlite3.Connection, pattern: str) -> bool:
    """Delete the silence of that very pattern; return whether there was one."""
    return connection.execute("DELETE FROM silences WHERE service = ?", (pattern,)).rowcount > 0


def acknowledgements(connection: sqlite3.Connection) -> dict[str, Acknowledgement]:
    """Return what was acknowledged and not taken over yet, by incident."""
    query = "SELECT incident_id, by, why, at_wall_s FROM acknowledgements ORDER BY at_wall_s"
    return {incident_id: Acknowledgement(*given) for incident_id, *given in connection.execute(query)}


def store_acknowledgement(connection: sqlite3.Connection, incident_id: str, given: Acknowledgement) -> None:
    """Write who takes care of an incident."""
    connection.execute(
        "INSERT OR REPLACE INTO acknowledgements (incident_id, at_wall_s, by, why) VALUES (?, ?, ?, ?)",
        (incident_id, given.at_wall_s, given.by, given.why),
    )


def _run_many(connection: sqlite3.Connection, statement: str, rows: list[Any]) -> None:
    connection.executemany(statement, rows)


def _read(read: Callable[[dict[str, Any]], T], text: str) -> T | None:
    try:
        return read(json.loads(text))
    except (KeyError, TypeError, ValueError):
        return None
