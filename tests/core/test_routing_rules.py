"""Routes by labels, kind, event, default and quiet hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from alert_samples import WALL_S, alert, later

from agent.alerts.options import Route
from agent.alerts.routing import channels_for, judge, quiet_until
from agent.model import Event, Kind, State, Subject, Transition

HOUR_S = 3600.0
NIGHT = Route(("slack",), quiet="07:00-09:00")
"""`WALL_S` is 08:00 UTC."""
NINE_S = WALL_S + HOUR_S
WARNING = alert(severity=State.WARNING)
TROUBLE = alert(event=Event.WATCHER, service="leakwatch", headline="leakwatch polls no more")


@dataclass(frozen=True)
class Taker:
    name: str

    def wants(self, _: object) -> bool:
        return True

    def send(self, told: object) -> None:
        raise AssertionError(told)


CHANNELS = {name: Taker(name) for name in ("slack", "pagerduty", "mail")}


@pytest.mark.parametrize(
    ("route", "why_not"),
    [
        ({}, ()),
        ({"labels": {"team": "sh*"}}, ()),
        ({"labels": {"team": "sh*", "tier": "1"}}, ('label tier is "", not 1',)),
        ({"labels": {"team": "data"}}, ('label team is "shop", not data',)),
        ({"kinds": ("native", "fds")}, ()),
        ({"kinds": ("heap",)}, ()),
        ({"kinds": ("threads", "fds")}, ("kind heap and native is not threads or fds",)),
        ({"events": ("leak",)}, ()),
        ({"events": ("storm", "change")}, ("event leak is not storm or change",)),
        ({"services": ("web-*",), "severities": ("warning",)},
         ("service api is not web-*", "severity critical is not warning")),
    ],
)  # fmt: skip
def test_all_that_a_route_gives_must_hold(route: dict[str, Any], why_not: tuple[str, ...]) -> None:
    (judged,) = judge(alert(kind=Kind.NATIVE, subject=Subject.HEAP), [Route(("slack",), **route)])

    assert judged.why_not == why_not
    assert judged.fits is not bool(why_not)


def test_a_default_route_is_for_what_fits_no_other() -> None:
    routes = (Route(("mail",), default=True), Route(("slack",), services=("api",)))

    assert channels_for(alert(service="api"), CHANNELS, routes) == ("slack",)
    assert channels_for(alert(service="cron"), CHANNELS, routes) == ("mail",)
    assert judge(alert(service="api"), routes)[0].why_not == ("another route fits",)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ((), ("slack", "pagerduty", "mail")),
        ((Route(("slack",), services=("api",)),), ("slack", "pagerduty", "mail")),
        ((Route(("slack",)), Route(("pagerduty",), severities=("critical",))), ("slack",)),
        ((Route(("slack",)), Route(("mail",), default=True)), ("mail",)),
        ((Route(("slack",)), Route(("mail",), default=True), Route(("pagerduty",), events=("watcher",))),
         ("pagerduty",)),
        ((Route(("mail",), events=("watcher",), severities=("warning",)), Route(("slack",))), ()),
    ],
)  # fmt: skip
def test_trouble_of_the_watcher_goes_to_its_route_else_the_default_else_to_everybody(
    routes: tuple[Route, ...], expected: tuple[str, ...]
) -> None:
    assert channels_for(TROUBLE, CHANNELS, routes) == expected


def test_what_is_about_no_process_is_of_no_kind() -> None:
    storm = alert(event=Event.STORM, headline="23 more services leak")
    assert judge(storm, [Route(("slack",), kinds=("heap",))])[0].why_not == ("kind none is not heap",)


def test_a_change_has_no_severity_that_a_route_could_miss() -> None:
    change = alert(event=Event.CHANGE, severity=State.SOUND, headline="api was restarted")
    assert judge(change, [Route(("slack",), severities=("critical",))])[0].fits


def test_quiet_hours_hold_warnings_until_they_end_and_never_what_is_critical() -> None:
    assert quiet_until(WARNING, ("slack",), [NIGHT]) == {"slack": NINE_S}
    assert quiet_until(alert(), ("slack",), [NIGHT]) == {}
    assert channels_for(WARNING, CHANNELS, [NIGHT]) == ("slack",)


def test_the_end_of_a_warning_waits_as_well() -> None:
    end = later(2, Transition.RESOLVED, severity=State.WARNING)
    assert quiet_until(end, ("slack",), [Route(("slack",), quiet="08:30-10:00")]) == {
        "slack": WALL_S + 2 * HOUR_S
    }


def test_a_channel_that_another_route_leads_to_waits_only_while_both_are_quiet() -> None:
    longer = Route(("slack", "mail"), quiet="06:00-10:00")

    assert quiet_until(WARNING, ("slack",), [NIGHT, Route(("slack",))]) == {}
    assert quiet_until(WARNING, ("slack", "mail"), [NIGHT, longer]) == {
        "slack": NINE_S,
        "mail": NINE_S + HOUR_S,
    }


def test_a_channel_that_was_told_by_another_route_before_still_waits() -> None:
    worse = later(2, Transition.UPDATED, severity=State.WARNING)
    elsewhere = Route(("slack",), services=("cron",), quiet="07:00-12:00")
    assert quiet_until(worse, ("slack",), [elsewhere, Route(("mail",))]) == {"slack": WALL_S + 4 * HOUR_S}


def test_the_channels_of_a_watch_entry_and_a_rehearsal_know_no_quiet_hours() -> None:
    assert quiet_until(WARNING, ("slack",), [NIGHT], own=("slack",)) == {}
    assert quiet_until(alert(severity=State.WARNING, drill=True), ("slack",), [NIGHT]) == {}
