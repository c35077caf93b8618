"""What the outbox knows of alerts that have no incident, and of channels that refuse what they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.deliveries import read_alert

if TYPE_CHECKING:
    import sqlite3

    from agent.alerts.ledger import Reads
    from agent.model import Alert, Event

_NEWEST = """SELECT alert FROM deliveries AS d WHERE d.alert LIKE ? AND d.sequence = (
    SELECT max(latest.sequence) FROM deliveries AS latest WHERE latest.incident_id = d.incident_id)
    AND d.transition NOT IN ('resolved', 'gone') GROUP BY d.incident_id ORDER BY d.created_wall_s"""
_REFUSED = """SELECT channel, last_error FROM deliveries AS p
    WHERE p.state = 'parked' AND p.attempts > 0 AND p.created_wall_s > ? AND NOT EXISTS (
        SELECT 1 FROM deliveries AS s WHERE s.channel = p.channel AND s.state = 'sent'
        AND s.created_wall_s >= p.created_wall_s)
    ORDER BY p.created_wall_s"""


class Notices:
    """Questions to the state file."""

    def __init__(self, file: Reads) -> None:
        self._file = file

    def still_open(self, event: Event) -> list[Alert]:
        """Return the newest alert of each such notice whose end was not told; reads all, at a start."""

        def work(connection: sqlite3.Connection) -> list[Alert]:
            found = connection.execute(_NEWEST, (f'%"event": "{event}"%',))
            alerts = [read_alert(text) for (text,) in found]
            return [alert for alert in alerts if alert is not None and alert.event is event]

        return self._file.read(work)

    def refusing(self, since_wall_s: float) -> dict[str, str]:
        """Return the channels that refused an alert since then and have taken none after it, and why."""
        return dict(self._file.read(lambda c: c.execute(_REFUSED, (since_wall_s,)).fetchall()))
