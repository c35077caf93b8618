"""What the state file knows of incidents and storms: which there are, and the story of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.deliveries import read_alert
from agent.incidents import Incident
from agent.model import Alert
from agent.storms import Storm

if TYPE_CHECKING:
    import sqlite3

_READ_ERRORS = (KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one message to one channel."""

    channel: str
    state: str
    """One of "pending", "sent", "parked" and "merged"."""
    attempts: int
    last_error: str
    created_wall_s: float
    sent_wall_s: float | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """One transition and whom it was told."""

    alert: Alert
    fates: tuple[Fate, ...]


def incidents(connection: sqlite3.Connection, *, ended: bool = False) -> list[Incident]:
    """Return the open ones, or all that are kept, the oldest first; what cannot be read is left out."""
    query = "SELECT incident FROM incidents WHERE open OR ? ORDER BY updated_wall_s, id"
    found = [_incident(text) for (text,) in connection.execute(query, (ended,))]
    return sorted((one for one in found if one), key=lambda one: one.opened.wall_s)


def storms(connection: sqlite3.Connection, *, ended: bool = False) -> list[Storm]:
    """Return the storms that are open, or all that are kept, the oldest first."""
    query = "SELECT storm FROM storms WHERE open OR ? ORDER BY updated_wall_s, id"
    found = [_storm(text) for (text,) in connection.execute(query, (ended,))]
    return sorted((one for one in found if one), key=lambda one: one.begun.wall_s)


def ids_like(connection: sqlite3.Connection, prefix: str, *, open_only: bool = False) -> list[str]:
    """Return the ids of incidents and storms that begin with a prefix."""
    query = """SELECT id FROM incidents WHERE substr(id, 1, :length) = :prefix AND (open OR :all)
        UNION SELECT id FROM storms WHERE substr(id, 1, :length) = :prefix AND (open OR :all) ORDER BY id"""
    values = {"prefix": prefix, "length": len(prefix), "all": not open_only}
    return [found for (found,) in connection.execute(query, values)]


def story(connection: sqlite3.Connection, incident_id: str) -> list[Chapter]:
    """Return every transition of an incident or a storm with its deliveries, in order.

    What was recorded before stories were kept is told by its deliveries.
    """
    query = """SELECT sequence, channel, alert, state, attempts, last_error, created_wall_s, sent_wall_s
        FROM deliveries WHERE incident_id = ? ORDER BY sequence, channel"""
    alerts: dict[int, str] = {}
    fates: dict[int, list[Fate]] = {}
    for sequence, channel, text, *rest in connection.execute(query, (incident_id,)):
        alerts.setdefault(sequence, text)
        fates.setdefault(sequence, []).append(Fate(channel, *rest))
    told = connection.execute("SELECT sequence, alert FROM story WHERE incident_id = ?", (incident_id,))
    alerts |= dict(told.fetchall())
    return [
        Chapter(alert, tuple(fates.get(sequence, ())))
        for sequence, text in sorted(alerts.items())
        if (alert := read_alert(text)) is not None
    ]


def course(connection: sqlite3.Connection, incident_id: str) -> tuple[tuple[float, float], ...]:
    """Return the newest growth that a message of an incident was to show; empty where none is kept."""
    query = "SELECT alert FROM deliveries WHERE incident_id = ? ORDER BY sequence DESC"
    for (text,) in connection.execute(query, (incident_id,)):
        alert = read_alert(text)
        if alert is not None and alert.course:
            return alert.course
    return ()


def _incident(text: str) -> Incident | None:
    try:
        return Incident.from_json(json.loads(text))
    except _READ_ERRORS:
        return None


def _storm(text: str) -> Storm | None:
    try:
        return Storm.from_json(json.loads(text))
    except _READ_ERRORS:
        return None
