"""A disk that does not answer: a transaction that lasts as long as the test wants stands for it."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock
from incident_samples import opened

from agent.alerts.backlog import STORE_WAIT_S, Backlog, Job
from agent.alerts.outbox import Outbox
from agent.alerts.state_file import StateFile
from agent.clock import SystemClock
from agent.model import Alert, Evidence, Transition

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from agent.incidents import Incident

PATIENCE_S = 20.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@contextmanager
def hanging_disk(outbox: Outbox) -> Iterator[None]:
    """Let the transaction that is under way take until the end of the block."""
    writing, answers = threading.Event(), threading.Event()

    def write(_: sqlite3.Connection) -> None:
        writing.set()
        assert answers.wait(PATIENCE_S)

    thread = threading.Thread(target=outbox._file.run, args=(write,))  # noqa: SLF001 - the disk is beneath it
    thread.start()
    assert writing.wait(PATIENCE_S)
    yield
    answers.set()
    thread.join()


def story(pid: int = 4211) -> tuple[Incident, Alert]:
    incident, change = opened(pid)
    return incident, change.alert("web-3", {})


def test_nothing_that_a_tick_asks_for_waits_for_the_disk(tmp_path: Path, clock: FakeClock) -> None:
    stored = threading.Event()
    incident, alert = story()
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        outbox.write_behind(stored.set)
        with hanging_disk(outbox):
            outbox.record(incident, [("slack", alert), ("sentry", alert)], clock.now(), hold_s=5.0)
            outbox.save(incident, clock.now())
            outbox.record_notices([("slack", replace(alert, incident_id="storm"))], clock.now())
            outbox.release(incident.incident_id, 1, Evidence("/captures/1"))
            assert outbox.channels_told(incident.incident_id) == {"slack", "sentry"}
            assert outbox.counts() == {"sentry": {"pending": 1}, "slack": {"pending": 2}}
            assert (outbox.parked(), outbox.troubles(clock.now())) == ([], ())
            assert outbox.due(clock.now()) == [], "only what is stored is sent"
            assert not stored.is_set()
        assert stored.wait(PATIENCE_S)
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        told = {(d.channel, d.alert.incident_id, d.alert.evidence) for d in outbox.due(clock.now())}
        capture = Evidence("/captures/1")
        assert told == {
            ("slack", alert.incident_id, capture),
            ("sentry", alert.incident_id, capture),
            ("slack", "storm", None),
        }
        assert outbox.open_incidents() == [incident]


def test_what_is_recorded_just_before_the_end_is_stored(tmp_path: Path, clock: FakeClock) -> None:
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        outbox.write_behind(lambda: None)
        for pid in range(1, 101):
            incident, alert = story(pid)
            outbox.record(incident, [("slack", alert)], clock.now())
            ended = replace(incident, sequence=2, ended=True)
            outbox.record(
                ended, [("slack", replace(alert, sequence=2, transition=Transition.RESOLVED))], clock.now()
            )
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        assert outbox.counts() == {"slack": {"pending": 200}}
        assert outbox.open_incidents() == []


def test_a_job_that_cannot_be_stored_takes_no_other_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results: list[object] = []
    file = StateFile(tmp_path / "state.db")
    backlog = Backlog(file, results.extend)
    hung = threading.Event()

    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    backlog.put(Job(lambda _: hung.wait(PATIENCE_S)))
    for work in (lambda _: 1, fails, lambda _: 3):
        backlog.put(Job(work))
    hung.set()
    assert backlog.close()
    assert results == [True, 1, 3]
    assert "refused" in [r.getMessage() for r in caplog.records]
    file.close()


def test_a_transition_is_stored_before_it_is_logged_where_the_disk_works(
    tmp_path: Path, clock: FakeClock
) -> None:
    incident, alert = story()
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        outbox.write_behind(lambda: None)
        outbox.record(incident, [("slack", alert)], clock.now())
        assert [delivery.alert for delivery in outbox.due(clock.now())] == [alert]


def test_a_disk_that_hangs_is_waited_for_once_and_not_at_every_transition(
    tmp_path: Path, clock: FakeClock
) -> None:
    wall = SystemClock()
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        outbox.write_behind(lambda: None)
        with hanging_disk(outbox):
            begun_t_s = wall.now().t_s
            for pid in range(1, 41):
                incident, alert = story(pid)
                outbox.record(incident, [("slack", alert)], clock.now())
            assert wall.now().t_s - begun_t_s < 20 * STORE_WAIT_S
