"""What channels keep about incidents: in the state file, or in memory for a rehearsal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.alerts.ledger import store_acknowledgement
from agent.incident_parts import Acknowledgement

if TYPE_CHECKING:
    from agent.alerts.state_file import StateFile


class StoredNotes:
    """Notes of every channel by incident; forgotten with the incident's deliveries."""

    def __init__(self, file: StateFile) -> None:
        self._file = file

    def read(self, channel: str, incident_id: str) -> dict[str, Any]:
        """Return what was noted; empty where nothing was, or where it cannot be read."""
        query = "SELECT note FROM notes WHERE channel = ? AND incident_id = ?"
        row = self._file.run(lambda c: c.execute(query, (channel, incident_id)).fetchone())
        try:
            note = json.loads(row[0]) if row else {}
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def write(self, channel: str, incident_id: str, note: dict[str, Any]) -> None:
        """Keep plain JSON values in place of the earlier ones."""
        values = (channel, incident_id, json.dumps(note))
        self._file.run(lambda c: c.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", values).rowcount)

    def acknowledge(self, incident_id: str, by: str, why: str, at_wall_s: float) -> None:
        """Write who takes care of an incident: the next tick takes it over."""
        given = Acknowledgement(by, why, at_wall_s)
        self._file.run(lambda c: store_acknowledgement(c, incident_id, given))


class MemoryNotes:
    """Notes that last as long as the process: for a rehearsal."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], dict[str, Any]] = {}

    def read(self, channel: str, incident_id: str) -> dict[str, Any]:
        """Return what was noted; empty where nothing was."""
        return self._notes.get((channel, incident_id), {})

    def write(self, channel: str, incident_id: str, note: dict[str, Any]) -> None:
        """Keep it in place of the earlier one."""
        self._notes[channel, incident_id] = note

    def acknowledge(self, incident_id: str, by: str, why: str, at_wall_s: float) -> None:
        """Do nothing: a rehearsal has no incidents."""
