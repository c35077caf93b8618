"""Trouble of leakwatch itself, told through the channels that work: a real outbox, deliverer and daemon."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from alert_samples import alert
from daemon_rig import DaemonRig, slack
from fakes import FakeClock
from receiver import Receiver

from agent.alerts.base import DeliveryError
from agent.alerts.delivery import Deliverer
from agent.alerts.options import Route
from agent.alerts.outbox import Outbox
from agent.config import Config
from agent.daemon.noticing import Noticer
from agent.daemon.watcher import FAILS_FOR_S, Watcher
from agent.model import Event, State, Transition
from agent.web.health import HealthView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from children import LeakyChild

    from agent.model import Alert


class Channel:
    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[Alert] = []
        self.fault: DeliveryError | None = None

    def wants(self, _: Alert) -> bool:
        return True

    def send(self, told: Alert) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append(told)


class Published:
    """What the watcher reads of the ticks."""

    def __init__(self) -> None:
        self.view = HealthView("0", 10_000.0, 10.0, 10_000.0, 0.0, 1, 0, 0)
        self.failing = ""


class House:
    """A daemon without processes: ticks are completed when told."""

    def __init__(self, outbox: Outbox) -> None:
        self.clock = FakeClock()
        self.slack, self.mail = Channel("slack"), Channel("mail")
        self.channels: Any = {"slack": self.slack, "mail": self.mail}
        self.outbox = outbox
        self.deliverer = Deliverer(outbox, self.channels, self.clock, jitter=lambda: 0.0)
        self.published: Any = Published()
        self.noticer = Noticer(Config(), outbox, self.channels, self.deliverer.wake)
        self.watcher = self.watching()

    def watching(self) -> Watcher:
        return Watcher("web-3", self.outbox, self.deliverer, self.noticer, self.published, self.clock)

    def tick(self) -> None:
        t_s = self.clock.now().t_s
        self.published.view = HealthView("0", 10_000.0, 10.0, t_s, 0.0, 1, 0, 0)

    def pass_time(self, seconds: float, *, ticking: bool = True) -> None:
        for _ in range(round(seconds / 10)):
            now = self.clock.advance(10)
            if ticking:
                self.tick()
            self.watcher.look(now)
            self.deliverer.drain_once(now)

    def tell(self, number: int) -> None:
        told = [("slack", alert(incident_id=f"{number:08x}"))]
        self.outbox.record_notices(told, self.clock.now())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with closing(Outbox(tmp_path / "state.db")) as outbox:
        yield House(outbox)


def told(channel: Channel) -> list[tuple[str, Transition]]:
    return [(one.labels["trouble"], one.transition) for one in channel.sent if one.event is Event.WATCHER]


def test_ticks_that_stay_away_are_told_everywhere_and_their_return_too(house: House) -> None:
    house.pass_time(60)
    assert told(house.slack) == []
    house.published.failing = "OSError: no processes today"
    house.pass_time(110, ticking=False)
    assert told(house.slack) == told(house.mail) == [("tick", Transition.OPENED)]
    assert house.slack.sent[0].items[1] == "every tick fails: OSError: no processes today"
    house.pass_time(200)

    assert told(house.slack) == [("tick", Transition.OPENED), ("tick", Transition.RESOLVED)]


def test_a_gap_of_the_clock_is_no_stuck_tick(house: House) -> None:
    house.clock.advance(8 * 3600)
    house.watcher.look(house.clock.now())
    house.pass_time(60)

    assert told(house.slack) == []


def test_a_channel_that_fails_is_told_by_the_others_and_never_by_itself(house: House) -> None:
    house.slack.fault = DeliveryError("slack.example answered 503")
    house.tell(1)
    house.pass_time(FAILS_FOR_S - 60)
    assert told(house.mail) == []
    house.pass_time(400)
    assert told(house.mail) == [("channel-slack", Transition.OPENED)]
    assert "slack.example answered 503; failing for" in house.mail.sent[0].items[0]
    house.slack.fault = None
    house.pass_time(1500)

    assert told(house.mail) == [("channel-slack", Transition.OPENED), ("channel-slack", Transition.RESOLVED)]
    assert told(house.slack) == []
    assert len(house.slack.sent) == 1


def test_a_channel_that_refuses_is_told_until_it_takes_something(house: House) -> None:
    house.slack.fault = DeliveryError("slack.example answered 404: the webhook was removed", permanent=True)
    house.tell(1)
    house.pass_time(60)
    assert told(house.mail) == [("channel-slack", Transition.OPENED)]
    assert house.mail.sent[0].items == ("refused: slack.example answered 404: the webhook was removed",)
    house.slack.fault = None
    house.tell(2)
    house.pass_time(200)

    assert told(house.mail)[1:] == [("channel-slack", Transition.RESOLVED)]


def test_trouble_that_was_told_is_ended_by_the_next_start(house: House) -> None:
    house.pass_time(120, ticking=False)
    opened = house.slack.sent[0]
    house.watcher = house.watching()
    house.pass_time(200)

    assert told(house.slack)[1:] == [("tick", Transition.RESOLVED)]
    assert house.slack.sent[1].dedup_key == opened.dedup_key
    house.watcher = house.watching()
    house.pass_time(200)
    assert len(told(house.slack)) == 2


def test_a_route_of_its_own_and_quiet_hours_hold_for_trouble_too(house: House) -> None:
    routes = (Route(("slack",)), Route(("mail",), events=("watcher",), severities=("critical",)))
    house.noticer.reconfigure(Config(routes=routes), house.channels)
    house.pass_time(120, ticking=False)

    assert told(house.slack) == []
    assert told(house.mail) == [("tick", Transition.OPENED)]
    assert house.mail.sent[0].severity is State.CRITICAL


def test_a_daemon_whose_ticks_stop_says_so_through_its_channel(child: LeakyChild, tmp_path: Path) -> None:
    with (
        Receiver() as receiver,
        DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig,
    ):
        rig.run(60)
        for _ in range(14):
            rig.clock.rests("leakwatch-watcher")
            rig.clock.advance(10)
        rig.wait_until_said("trouble", what="tick", channels="slack")
        (request,) = receiver.wait_for(1)
        rig.tick()

    assert (
        request.json()["text"]
        == "no service is watched: leakwatch hangs, or fails at every poll (host web-3)"
    )
