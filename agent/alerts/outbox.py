"""Incidents and their deliveries, stored in one transaction before anything is sent, marked when it was."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from agent.alerts import deliveries, merging
from agent.alerts.backlog import Backlog, Job
from agent.alerts.deliveries import BATCH, COLUMNS, Delivery
from agent.alerts.ledger import Ledger, store_evidence, store_storm, store_story
from agent.alerts.merging import MAX_PENDING, Shed
from agent.alerts.notes import StoredNotes
from agent.alerts.notices import Notices
from agent.alerts.state_file import StateFile
from agent.alerts.state_schema import count_pending
from agent.logs import log_event
from agent.model import Alert, Event, Evidence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from agent.alerts.deliveries import Row
    from agent.alerts.state_schema import Work
    from agent.incidents import Incident
    from agent.model import Instant
    from agent.storms import Storm

logger = logging.getLogger(__name__)

MAX_WAIT_S = 3600.0
"""No delivery waits longer than this for its next attempt."""
PRUNE_EVERY_S = 86400.0
NEARLY_FULL = MAX_PENDING * 9 // 10
TELL_SET_ASIDE_S = 3600.0
"""How long a corrupt state that was set aside counts as trouble."""


def _nothing() -> None:
    """Do nothing: nobody waits to send."""


def _nothing_first(_: sqlite3.Connection) -> None:
    """Store nothing besides the deliveries."""


class Outbox:
    """The transactional outbox (https://microservices.io/patterns/data/transactional-outbox.html).

    At least once: what is recorded is handed out by `due` until it is marked sent or parked, or told by a
    later one of its incident, through restarts, a full disk (kept in memory meanwhile) and clock steps.
    After `write_behind` nothing that a tick asks for waits for the disk. Safe for any thread.
    Raises OSError when the file can neither be opened nor made, StateFileError when a newer version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._file = StateFile(path)
        self._pruned_wall_s: float | None = None
        self._set_aside_t_s: float | None = None
        self._backlog: Backlog | None = None
        self._stored: Callable[[], None] = _nothing
        self.notes = StoredNotes(self._file)
        """What channels keep about incidents."""
        self.notices = Notices(self._file)
        """What is known of alerts that have no incident, and of refusals."""
        self.ledger = Ledger(self._file, lambda work: self._store(Job(work)))

    @property
    def adrift(self) -> bool:
        """Whether the state cannot be written at present and alerts are kept in memory only."""
        return self._file.adrift

    def write_behind(self, stored: Callable[[], None]) -> None:
        """Write on a thread of its own from now on; `stored` is called when there is something to send."""
        self._stored = stored
        self._backlog = Backlog(self._file, self._wrote)

    def troubles(self, now: Instant) -> tuple[str, ...]:
        """Return what is wrong with the outbox itself, a sentence each; of a state set aside for an hour."""
        found = []
        waiting = self._file.read(count_pending) + len(self._unwritten())
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
        *,
        story: Alert | None = None,
        storm: Storm | None = None,
        quiet_until_wall_s: Mapping[str, float] | None = None,
    ) -> None:
        """Store the incident's new state, its story and an alert for each channel named, all or nothing.

        `story` is the transition where no channel is told of it, `storm` the one that tells it instead.

        With `hold_s` the alerts wait for their evidence (`release`), at most so long: decided so that the
        first message carries its evidence where that is quick, and never waits for one that is not.
        A channel whose hours are quiet waits until the wall time given. Recording the same transition again
        changes nothing.
        """
        told = story or next((alert for _, alert in alerts), None)

        def first(connection: sqlite3.Connection) -> None:
            deliveries.store_incident(connection, incident, now)
            if told is not None:
                store_story(connection, told)
            if storm is not None:
                store_storm(connection, storm, now)

        self._store_rows(deliveries.new_rows(alerts, now, hold_s, quiet_until_wall_s or {}), first)
        self._prune(now)

    def record_notices(
        self,
        alerts: Sequence[tuple[str, Alert]],
        now: Instant,
        *,
        storm: Storm | None = None,
        quiet_until_wall_s: Mapping[str, float] | None = None,
    ) -> None:
        """Store alerts that belong to no incident of a service (storm, watcher, change), all or nothing.

        With a `storm` also what became of it.
        """
        rows = deliveries.new_rows(alerts, now, 0.0, quiet_until_wall_s or {})
        self._store_rows(rows, _nothing_first if storm is None else lambda c: store_storm(c, storm, now))
        self._prune(now)

    def save(self, incident: Incident, now: Instant) -> None:
        """Store what became of an incident without anybody being told."""
        self._store(Job(lambda c: deliveries.store_incident(c, incident, now)))

    def open_incidents(self) -> list[Incident]:
        """Return every incident that has not ended, the oldest first."""
        query = "SELECT id, incident FROM incidents WHERE open ORDER BY updated_wall_s, id"
        rows = self._file.run(lambda c: c.execute(query).fetchall())
        return [incident for row in rows if (incident := deliveries.read_incident(*row)) is not None]

    def due(self, now: Instant, channel: str | None = None) -> list[Delivery]:
        """Return what is to be sent now, the oldest first, at most `BATCH`; all channels or one.

        Of an incident and channel only the first pending one: later ones follow when it is sent or parked.
        """
        rows = self._file.read(lambda c: deliveries.due(c, now, channel))
        return [delivery for row in rows if (delivery := self._read(row)) is not None]

    def next_due_s(self, now: Instant, channel: str | None = None) -> float | None:
        """Return in how many seconds something can be sent; None when nothing waits."""
        ready_wall_s = self._file.read(lambda c: deliveries.ready_wall_s(c, now, channel))
        return None if ready_wall_s is None else max(0.0, ready_wall_s - now.wall_s)

    def release(self, incident_id: str, sequence: int, evidence: Evidence | None) -> None:
        """Write the evidence into the alerts of that transition that are still unsent, and end their wait."""

        def work(connection: sqlite3.Connection) -> None:
            deliveries.release(connection, incident_id, sequence, evidence)
            if evidence is not None:
                store_evidence(connection, incident_id, sequence, evidence)

        self._store(Job(work))

    def gather(self, delivery: Delivery, why: str, *, late: bool) -> tuple[Delivery, int] | None:
        """Return what to send in the place of a due delivery and for how many others it stands.

        None when the delivery does not wait any more.

        A late one is told by a later one of its incident, where that says better what it says, with `why` it
        could not be told before.
        """
        return self._file.run(lambda c: merging.gather(c, delivery, why, late=late))

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
        return self._file.run(lambda c: deliveries.hasten(c, channel))

    def firing(self, channel: str) -> tuple[Alert, ...]:
        """Return the newest sent alert of everything that is open and that this channel was told of."""
        rows = self._file.read(lambda c: deliveries.firing(c, channel))
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
        counts: dict[str, dict[str, int]] = {}
        for channel, state, count in self._file.read(deliveries.counts):
            counts.setdefault(channel, {})[state] = count
        for channel, count in Counter(channel for _, channel in self._unwritten()).items():
            of_channel = counts.setdefault(channel, {})
            of_channel["pending"] = of_channel.get("pending", 0) + count
        return counts

    def parked(self) -> list[Delivery]:
        """Return what was given up, the latest first, at most `BATCH`."""
        query = (
            f"SELECT {COLUMNS} FROM deliveries WHERE state = 'parked'"  # noqa: S608 - constants
            f" ORDER BY created_wall_s DESC, rowid DESC LIMIT {BATCH}"
        )
        rows = self._file.read(lambda c: c.execute(query).fetchall())
        return [delivery for row in rows if (delivery := self._read(row)) is not None]

    def channels_told(self, incident_id: str) -> frozenset[str]:
        """Return the channels that were told of an incident, or will be: those that hear of its end."""
        unwritten = {channel for incident, channel in self._unwritten() if incident == incident_id}
        query = "SELECT DISTINCT channel FROM deliveries WHERE incident_id = ? AND state != 'parked'"
        rows = self._file.read(lambda c: c.execute(query, (incident_id,)).fetchall())
        return frozenset(unwritten.union(name for (name,) in rows))

    def close(self) -> None:
        """Write what waits to be written and close the file; nothing may be asked afterwards."""
        backlog, self._backlog = self._backlog, None
        if backlog is None or backlog.close():
            self._file.close()

    def _store_rows(self, rows: Sequence[Row], first: Work[None] = _nothing_first) -> None:
        """Do `first` and write new deliveries in one transaction, within the bound of what may wait."""

        def work(connection: sqlite3.Connection) -> Shed | None:
            first(connection)
            deliveries.insert(connection, rows)
            return merging.shed(connection) if rows else None

        self._store(Job(work, tuple((row[1], row[3]) for row in rows), awaited=True))

    def _store(self, job: Job) -> None:
        if self._backlog is not None:
            self._backlog.put(job)
        else:
            self._wrote([self._file.run(job.work)])

    def _wrote(self, results: Sequence[object]) -> None:
        """Say aloud what was shed, and that there is something to send."""
        for shed in (result for result in results if isinstance(result, Shed)):
            why = f"the outbox is full: {MAX_PENDING} deliveries wait"
            pairs = {"merged": shed.merged, "parked": shed.parked}
            log_event(logger, "parked", level=logging.ERROR, why=why, **pairs)
        self._stored()

    def _unwritten(self) -> list[tuple[str, str]]:
        return [] if self._backlog is None else self._backlog.unwritten()

    def _update(self, delivery_id: str, change: str, *values: object) -> None:
        statement = f"UPDATE deliveries SET {change} WHERE id = ? AND state = 'pending'"  # noqa: S608 - constants
        self._file.run(lambda c: c.execute(statement, (*values, delivery_id)).rowcount)

    def _read(self, row: Row) -> Delivery | None:
        delivery_id, channel, text, *rest = row
        alert = deliveries.read_alert(text)
        if alert is not None:
            return Delivery(delivery_id, channel, alert, *rest)
        if "pending" in rest:
            why = "the stored alert cannot be read by this version"
            self.park(delivery_id, why)
            log_event(logger, "parked", level=logging.ERROR, delivery=delivery_id, why=why)
        return None

    def _prune(self, now: Instant) -> None:
        if self._pruned_wall_s is not None and abs(now.wall_s - self._pruned_wall_s) < PRUNE_EVERY_S:
            return
        self._pruned_wall_s = now.wall_s
        self._store(Job(lambda c: deliveries.prune(c, now.wall_s)))
