from __future__ import annotations

import json
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock
from incident_samples import opened

from agent.alerts.deliveries import KEEP_SENT_S
from agent.alerts.outbox import MAX_WAIT_S, Outbox
from agent.alerts.state_schema import MIGRATIONS
from agent.model import Alert, Evidence, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.incidents import Incident

EVIDENCE = Evidence("/var/lib/leakwatch/captures/7f3a", ("top stack: handlers.remember:88",))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "state.db")
    yield outbox
    outbox.close()


def story(pid: int = 4211) -> tuple[Incident, Alert, Incident, Alert]:
    """Return an incident and its opening, and what both become when it is resolved."""
    incident, change = opened(pid)
    alert = change.alert("web-3", {"team": "core"})
    ended = replace(incident, sequence=2, ended=True)
    return incident, alert, ended, replace(alert, sequence=2, transition=Transition.RESOLVED)


def told(outbox: Outbox, clock: FakeClock) -> list[tuple[str, int]]:
    return [(d.channel, d.alert.sequence) for d in outbox.due(clock.now())]


def test_what_is_recorded_comes_back_as_it_was(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert), ("sentry", alert)], clock.now())
    assert outbox.open_incidents() == [incident]
    assert [d.alert for d in outbox.due(clock.now())] == [alert, alert]
    assert told(outbox, clock) == [("slack", 1), ("sentry", 1)]
    assert [d.channel for d in outbox.due(clock.now(), "sentry")] == ["sentry"]


def test_recording_a_transition_again_changes_nothing(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now())
    outbox.mark_sent(outbox.due(clock.now())[0].delivery_id, clock.now())
    outbox.record(incident, [("slack", alert)], clock.now())
    assert told(outbox, clock) == []


def test_a_resolve_waits_for_its_trigger(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, ended, resolve = story()
    outbox.record(incident, [("slack", alert), ("sentry", alert)], clock.now())
    outbox.record(ended, [("slack", resolve), ("sentry", resolve)], clock.now())
    slack, sentry = outbox.due(clock.now())
    outbox.mark_failed(slack.delivery_id, "503 from host", clock.now(), 40.0)
    outbox.mark_sent(sentry.delivery_id, clock.now())
    assert told(outbox, clock) == [("sentry", 2)]
    assert outbox.next_due_s(clock.now(), "slack") == 40
    clock.advance(40)
    assert told(outbox, clock) == [("slack", 1), ("sentry", 2)]
    outbox.park(slack.delivery_id, "404 no_service")
    assert told(outbox, clock) == [("slack", 2), ("sentry", 2)]


def test_an_ended_incident_is_no_longer_open(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, ended, resolve = story()
    outbox.record(incident, [("slack", alert)], clock.now())
    outbox.record(ended, [("slack", resolve)], clock.now())
    assert outbox.open_incidents() == []


def test_an_alert_waits_for_its_evidence_but_not_for_ever(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now(), hold_s=5.0)
    assert told(outbox, clock) == []
    assert outbox.next_due_s(clock.now()) == 5.0
    clock.advance(5)
    assert told(outbox, clock) == [("slack", 1)]


def test_evidence_in_time_goes_with_the_alert(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now(), hold_s=5.0)
    outbox.release(incident.incident_id, 1, EVIDENCE)
    assert [d.alert.evidence for d in outbox.due(clock.now())] == [EVIDENCE]


def test_a_failed_capture_ends_the_wait_as_well(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now(), hold_s=5.0)
    outbox.release(incident.incident_id, 1, None)
    assert [d.alert.evidence for d in outbox.due(clock.now())] == [None]


@pytest.mark.parametrize("step_s", [-60.0, -MAX_WAIT_S, -9e8, 9e8])
@pytest.mark.parametrize("attempts", [0, 1])
def test_a_clock_that_is_set_delays_nothing(
    outbox: Outbox, clock: FakeClock, attempts: int, step_s: float
) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now(), hold_s=5.0)
    for _ in range(attempts):
        outbox.mark_failed(outbox_id(alert, "slack"), "503", clock.now(), 600.0)
    clock.step_wall(step_s)
    assert told(outbox, clock) == [("slack", 1)]
    assert outbox.next_due_s(clock.now()) == 0.0


def test_a_clock_that_is_set_back_within_a_wait_does_not_start_it_anew(
    outbox: Outbox, clock: FakeClock
) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert)], clock.now())
    outbox.mark_failed(outbox_id(alert, "slack"), "503", clock.now(), 9e9)
    clock.advance(1800)
    clock.step_wall(-600)
    assert outbox.next_due_s(clock.now()) == MAX_WAIT_S - 1200


def outbox_id(alert: Alert, channel: str) -> str:
    return f"{alert.incident_id}/{alert.sequence}/{channel}"


def test_who_was_told_is_who_has_it_or_will_have_it(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, _ = story()
    outbox.record(incident, [("slack", alert), ("sentry", alert), ("pagerduty", alert)], clock.now())
    outbox.mark_sent(outbox_id(alert, "slack"), clock.now())
    outbox.park(outbox_id(alert, "pagerduty"), "400 invalid routing key")
    assert outbox.channels_told(incident.incident_id) == {"slack", "sentry"}
    assert outbox.counts() == {"pagerduty": {"parked": 1}, "sentry": {"pending": 1}, "slack": {"sent": 1}}
    assert [(d.channel, d.last_error) for d in outbox.parked()] == [("pagerduty", "400 invalid routing key")]


def test_old_deliveries_are_forgotten_but_not_those_of_an_open_incident(
    outbox: Outbox, clock: FakeClock
) -> None:
    incident, alert, _, _ = story(1)
    other, first, ended, last = story(2)
    outbox.record(incident, [("slack", alert)], clock.now())
    outbox.record(other, [("slack", first)], clock.now())
    outbox.record(ended, [("slack", last)], clock.now())
    for number, row in enumerate((alert, first, last)):
        outbox.mark_sent(outbox_id(row, "slack"), clock.advance(number))
    clock.advance(KEEP_SENT_S + 60)
    outbox.record(replace(incident, reminders=1), [], clock.now())
    assert outbox.counts() == {"slack": {"sent": 1}}
    assert outbox.channels_told(incident.incident_id) == {"slack"}


def test_an_alert_of_another_version_is_parked_with_the_reason(outbox: Outbox, clock: FakeClock) -> None:
    incident, alert, _, resolve = story()
    outbox.record(incident, [("slack", alert), ("slack", resolve)], clock.now())
    raw = json.dumps({"incident_id": alert.incident_id})
    change = "UPDATE deliveries SET alert = ? WHERE sequence = 1"
    outbox._file.run(lambda c: c.execute(change, (raw,)).rowcount)  # noqa: SLF001 - damage on purpose
    assert told(outbox, clock) == []
    assert outbox.counts() == {"slack": {"parked": 1, "pending": 1}}
    assert told(outbox, clock) == [("slack", 2)]


def test_only_the_owner_can_read_the_files(outbox: Outbox, clock: FakeClock, tmp_path: Path) -> None:
    outbox.record(*story()[:1], [], clock.now())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_deliveries_of_the_first_schema_are_known_by_their_transition(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    alert, resolve = (replace(a, note='"transition": "gone"') for a in story()[1::2])
    with closing(sqlite3.connect(path)) as old:
        for statement in (*MIGRATIONS[0], "PRAGMA user_version = 1"):
            old.execute(statement)
        for sequence, one in enumerate((alert, resolve), 1):
            row = (outbox_id(one, "slack"), one.incident_id, sequence, "slack", json.dumps(one.to_json()))
            names = "id, incident_id, sequence, channel, alert, created_wall_s, state"
            old.execute(f"INSERT INTO deliveries ({names}) VALUES (?, ?, ?, ?, ?, 1, 'sent')", row)  # noqa: S608 - constants
        old.commit()
    with closing(Outbox(path)) as outbox:
        rows = outbox._file.run(lambda c: c.execute("SELECT transition FROM deliveries").fetchall())  # noqa: SLF001 - what is stored
        assert rows == [("opened",), ("resolved",)]
        assert outbox.firing("slack") == ()
