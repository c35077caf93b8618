"""Storms: every incident is told singly or in exactly one storm, and messages are bounded."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from incident_samples import at

from agent.incidents import IncidentOptions
from agent.model import Alert, Event, State, Transition
from agent.storm_news import MAX_ITEMS, News, acknowledge, settle
from agent.storms import WINDOW_S, Entry, Storm, Weather, arrive

OPTIONS = IncidentOptions(storm_after=3)


def entry(number: int, *, severity: State = State.WARNING, channels: tuple[str, ...] = ("slack",)) -> Entry:
    name = f"svc-{number}"
    return Entry(
        f"{number:08x}", name, leaks=True, severity=severity, line=f"{name} leaks", channels=channels
    )


class Sky:
    """What happens to a weather, and what is told."""

    def __init__(self, options: IncidentOptions = OPTIONS) -> None:
        self.options = options
        self.weather = Weather()
        self.open: set[str] = set()
        self.singles: list[tuple[float, str]] = []
        self.news: list[News] = []

    def opens(self, t_s: float, *entries: Entry) -> None:
        for one in entries:
            self.open.add(one.incident_id)
            self.weather, storm = arrive(self.weather, one, at(t_s), self.options.storm_after)
            if storm is None:
                self.singles.append((t_s, one.incident_id))

    def look(self, t_s: float) -> tuple[News, ...]:
        self.weather, news = settle(self.weather, self.open, at(t_s), self.options)
        self.news += news
        for storm in self.weather.storms:
            assert Storm.from_json(json.loads(json.dumps(storm.to_json()))) == storm
        return news


def stormy(count: int = 26, **kinds: object) -> tuple[Sky, News]:
    """Return a sky under which so many have opened at 1000, and the first message of the storm."""
    sky = Sky()
    sky.opens(1000, *(entry(n, **kinds) for n in range(count)))  # type: ignore[arg-type]
    (news,) = sky.look(1000)
    return sky, news


def test_the_first_are_told_singly_and_the_rest_as_one() -> None:
    sky, news = stormy()

    assert len(sky.singles) == 3
    alert = news.alert("slack", "web-3")
    assert (news.transition, alert.event, alert.sequence, alert.pid) == (
        Transition.OPENED,
        Event.STORM,
        1,
        0,
    )
    assert alert.headline.startswith("23 more services leak since ")
    assert alert.headline.endswith(" UTC: svc-3, svc-4, svc-5, svc-6, svc-7, svc-8 and 17 more")
    assert len(alert.items) == 23
    assert alert.items[0] == "svc-3 leaks"
    assert Alert.from_json(json.loads(json.dumps(alert.to_json()))) == alert


def test_below_the_number_nothing_is_a_storm() -> None:
    sky = Sky()
    for t_s in range(0, 3000, 100):
        sky.opens(t_s, entry(t_s))
        assert sky.look(t_s) == ()
    assert len(sky.singles) == 30


def test_a_storm_that_grows_is_told_every_five_minutes_with_the_same_key() -> None:
    sky, first = stormy()
    for t_s in range(1010, 1601, 10):
        sky.opens(t_s, entry(t_s))
        sky.look(t_s)

    assert [(news.transition, news.at.t_s) for news in sky.news] == [
        (Transition.OPENED, 1000),
        (Transition.UPDATED, 1300),
        (Transition.UPDATED, 1600),
    ]
    alerts = [news.alert("slack", "web-3") for news in sky.news]
    assert {alert.dedup_key for alert in alerts} == {first.alert("slack", "").dedup_key}
    assert [alert.sequence for alert in alerts] == [1, 2, 3]
    assert len(alerts[-1].items) == 23 + 60


def test_a_storm_is_over_when_all_of_its_incidents_are() -> None:
    sky, _ = stormy(count=5)
    sky.open = {f"{3:08x}"}
    assert sky.look(1500) == ()
    sky.open = set()
    (news,) = sky.look(2000)

    alert = news.alert("slack", "web-3")
    assert (alert.transition, news.storm.ended, sky.weather.storms) == (Transition.RESOLVED, True, ())
    assert alert.note == "all 2 incidents of the storm are over, 17m after it began"
    assert alert.items == ("over: svc-3 leaks", "over: svc-4 leaks")


def test_each_channel_is_told_of_its_own_only_and_of_critical_ones_as_critical() -> None:
    sky = Sky()
    sky.opens(1000, *(entry(n) for n in range(3)))
    sky.opens(1000, entry(10, channels=("slack",)))
    sky.opens(1000, entry(11, severity=State.CRITICAL, channels=("slack", "pagerduty")))
    (news,) = sky.look(1000)

    assert news.channels == ("pagerduty", "slack")
    slack, pager = news.alert("slack", "web-3"), news.alert("pagerduty", "web-3")
    assert (slack.severity, len(slack.items), slack.items[0]) == (State.CRITICAL, 2, "svc-11 leaks")
    assert (pager.severity, pager.items, pager.service) == (State.CRITICAL, ("svc-11 leaks",), "svc-11")


def test_a_channel_that_hears_of_a_storm_late_is_told_at_once_that_it_opened() -> None:
    sky, _ = stormy(count=5)
    sky.opens(1100, entry(90, severity=State.CRITICAL, channels=("pagerduty",)))
    (news,) = sky.look(1100)

    assert news.channels == ("pagerduty",)
    assert news.alert("pagerduty", "web-3").transition is Transition.OPENED


def test_one_that_becomes_worse_is_told_in_its_storm_as_the_same_entry() -> None:
    sky, _ = stormy(count=5)
    sky.opens(1100, entry(4, severity=State.CRITICAL))
    assert sky.look(1290) == ()
    (news,) = sky.look(1300)

    assert [e.incident_id for e in news.storm.entries] == [f"{3:08x}", f"{4:08x}"]
    assert news.alert("slack", "web-3").severity is State.CRITICAL
    assert news.storm.severity is State.CRITICAL


def test_a_storm_is_reminded_of_and_an_acknowledged_one_is_not() -> None:
    sky, _ = stormy(count=5)
    (reminder,) = sky.look(1000 + 43200)
    assert (reminder.transition, reminder.note) == (
        Transition.REMINDED,
        "2 of 2 incidents of the storm are still open",
    )
    storm = sky.weather.storms[0]
    news = acknowledge(storm, "ana", "deploy", at(50_000))
    assert news is not None
    assert (news.transition, news.note, news.channels) == (
        Transition.ACKNOWLEDGED,
        "by ana: deploy",
        ("slack",),
    )
    assert acknowledge(news.storm, "ben", "", at(50_001)) is None
    sky.weather = sky.weather.with_storm(news.storm)
    assert sky.look(50_000 + 10 * 43200) == ()


def test_what_has_calmed_down_is_followed_by_single_messages_again() -> None:
    sky, _ = stormy(count=5)
    sky.opens(1000 + WINDOW_S, entry(70))
    assert len(sky.singles) == 4
    sky.opens(1000 + WINDOW_S, *(entry(n) for n in range(80, 90)))
    (news,) = sky.look(1000 + WINDOW_S)
    assert (news.transition, len(sky.weather.storms)) == (Transition.OPENED, 2)


def test_very_many_are_cut_with_their_number() -> None:
    _, news = stormy(count=300)

    items = news.alert("slack", "web-3").items
    assert len(items) == MAX_ITEMS + 1
    assert items[-1] == "and 197 more: leakwatch incidents lists them"


def test_quiet_hours_hold_a_storm_until_they_let_the_first_of_it_through() -> None:
    sky = Sky(IncidentOptions(storm_after=1))
    sky.opens(1000, entry(0))
    for number, quiet in ((1, {"slack": 9e9}), (2, {"slack": 8e9, "mail": 7e9})):
        one = entry(number, channels=("slack", "mail"))
        sky.opens(1000, Entry(**{n: getattr(one, n) for n in one.__slots__} | {"quiet_until_wall_s": quiet}))
    (news,) = sky.look(1000)

    assert news.quiet_until_wall_s() == {"slack": 8e9, "mail": 0.0}


@pytest.mark.parametrize("storm_after", [1, 3, 10])
@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from([1, 10, 60, 299, 300, 2000])),
        max_size=60,
    )
)
@example(steps=[(2, 0, 1), (0, 2, 1), (1, 0, 1), (0, 1, 1), (1, 0, 1), (0, 1, 1), (1, 0, 1)])
def test_every_incident_is_told_once_and_messages_are_bounded(
    storm_after: int, steps: list[tuple[int, int, int]]
) -> None:
    sky, t_s, number = Sky(IncidentOptions(storm_after=storm_after, remind_every_s=1e9)), 10_000.0, 0
    for opening, ending, apart_s in steps:
        t_s += apart_s
        for gone in sorted(sky.open)[:ending]:
            sky.open.discard(gone)
        sky.opens(t_s, *(entry(number + i) for i in range(opening)))
        number += opening
        sky.look(t_s)
    sky.look(t_s := t_s + WINDOW_S)
    sky.open.clear()
    sky.look(t_s + 1)

    assert sky.weather.storms == ()
    in_storms: dict[str, set[str]] = {}
    for news in sky.news:
        for one in news.storm.entries:
            in_storms.setdefault(one.incident_id, set()).add(news.storm.storm_id)
    told = Counter(incident_id for _, incident_id in sky.singles)
    told.update(incident_id for incident_id, ids in in_storms.items() for _ in ids)
    assert told == Counter({f"{n:08x}": 1 for n in range(number)})
    ends = Counter(news.storm.storm_id for news in sky.news if news.transition.ends)
    assert set(ends.values()) <= {1}
    times = [t for t, _ in sky.singles] + [n.at.t_s for n in sky.news if not n.transition.ends]
    for first in times:
        assert sum(first <= t < first + WINDOW_S for t in times) <= storm_after + 3
