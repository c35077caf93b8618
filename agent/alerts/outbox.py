"""Incidents and their deliveries, stored in one transaction before anything is sent, marked when it was."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.notes import StoredNotes
from agent.alerts.state_file import StateFile, count_pending
from agent.incidents import Incident
from agent.logs import log_event
from agent.model import Alert, Event, Evidence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from agent.model import Instant

logger = logging.getLogger(__name__)

MAX_WAIT_S = 3600.0
"""No delivery waits longer than this for its next attempt."""
KEEP_SENT_S = 30 * 86400.0
KEEP_PARKED_S = 90 * 86400.0
PRUNE_EVERY_S = 86400.0
MAX_PENDING = 20_000
"""So many deliveries wait at most; beyond it what is outdated is merged, then the oldest are given up."""
NEARLY_FULL = MAX_PENDING * 9 // 10
TELL_SET_ASIDE_S = 3600.0
"""How long a corrupt state that was set aside counts as trouble."""
BATCH = 100
"""Deliveries handed out at once: a long queue is never in memory as a whole."""

_COLUMNS = "id, channel, alert, attempts, state, last_error, created_wall_s"
_HEADS = """FROM deliveries AS d
    WHERE d.state = 'pending' AND (:channel IS NULL OR d.channel = :channel) AND NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier WHERE earlier.state = 'pending'
        AND earlier.incident_id = d.incident_id AND earlier.channel = d.channel
        AND earlier.sequence < d.sequence)"""
"""The first pending one of each incident and channel: a resolve never overtakes its trigger."""
_READY_WALL_S = """max(
    CASE WHEN attempts = 0 OR :now < attempted_wall_s THEN :now ELSE next_attempt_wall_s END,
    CASE WHEN :now < created_wall_s THEN :now ELSE hold_until_wall_s END)"""
"""When it may be sent. A clock that stands before what is past was set back: then no wait holds."""

_FIRING = f"""SELECT {_COLUMNS} FROM deliveries AS d
    WHERE d.channel = :channel AND d.state = 'sent' AND d.sequence = (
        SELECT max(latest.sequence) FROM deliveries AS latest WHERE latest.incident_id = d.incident_id
        AND latest.channel = d.channel AND latest.state = 'sent')
    AND NOT EXISTS (SELECT 1 FROM incidents WHERE incidents.id = d.incident_id AND NOT incidents.open)
    AND NOT EXISTS (
        SELECT 1 FROM deliveries AS later WHERE later.incident_id = d.incident_id
        AND later.channel = d.channel AND later.sequence > d.sequence
        AND json_extract(later.alert, '$.transition') IN ('resolved', 'gone'))
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
    """One of "pending", "sent" and "parked"."""
    last_error: str
    created_wall_s: float


class Outbox:
    """The transactional outbox (https://microservices.io/patterns/data/transactional-outbox.html).

    At least once: what is recorded is handed out by `due` until it is marked sent or parked, through
    restarts, a full disk (kept in memory meanwhile) and clock steps. Safe for any thread.
    Raises OSError when the file can neither be opened nor made, StateFileError when a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path)
        self._pruned_wall_s: float | None = None
        self._set_aside_t_s: float | None = None
        self.notes = StoredNotes(self._file)
        """What channels keep about incidents."""

    @property
    def adrift(self) -> bool:
        """Whether the state cannot be written at present and alerts are kept in memory only."""
        return self._file.adrift

    def troubles(self, now: Instant) -> tuple[str, ...]:
        """Return what is wrong with the outbox itself, a sentence each; of a state set aside for an hour."""
        found = []
        waiting = self._file.run(count_pending)
        if self.adrift:
            found.append("the state cannot be written; alerts are kept in memory and lost if leakwatch ends")
        if why := self._file.set_aside:
            if self._set_aside_t_s is None:
                self._set_aside_t_s = now.t_s
            if now.t_s - self._set_aside_t_s <= TELL_SET_ASIDE_S:
                found.append(f"{why}; alerts that were waiting in it are not sent")
        if waiting >= NEARLY_FULL:
            found.append(f"the outbox is nearly full: {waiting} of {MAX_PENDING} deliveries wait")
        return tuple(found)

    def record(
        self,
        incident: Incident,
        alerts: Sequence[tuple[str, Alert]],
        now: Instant,
        hold_s: float = 0.0,
    ) -> None:
        """Store the incident's new state and an alert for each channel named, all or nothing.

        With `hold_s` the alerts wait for their evidence (`release`), at most so long: decided so that the
        first message carries its evidence where that is quick, and never waits for one that is not.
        Recording the same transition again changes nothing.
        """
        hold_until_wall_s = now.wall_s + hold_s
        rows = [_new_row(channel, alert, now, hold_until_wall_s) for channel, alert in alerts]
        self._file.run(lambda c: _record(c, incident, rows, now))
        self._prune(now)

    def record_notices(self, alerts: Sequence[tuple[str, Alert]], now: Instant) -> None:
        """Store alerts that belong to no incident of a service (storm, watcher, change), all or nothing."""
        rows = [_new_row(channel, alert, now, now.wall_s) for channel, alert in alerts]
        self._file.run(lambda c: _insert(c, rows))
        self._prune(now)

    def save(self, incident: Incident, now: Instant) -> None:
        """Store what became of an incident without anybody being told."""
        self._file.run(lambda c: _record(c, incident, [], now))

    def open_incidents(self) -> list[Incident]:
        """Return every incident that has not ended, the oldest first."""
        query = "SELECT id, incident FROM incidents WHERE open ORDER BY updated_wall_s, id"
        rows = self._file.run(lambda c: c.execute(query).fetchall())
        return [incident for row in rows if (incident := _read_incident(*row)) is not None]

    def due(self, now: Instant, channel: str | None = None) -> list[Delivery]:
        """Return what is to be sent now, the oldest first, at most `BATCH`; all channels or one.

        Of an incident and channel only the first pending one: later ones follow when it is sent or parked.
        """
        ready = f"{_READY_WALL_S} <= :now ORDER BY created_wall_s, rowid LIMIT {BATCH}"
        query = f"SELECT {_COLUMNS} {_HEADS} AND {ready}"
        values = {"now": now.wall_s, "channel": channel}
        rows = self._file.run(lambda c: c.execute(query, values).fetchall())
        return [delivery for row in rows if (delivery := self._read(row)) is not None]

    def next_due_s(self, now: Instant, channel: str | None = None) -> float | None:
        """Return in how many seconds something can be sent; None when nothing waits."""
        query = f"SELECT min({_READY_WALL_S}) {_HEADS}"
        values = {"now": now.wall_s, "channel": channel}
        (ready_wall_s,) = self._file.run(lambda c: c.execute(query, values).fetchone())
        return None if ready_wall_s is None else max(0.0, ready_wall_s - now.wall_s)

    def release(self, incident_id: str, sequence: int, evidence: Evidence | None) -> None:
        """Write the evidence into the alerts of that transition that are still unsent, and end their wait."""
        self._file.run(lambda c: _release(c, incident_id, sequence, evidence))

    def mark_sent(self, delivery_id: str, now: Instant) -> None:
        """Note that the channel has taken it."""
        change = (
            "UPDATE deliveries SET state = 'sent', attempts = attempts + 1, last_error = '', sent_wall_s = ?"
            " WHERE id = ?"
        )
        self._file.run(lambda c: c.execute(change, (now.wall_s, delivery_id)).rowcount)

    def mark_failed(self, delivery_id: str, error: str, now: Instant, wait_s: float) -> None:
        """Note a failure that may heal, and how long to wait before the next attempt."""
        change = "attempts = attempts + 1, last_error = ?, attempted_wall_s = ?, next_attempt_wall_s = ?"
        self._update(delivery_id, change, error, now.wall_s, now.wall_s + min(wait_s, MAX_WAIT_S))

    def hasten(self, channel: str) -> int:
        """Let what waits after a failure be due at once: the channel works again. Return how many wait."""
        waiting = "channel = ? AND state = 'pending'"
        change = f"UPDATE deliveries SET next_attempt_wall_s = 0 WHERE {waiting} AND attempts > 0"  # noqa: S608 - constants
        self._file.run(lambda c: c.execute(change, (channel,)).rowcount)
        count = f"SELECT count(*) FROM deliveries WHERE {waiting}"  # noqa: S608 - constants
        return int(self._file.run(lambda c: c.execute(count, (channel,)).fetchone())[0])

    def firing(self, channel: str) -> tuple[Alert, ...]:
        """Return the newest sent alert of everything that is open and that this channel was told of."""
        rows = self._file.run(lambda c: c.execute(_FIRING, {"channel": channel}).fetchall())
        alerts = [delivery.alert for row in rows if (delivery := self._read(row)) is not None]
        return tuple(a for a in alerts if not a.transition.ends and a.event is not Event.CHANGE)

    def park(self, delivery_id: str, error: str) -> None:
        """Give it up with the reason; it stays to be seen, and later ones of its incident may pass."""
        self._update(delivery_id, "state = 'parked', attempts = attempts + 1, last_error = ?", error)

    def park_channel(self, channel: str, error: str) -> int:
        """Give up everything that waits for a channel; return how many."""
        change = (
            "UPDATE deliveries SET state = 'parked', last_error = ? WHERE channel = ? AND state = 'pending'"
        )
        return self._file.run(lambda c: c.execute(change, (error, channel)).rowcount)

    def pending_channels(self) -> frozenset[str]:
        """Return the channels that something waits for."""
        query = "SELECT DISTINCT channel FROM deliveries WHERE state = 'pending'"
        return frozenset(name for (name,) in self._file.run(lambda c: c.execute(query).fetchall()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many deliveries each channel has in each state."""
        query = "SELECT channel, state, count(*) FROM deliveries GROUP BY channel, state ORDER BY channel"
        counts: dict[str, dict[str, int]] = {}
        for channel, state, count in self._file.run(lambda c: c.execute(query).fetchall()):
            counts.setdefault(channel, {})[state] = count
        return counts

    def parked(self) -> list[Delivery]:
        """Return what was given up, the latest first, at most `BATCH`."""
        query = (
            f"SELECT {_COLUMNS} FROM deliveries WHERE state = 'parked'"  # noqa: S608 - constants
            f" ORDER BY created_wall_s DESC, rowid DESC LIMIT {BATCH}"
        )
        rows = self._file.run(lambda c: c.execute(query).fetchall())
        return [delivery for row in rows if (delivery := self._read(row)) is not None]

    def channels_told(self, incident_id: str) -> frozenset[str]:
        """Return the channels that were told of an incident, or will be: those that hear of its end."""
        query = "SELECT DISTINCT channel FROM deliveries WHERE incident_id = ? AND state != 'parked'"
        rows = self._file.run(lambda c: c.execute(query, (incident_id,)).fetchall())
        return frozenset(name for (name,) in rows)

    def close(self) -> None:
        """Close the file; nothing may be asked afterwards."""
        self._file.close()

    def _update(self, delivery_id: str, change: str, *values: object) -> None:
        statement = f"UPDATE deliveries SET {change} WHERE id = ? AND state = 'pending'"  # noqa: S608 - constants
        self._file.run(lambda c: c.execute(statement, (*values, delivery_id)).rowcount)

    def _read(self, row: tuple[str, str, str, int, str, str, float]) -> Delivery | None:
        delivery_id, channel, text, attempts, state, last_error, created_wall_s = row
        try:
            alert = Alert.from_json(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            if state == "pending":
                why = f"the stored alert cannot be read by this version: {type(error).__name__}"
                self.park(delivery_id, why)
                log_event(logger, "parked", level=logging.ERROR, delivery=delivery_id, why=why)
            return None
        return Delivery(delivery_id, channel, alert, attempts, state, last_error, created_wall_s)

    def _prune(self, now: Instant) -> None:
        if self._pruned_wall_s is not None and abs(now.wall_s - self._pruned_wall_s) < PRUNE_EVERY_S:
            return
        self._pruned_wall_s = now.wall_s
        self._file.run(lambda c: _prune(c, now.wall_s))


def _new_row(channel: str, alert: Alert, now: Instant, hold_until_wall_s: float) -> tuple[object, ...]:
    delivery_id = f"{alert.incident_id}/{alert.sequence}/{channel}"
    text = json.dumps(alert.to_json())
    key = (delivery_id, alert.incident_id, alert.sequence, channel)
    return *key, text, now.wall_s, hold_until_wall_s


def _record(
    connection: sqlite3.Connection, incident: Incident, rows: Sequence[tuple[object, ...]], now: Instant
) -> None:
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
    _insert(connection, rows)


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO deliveries (id, incident_id, sequence, channel, alert,"
        " created_wall_s, hold_until_wall_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _release(
    connection: sqlite3.Connection, incident_id: str, sequence: int, evidence: Evidence | None
) -> None:
    waiting = "incident_id = ? AND sequence = ? AND state = 'pending'"
    found = connection.execute(f"SELECT id, alert FROM deliveries WHERE {waiting}", (incident_id, sequence))  # noqa: S608 - constants
    for delivery_id, text in found.fetchall():
        data = json.loads(text)
        if evidence is not None:
            data["evidence"] = {
                "directory": evidence.directory,
                "gist": evidence.gist,
                "missing": evidence.missing,
                "files": evidence.files,
            }
        connection.execute(
            "UPDATE deliveries SET alert = ?, hold_until_wall_s = created_wall_s WHERE id = ?",
            (json.dumps(data), delivery_id),
        )


def _prune(connection: sqlite3.Connection, now_wall_s: float) -> None:
    """Forget what is long over. Deliveries of an open incident stay: they say who hears of its end."""
    old = (
        "(state = 'sent' AND created_wall_s < ? OR state = 'parked' AND created_wall_s < ?)"
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


def _read_incident(incident_id: str, text: str) -> Incident | None:
    try:
        return Incident.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        why = f"the stored incident cannot be read by this version: {type(error).__name__}"
        log_event(logger, "refused", level=logging.ERROR, incident=incident_id, why=why)
        return None
