"""Merges waiting deliveries of one incident in the state file: before a late one is sent, and when full."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.collapse import merge
from agent.alerts.deliveries import COLUMNS, Delivery, read_alert
from agent.alerts.state_schema import count_pending

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from agent.model import Alert

MAX_PENDING = 20_000
"""So many deliveries wait at most; beyond it what is outdated is merged, then the oldest are given up."""
_ROOM = MAX_PENDING // 20
"""So many fewer wait after room was made: it is said once for so many, not for each."""
_MAX_QUEUE = 500
"""So many waiting alerts of one incident and channel are looked at at once."""


@dataclass(frozen=True, slots=True)
class Shed:
    """What it took to keep the outbox within its bound."""

    merged: int
    parked: int


def gather(
    connection: sqlite3.Connection, delivery: Delivery, why: str, *, late: bool
) -> tuple[Delivery, int] | None:
    """Return what to send where this delivery is the next one, and how many it stands for besides itself.

    A late one is merged with those that follow where they say better what it says. None when it does not
    wait any more.
    """
    queue = _queue(connection, delivery.alert.incident_id, delivery.channel)
    if not queue or queue[0].delivery_id != delivery.delivery_id:
        return None
    merged = _merge(connection, queue, why) if late else 0
    return (
        (_queue(connection, delivery.alert.incident_id, delivery.channel)[0], merged)
        if merged
        else (delivery, 0)
    )


def shed(connection: sqlite3.Connection) -> Shed | None:
    """Keep the number of waiting deliveries within `MAX_PENDING`; None where it is.

    First messages that later ones of their incident say better are merged into those; then outdated
    figures and at last the oldest of all are parked, to be seen with their reason.
    """
    waiting = count_pending(connection)
    if waiting <= MAX_PENDING:
        return None
    excess = waiting - (MAX_PENDING - _ROOM)
    why = f"the outbox is full: {waiting} deliveries wait"
    merged = _merge_oldest(connection, excess, why)
    parked = _park_oldest(connection, excess - merged, why) if merged < excess else 0
    return Shed(merged, parked)


def _queue(connection: sqlite3.Connection, incident_id: str, channel: str) -> list[Delivery]:
    """Return what waits for a channel of one incident, in order, up to the first that cannot be read."""
    query = (
        f"SELECT {COLUMNS} FROM deliveries WHERE state = 'pending' AND incident_id = ? AND channel = ?"  # noqa: S608 - constants
        f" ORDER BY sequence LIMIT {_MAX_QUEUE}"
    )
    found = []
    for row in connection.execute(query, (incident_id, channel)).fetchall():
        alert = read_alert(row[2])
        if alert is None:
            break
        found.append(Delivery(row[0], row[1], alert, *row[3:]))
    return found


def _merge(connection: sqlite3.Connection, queue: Sequence[Delivery], why: str) -> int:
    """Merge the first ones of a queue where that is right; return how many are told by another now."""
    told = "SELECT 1 FROM deliveries WHERE incident_id = ? AND channel = ? AND state = 'sent' LIMIT 1"
    place = (queue[0].alert.incident_id, queue[0].channel)
    heard = connection.execute(told, place).fetchone() is not None
    found = merge([delivery.alert for delivery in queue], why, told=heard)
    if found is None:
        return 0
    reason = f"told by transition {found.alert.sequence} ({found.alert.transition})" + (
        f": {why}" if why else ""
    )
    connection.executemany(
        "UPDATE deliveries SET state = 'merged', last_error = ? WHERE id = ?",
        [(reason, delivery.delivery_id) for delivery in queue[: found.count]],
    )
    _rewrite(connection, queue[found.count].delivery_id, found.alert)
    return found.count


def _rewrite(connection: sqlite3.Connection, delivery_id: str, alert: Alert) -> None:
    text = json.dumps(alert.to_json())
    connection.execute("UPDATE deliveries SET alert = ? WHERE id = ?", (text, delivery_id))


def _merge_oldest(connection: sqlite3.Connection, excess: int, why: str) -> int:
    merged = 0
    queues = connection.execute(
        "SELECT incident_id, channel FROM deliveries WHERE state = 'pending'"
        " GROUP BY incident_id, channel HAVING count(*) > 1 ORDER BY min(created_wall_s)"
    ).fetchall()
    for incident_id, channel in queues:
        if merged >= excess:
            break
        queue = _queue(connection, incident_id, channel)
        for start in range(len(queue) - 1):
            step = _merge(connection, queue[start:], why)
            if step:
                merged += step
                break
    return merged


def _park_oldest(connection: sqlite3.Connection, excess: int, why: str) -> int:
    oldest = (
        "SELECT id FROM deliveries WHERE state = 'pending' ORDER BY"
        " transition IN ('updated', 'reminded') DESC, created_wall_s, rowid LIMIT ?"
    )
    change = f"UPDATE deliveries SET state = 'parked', last_error = ? WHERE id IN ({oldest})"  # noqa: S608 - constants
    return connection.execute(change, (why, excess)).rowcount
