from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from incident_samples import opened

from agent.alerts import deliveries
from agent.alerts.merging import MAX_PENDING
from agent.alerts.outbox import NEARLY_FULL, Outbox
from agent.model import Alert, Transition

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    import pytest
    from fakes import FakeClock

WAITING = 10_000


def alerts(count: int, *words: Transition, begin: int = 0) -> list[tuple[str, Alert]]:
    """Return so many incidents with these transitions each."""
    one = opened()[1].alert("web-3", {})
    return [
        ("slack", replace(one, incident_id=f"{begin + number:08x}", sequence=sequence, transition=word))
        for number in range(count)
        for sequence, word in enumerate(words, 1)
    ]


def steps(outbox: Outbox, work: Callable[[sqlite3.Connection], object]) -> int:
    """Return how many thousand instructions of SQLite's machine a question takes."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    def counted(connection: sqlite3.Connection) -> None:
        connection.set_progress_handler(count, 1000)
        work(connection)
        connection.set_progress_handler(None, 0)

    outbox._file.run(counted)  # noqa: SLF001 - below the outbox
    return taken


def test_what_is_due_is_found_without_reading_the_whole_queue(outbox: Outbox, clock: FakeClock) -> None:
    outbox.record_notices(alerts(WAITING // 2, Transition.OPENED, Transition.RESOLVED), clock.now())
    assert outbox.counts() == {"slack": {"pending": WAITING}}
    assert steps(outbox, lambda c: deliveries.due(c, clock.now(), "slack")) < 20
    assert steps(outbox, lambda c: deliveries.ready_wall_s(c, clock.now(), "slack")) < 100 * WAITING / 1000
    assert steps(outbox, deliveries.counts) < 20 * WAITING / 1000


def test_a_full_outbox_gives_up_what_later_alerts_say_better_and_no_end(
    outbox: Outbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stories = (Transition.OPENED, Transition.UPDATED, Transition.REMINDED, Transition.RESOLVED)
    outbox.record_notices(alerts(MAX_PENDING // 4, *stories), clock.now())
    assert caplog.records == []
    (nearly,) = outbox.troubles(clock.now())
    assert nearly == f"the outbox is nearly full: {MAX_PENDING} of {MAX_PENDING} deliveries wait"
    outbox.record_notices(alerts(1, Transition.OPENED, begin=MAX_PENDING), clock.now())
    states = outbox.counts()["slack"]
    assert states["pending"] < MAX_PENDING
    assert states["pending"] + states["merged"] == MAX_PENDING + 1
    (line,) = (r.pairs for r in caplog.records if r.getMessage() == "parked")  # type: ignore[attr-defined]
    assert line == {
        "why": f"the outbox is full: {MAX_PENDING} deliveries wait",
        "merged": states["merged"],
        "parked": 0,
    }
    ends = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND alert LIKE '%\"resolved\"%'"
    ((kept,),) = outbox._file.run(lambda c: c.execute(ends).fetchall())  # noqa: SLF001 - what is stored
    assert kept == MAX_PENDING // 4


def test_where_nothing_can_be_merged_the_oldest_are_parked_with_the_reason(
    outbox: Outbox, clock: FakeClock
) -> None:
    outbox.record_notices(alerts(MAX_PENDING, Transition.OPENED), clock.now())
    outbox.record_notices(alerts(1, Transition.OPENED, begin=MAX_PENDING), clock.advance(1))
    states = outbox.counts()["slack"]
    assert states["pending"] < MAX_PENDING
    assert states["pending"] + states["parked"] == MAX_PENDING + 1
    assert states["pending"] >= NEARLY_FULL
    assert outbox.parked()[0].last_error == f"the outbox is full: {MAX_PENDING + 1} deliveries wait"
    (newest,) = outbox._file.run(  # noqa: SLF001 - what is stored
        lambda c: c.execute("SELECT state FROM deliveries ORDER BY rowid DESC LIMIT 1").fetchone()
    )
    assert newest == "pending"
