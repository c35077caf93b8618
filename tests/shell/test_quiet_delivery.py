"""What quiet hours hold: told when they end, at once when it turns critical, as one message when over."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alert_samples import WALL_S, alert, later
from fakes import FakeClock

from agent.alerts.delivery import Deliverer
from agent.alerts.options import Route
from agent.alerts.outbox import Outbox
from agent.alerts.routing import quiet_until
from agent.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Alert

ROUTES = (Route(("slack",), quiet="07:00-11:00"),)
"""`WALL_S` is 08:00 UTC."""
END_S = 3 * 3600.0
WARNING = alert(severity=State.WARNING)


class Channel:
    name = "slack"

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def wants(self, _: Alert) -> bool:
        return True

    def send(self, told: Alert) -> None:
        self.sent.append(told)


class Night:
    """An outbox and its deliverer in the quiet hours, on a clock that is told."""

    def __init__(self, outbox: Outbox) -> None:
        self.clock = FakeClock(wall_s=WALL_S)
        self.channel = Channel()
        self._outbox = outbox
        self._deliverer = Deliverer(outbox, {"slack": self.channel}, self.clock)

    def tell(self, told: Alert) -> None:
        quiet = quiet_until(told, ("slack",), ROUTES)
        self._outbox.record_notices([("slack", told)], self.clock.now(), quiet_until_wall_s=quiet)

    def pass_time(self, seconds: float) -> list[Transition]:
        self.channel.sent.clear()
        self._deliverer.drain_once(self.clock.advance(seconds))
        return [told.transition for told in self.channel.sent]

    @property
    def next_due_s(self) -> float | None:
        return self._outbox.next_due_s(self.clock.now())


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        yield Night(outbox)


def test_a_warning_is_told_when_the_quiet_hours_end(night: Night) -> None:
    night.tell(WARNING)

    assert night.next_due_s == END_S
    assert night.pass_time(END_S - 1) == []
    assert night.pass_time(1) == [Transition.OPENED]


def test_what_turns_critical_is_told_at_once_in_its_order(night: Night) -> None:
    night.tell(WARNING)
    night.pass_time(3600)
    night.tell(later(2, Transition.WORSENED))

    assert night.pass_time(6) == [Transition.OPENED, Transition.WORSENED]


def test_what_is_over_before_they_end_is_one_message(night: Night) -> None:
    night.tell(WARNING)
    night.pass_time(3600)
    night.tell(later(2, Transition.RESOLVED, severity=State.WARNING))

    assert night.pass_time(600) == []
    assert night.pass_time(END_S) == [Transition.RESOLVED]
    assert "opened 2027-01-15 08:00 UTC, over 2027-01-15 09:00 UTC" in night.channel.sent[0].note


def test_what_is_critical_from_the_start_never_waits(night: Night) -> None:
    night.tell(alert())
    assert night.pass_time(0) == [Transition.OPENED]
