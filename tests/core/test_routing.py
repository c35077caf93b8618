from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from agent.alerts.options import Route
from agent.alerts.routing import channels_for
from agent.model import Alert, Event, State, Subject, Transition

ALERT = Alert(
    incident_id="7f3a9c21",
    sequence=1,
    transition=Transition.OPENED,
    event=Event.LEAK,
    subject=Subject.HEAP,
    severity=State.WARNING,
    service="api",
    host="web-3",
    at_wall_s=1.8e9,
    since_wall_s=1.8e9 - 3600,
    age_s=9000.0,
    pid=4211,
    process="api",
    command="python api.py",
    rate=None,
    growth=61e6,
    current=448e6,
    limit=1e9,
    limit_source="memory.max of /api.service",
    exhaustion_hours=None,
    reasons=(),
)


@dataclass(frozen=True)
class Receiver:
    name: str
    least: State = State.WARNING

    def wants(self, alert: Alert) -> bool:
        return alert.severity >= self.least

    def send(self, alert: Alert) -> None:
        raise AssertionError(alert)


CHANNELS = {
    "slack": Receiver("slack"),
    "sentry": Receiver("sentry"),
    "pagerduty": Receiver("pagerduty", State.CRITICAL),
}
ROUTES = (
    Route(channels=("slack",), services=("api", "web-*")),
    Route(channels=("sentry", "pagerduty"), severities=("critical",)),
)


@pytest.mark.parametrize(
    ("service", "severity", "expected"),
    [
        ("api", State.WARNING, ("slack",)),
        ("web-7", State.WARNING, ("slack",)),
        ("web", State.WARNING, ()),
        ("API", State.WARNING, ()),
        ("api", State.CRITICAL, ("slack", "sentry", "pagerduty")),
        ("worker", State.CRITICAL, ("sentry", "pagerduty")),
    ],
)
def test_every_route_that_fits_adds_its_channels(
    service: str, severity: State, expected: tuple[str, ...]
) -> None:
    alert = replace(ALERT, service=service, severity=severity)
    assert channels_for(alert, CHANNELS, ROUTES) == expected


def test_without_routes_every_channel_gets_what_it_wants() -> None:
    assert channels_for(ALERT, CHANNELS, ()) == ("slack", "sentry")
    assert channels_for(replace(ALERT, severity=State.CRITICAL), CHANNELS, ()) == tuple(CHANNELS)


def test_channels_of_the_entry_stand_instead_of_the_routes() -> None:
    assert channels_for(ALERT, CHANNELS, ROUTES, own=("sentry",)) == ("sentry",)
    assert channels_for(ALERT, CHANNELS, ROUTES, own=()) == ()


@pytest.mark.parametrize("end", [Transition.RESOLVED, Transition.GONE])
def test_an_end_goes_exactly_to_those_who_heard_of_the_incident(end: Transition) -> None:
    alert = replace(ALERT, transition=end)
    assert channels_for(alert, CHANNELS, ROUTES, told={"pagerduty", "removed"}) == ("pagerduty",)
    assert channels_for(alert, CHANNELS, ROUTES) == ()


def test_who_heard_it_open_hears_it_worsen() -> None:
    worse = replace(ALERT, transition=Transition.WORSENED, severity=State.CRITICAL)
    warnings_only = (Route(channels=("slack",), severities=("warning",)),)
    assert channels_for(worse, CHANNELS, warnings_only, told={"slack"}) == ("slack",)
    assert channels_for(worse, CHANNELS, warnings_only) == ()
