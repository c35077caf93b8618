from __future__ import annotations

from itertools import pairwise

import pytest
from alert_samples import WALL_S
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.first_line import first_line
from agent.daemon.troubles import (
    CALM_S,
    CONFIRM_S,
    Trouble,
    TroubleBook,
    channel_trouble,
    outbox_trouble,
    tick_trouble,
)
from agent.model import Event, Instant, State, Transition

DOWN = channel_trouble("slack", "slack.example: 503; failing for 12m")


def at(seconds: float) -> Instant:
    return Instant(5000.0 + seconds, WALL_S + seconds)


def told(book: TroubleBook, found: tuple[Trouble, ...], *moments: float) -> list[str]:
    return [
        f"{moment:.0f} {alert.transition}" for moment in moments for alert in book.look(found, at(moment))
    ]


def test_trouble_is_told_once_when_it_lasts_and_once_when_it_stays_away() -> None:
    book = TroubleBook("web-3")

    assert told(book, (DOWN,), 0, 10, 20, 30, 40, 300) == ["30 opened"]
    assert told(book, (), 310, 320, 400, 429, 430, 900) == ["430 resolved"]


def test_what_comes_and_goes_is_one_trouble() -> None:
    book = TroubleBook("web-3")
    assert told(book, (DOWN,), 0, 30) == ["30 opened"]
    assert told(book, (), 40, 100) == []
    assert told(book, (DOWN,), 110, 200) == []
    assert told(book, (), 210, 300, 330) == ["330 resolved"]


def test_one_look_proves_nothing() -> None:
    book = TroubleBook("web-3")
    assert told(book, (DOWN,), 0) == []
    assert told(book, (), 10) == []
    assert told(book, (DOWN,), 20, 40) == []


def test_begin_and_end_have_one_key_and_the_next_time_has_another() -> None:
    book = TroubleBook("web-3")
    book.look([DOWN], at(0))
    (opened,) = book.look([DOWN], at(30))
    book.look([], at(40))
    (resolved,) = book.look([], at(160))
    book.look([DOWN], at(200))
    (again,) = book.look([DOWN], at(230))

    assert opened.dedup_key == resolved.dedup_key != again.dedup_key
    assert (opened.sequence, resolved.sequence) == (1, 2)
    assert (opened.event, resolved.transition) == (Event.WATCHER, Transition.RESOLVED)


def test_what_was_told_before_a_restart_is_ended_after_it() -> None:
    before = TroubleBook("web-3")
    before.look([DOWN], at(0))
    (opened,) = before.look([DOWN], at(30))
    after = TroubleBook("web-3", [opened])

    assert told(after, (), 100, 220) == ["220 resolved"]


def test_it_reads_well_on_a_lock_screen() -> None:
    book = TroubleBook("web-3")
    book.look([DOWN], at(0))
    (opened,) = book.look([DOWN], at(30))
    book.look([], at(40))
    (resolved,) = book.look([], at(160))

    assert first_line(opened) == "alerts do not arrive through slack (host web-3)"
    assert opened.items == ("slack.example: 503; failing for 12m",)
    assert first_line(resolved) == "Over after 2m40s: alerts do not arrive through slack (host web-3)"


@pytest.mark.parametrize(
    ("silent_s", "interval_s", "is_trouble"),
    [(60.0, 10.0, False), (60.1, 10.0, True), (179.0, 60.0, False), (181.0, 60.0, True)],
)
def test_ticks_may_stay_away_for_three_intervals_and_a_minute(
    silent_s: float, interval_s: float, *, is_trouble: bool
) -> None:
    found = tick_trouble(at(0).t_s, interval_s, "", at(silent_s))
    assert (found is not None) is is_trouble


def test_it_is_told_whether_ticks_hang_or_fail() -> None:
    hanging = tick_trouble(at(0).t_s, 10.0, "", at(70))
    failing = tick_trouble(at(0).t_s, 10.0, "OSError: no", at(70))

    assert hanging is not None
    assert failing is not None
    assert hanging.severity is State.CRITICAL
    assert hanging.items == (
        "no tick was completed for 1m10s, one is due every 10s",
        "a tick has begun and does not end",
    )
    assert failing.items[1] == "every tick fails: OSError: no"


def test_an_outbox_without_trouble_is_none() -> None:
    assert outbox_trouble(()) is None
    assert outbox_trouble(("the outbox is nearly full",)) == Trouble(
        "outbox",
        "alerts of leakwatch cannot be stored safely",
        State.CRITICAL,
        ("the outbox is nearly full",),
    )


@given(st.lists(st.tuples(st.floats(1.0, 60.0), st.booleans()), max_size=60))
def test_begins_and_ends_take_turns_and_never_come_faster_than_the_hysteresis(
    looks: list[tuple[float, bool]],
) -> None:
    book, moment, said = TroubleBook("web-3"), 0.0, []
    for step_s, present in looks:
        moment += step_s
        said += [(moment, alert.transition) for alert in book.look([DOWN] if present else [], at(moment))]

    transitions = [transition for _, transition in said]
    assert transitions == [Transition.OPENED, Transition.RESOLVED] * (len(said) // 2) + (
        [Transition.OPENED] * (len(said) % 2)
    )
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(said)]
    assert all(gap >= min(CALM_S, CONFIRM_S) for gap in gaps)
