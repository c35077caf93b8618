"""The rows of the outbox: how deliveries and incidents are written to the state file, found and forgotten."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from agent.incidents import Incident
from agent.logs import log_event
from agent.model import Alert

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from agent.model import Evidence, Instant

logger = logging.getLogger(__name__)

KEEP_SENT_S = 30 * 86400.0
KEEP_PARKED_S = 90 * 86400.0
BATCH = 100
"""Deliveries handed out at once: a long queue is never in memory as a whole."""

PATIENCE_S = 5.0
"""What waits for its evidence still gets it when something later of its incident is written."""

QUIET = "quiet hours"

Row = tuple[Any, ...]

COLUMNS = "id, channel, alert, attempts, state, last_error, created_wall_s, hold_until_wall_s"
_READY_WALL_S = """max(
    CASE WHEN attempts = 0 OR :now < attempted_wall_s THEN :now ELSE next_attempt_wall_s END,
    CASE WHEN :now < created_wall_s THEN :now ELSE hold_until_wall_s END)"""
"""When it may be sent. A clock that stands before what is past was set back: then no wait holds."""
_FIRST = """NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier WHERE earlier.state = 'pending'
        AND earlier.incident_id = d.incident_id AND earlier.channel = d.channel
        AND earlier.sequence < d.sequence)"""
"""The first pending one of each incident and channel: a resolve never overtakes its trigger."""
_FIRING = f"""SELECT {COLUMNS} FROM deliveries AS d
    WHERE d.channel = :channel AND d.state = 'sent' AND d.sequence = (
        SELECT max(latest.sequence) FROM deliveries AS latest WHERE latest.incident_id = d.incident_id
        AND latest.channel = d.channel AND latest.state = 'sent')
    AND NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = d.incident_id AND NOT incidents.open)
    AND NOT EXISTS (
        SELECT 1 FROM deliveries AS later WHERE later.incident_id = d.incident_id
        AND later.channel = d.channel AND later.sequence > d.sequence
        AND later.transition IN ('resolved', 'gone'))
    ORDER BY d.created_wall_s, d.rowid"""  # noqa: S608 - constants
"""Storms and troubles of the watcher have no incident: they are open until their end is recorded."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert on its way to one channel."""

    delivery_id: str
    channel: str
    alert: Alert
    attempts: int
    """Failed ones so far."""
    state: str
    """One of "pending", "sent", "parked" and "merged": told by a later one of its incident."""
    last_error: str
    """Why it was not sent so far; empty where nothing stood in its way."""
    created_wall_s: float
    hold_until_wall_s: float
    """Not sent before: it waited for its evidence, or for the end of quiet hours."""


def read_alert(text: str) -> Alert | None:
    """Return a stored alert; None for one that this version cannot read."""
    try:
        return Alert.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError):
        return None


def read_incident(incident_id: str, text: str) -> Incident | None:
    """Return a stored incident; one that this version cannot read is said and None."""
    try:
        return Incident.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        why = f"the stored incident cannot be read by this version: {type(error).__name__}"
        log_event(logger, "refused", level=logging.ERROR, incident=incident_id, why=why)
        return None


def new_rows(
    alerts: Iterable[tuple[str, Alert]], now: Instant, hold_s: float, quiet_until_wall_s: Mapping[str, float]
) -> list[Row]:
    """Return the rows of alerts that are not sent yet; the hours of some channels may be quiet."""
    held_wall_s = now.wall_s + hold_s
    return [
        _new_row(channel, alert, now, held_wall_s, quiet_until_wall_s.get(channel, held_wall_s))
        for channel, alert in alerts
    ]


def _new_row(channel: str, alert: Alert, now: Instant, held_wall_s: float, quiet_until_wall_s: float) -> Row:
    delivery_id = f"{alert.incident_id}/{alert.sequence}/{channel}"
    text = json.dumps(alert.to_json())
    key = (delivery_id, alert.incident_id, alert.sequence, channel, str(alert.transition))
    why = QUIET if quiet_until_wall_s > held_wall_s else ""
    return *key, text, now.wall_s, max(held_wall_s, quiet_until_wall_s), why


def store_incident(connection: sqlite3.Connection, incident: Incident, now: Instant) -> None:
    """Write an incident in place of what it was."""
    connection.execute(
        "INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?, ?, ?)",
        (
            incident.incident_id,
            incident.service,
            str(incident.subject),
            not incident.ended,
            json.dumps(incident.to_json()),
            now.wall_s,
        ),
    )


def insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write new deliveries; those that are there already stay as they are.

    What quiet hours hold of an incident ends its wait when something of it comes that waits less long: a
    warning must not keep what is critical behind it.
    """
    connection.executemany(
        "INSERT OR IGNORE INTO deliveries (id, incident_id, sequence, channel, transition, alert,"
        " created_wall_s, hold_until_wall_s, last_error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    connection.executemany(
        "UPDATE deliveries SET hold_until_wall_s = min(hold_until_wall_s, max(?, ?))"
        " WHERE state = 'pending' AND incident_id = ? AND channel = ? AND sequence < ?",
        [
            (hold_s, created_s + PATIENCE_S, incident_id, channel, sequence)
            for _, incident_id, sequence, channel, _, _, created_s, hold_s, _ in rows
        ],
    )


def due(connection: sqlite3.Connection, now: Instant, channel: str | None) -> list[Row]:
    """Return what may be sent, the oldest first, at most `BATCH`; all channels or one."""
    ready = f"{_READY_WALL_S} <= :now ORDER BY created_wall_s, rowid LIMIT {BATCH}"
    query = f"SELECT {COLUMNS} FROM deliveries AS d WHERE {_waiting(channel)} AND {_FIRST} AND {ready}"  # noqa: S608 - constants
    return connection.execute(query, {"now": now.wall_s, "channel": channel}).fetchall()


def ready_wall_s(connection: sqlite3.Connection, now: Instant, channel: str | None) -> float | None:
    """Return when the next one may be sent; None when nothing waits."""
    query = f"SELECT min({_READY_WALL_S}) FROM deliveries AS d WHERE {_waiting(channel)} AND {_FIRST}"  # noqa: S608 - constants
    found = connection.execute(query, {"now": now.wall_s, "channel": channel}).fetchone()[0]
    return None if found is None else float(found)


def firing(connection: sqlite3.Connection, channel: str) -> list[Row]:
    """Return the newest sent delivery of everything that is not over, as far as the rows tell it."""
    return connection.execute(_FIRING, {"channel": channel}).fetchall()


def counts(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    """Return channel, state and how many deliveries that are."""
    query = "SELECT channel, state, count(*) FROM deliveries GROUP BY channel, state"
    return connection.execute(query).fetchall()


def hasten(connection: sqlite3.Connection, channel: str) -> int:
    """Let what waits after a failure be due at once; return how many wait for the channel."""
    waiting = "channel = ? AND state = 'pending'"
    change = f"UPDATE deliveries SET next_attempt_wall_s = 0 WHERE {waiting} AND attempts > 0"  # noqa: S608 - constants
    connection.execute(change, (channel,))
    count = f"SELECT count(*) FROM deliveries WHERE {waiting}"  # noqa: S608 - constants
    return int(connection.execute(count, (channel,)).fetchone()[0])


def release(
    connection: sqlite3.Connection, incident_id: str, sequence: int, evidence: Evidence | None
) -> None:
    """Write the evidence into the unsent alerts of a transition, and end their wait."""
    waiting = "incident_id = ? AND sequence = ? AND state = 'pending'"
    found = connection.execute(f"SELECT id, alert FROM deliveries WHERE {waiting}", (incident_id, sequence))  # noqa: S608 - constants
    for delivery_id, text in found.fetchall():
        data = json.loads(text)
        if evidence is not None:
            data["evidence"] = asdict(evidence)
        connection.execute(
            "UPDATE deliveries SET alert = ?, hold_until_wall_s = created_wall_s WHERE id = ?",
            (json.dumps(data), delivery_id),
        )


def prune(connection: sqlite3.Connection, now_wall_s: float) -> None:
    """Forget what is long over. Deliveries of an open incident stay: they say who hears of its end."""
    old = (
        "(state IN ('sent', 'merged') AND created_wall_s < ? OR state = 'parked' AND created_wall_s < ?)"
        " AND incident_id NOT IN (SELECT id FROM incidents WHERE open)"
    )
    ages = (now_wall_s - KEEP_SENT_S, now_wall_s - KEEP_PARKED_S)
    connection.execute(f"DELETE FROM deliveries WHERE {old}", ages)  # noqa: S608 - constants
    connection.execute(
        "DELETE FROM incidents WHERE NOT open AND updated_wall_s < ?"
        " AND id NOT IN (SELECT incident_id FROM deliveries)",
        (now_wall_s - KEEP_SENT_S,),
    )
    for table in ("notes", "story", "acknowledgements"):
        connection.execute(
            f"DELETE FROM {table} WHERE incident_id NOT IN (SELECT id FROM incidents)"  # noqa: S608 - constants
            " AND incident_id NOT IN (SELECT incident_id FROM deliveries)"
        )


def _waiting(channel: str | None) -> str:
    """Return the condition so that SQLite finds one channel's rows by their index."""
    return "d.state = 'pending'" + ("" if channel is None else " AND d.channel = :channel")
