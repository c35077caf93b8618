"""The dead man's switch: beats over a real socket, only for ticks that were completed lately."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from daemon_rig import DaemonRig
from fakes import FakeClock
from receiver import Receiver

from agent.alerts.address import EXPECTED_URL
from agent.alerts.heartbeat import HeartbeatOptions, HttpBeat
from agent.alerts.http import HttpClient
from agent.config import ConfigError, effective, parse
from agent.daemon.heartbeat import LOOK_AGAIN_S, RETRY_S, Heartbeat
from agent.secret import Secret
from agent.web.health import HealthView

if TYPE_CHECKING:
    from pathlib import Path

    from children import LeakyChild

PATH = "/ping/heartbeatPathSecret"
EVERY_S = 60.0


class Switch:
    """A heartbeat to a receiver, with ticks that are completed when told."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.clock = FakeClock()
        self.ticked_t_s: float | None = None
        options = HeartbeatOptions(Secret(receiver.url + PATH), EVERY_S)
        beat = HttpBeat(options, HttpClient(options.http, self.clock))
        self.heartbeat = Heartbeat("heartbeat", beat, EVERY_S, self.view, self.clock)

    def view(self) -> HealthView:
        return HealthView("0", 0.0, 10.0, self.ticked_t_s, 0.0, 0, 0, 0)

    def tick(self) -> None:
        self.ticked_t_s = self.clock.now().t_s

    def turn(self, seconds: float = 0.0) -> tuple[int, float]:
        """Return how many beats came, and how long the heartbeat wants to wait."""
        before = len(self.receiver.requests)
        wait_s = self.heartbeat.turn(self.clock.advance(seconds))
        return len(self.receiver.requests) - before, wait_s


def test_it_beats_once_for_what_was_completed_and_not_before() -> None:
    with Receiver() as receiver:
        switch = Switch(receiver)
        assert switch.turn() == (0, LOOK_AGAIN_S)
        switch.tick()
        assert switch.turn() == (1, EVERY_S)
        assert switch.turn(EVERY_S) == (0, LOOK_AGAIN_S)
        switch.tick()
        assert switch.turn() == (1, EVERY_S)
        (first, _) = receiver.requests

    assert (first.method, first.path, first.body) == ("POST", PATH, b"")


def test_a_tick_of_long_ago_is_no_sign_of_life() -> None:
    with Receiver() as receiver:
        switch = Switch(receiver)
        switch.tick()
        assert switch.turn(61) == (0, LOOK_AGAIN_S)


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"), [(503, {}, RETRY_S), (429, {"Retry-After": "90"}, 90.0)]
)
def test_what_fails_is_tried_again_and_said_once(
    status: int, headers: dict[str, str], wait_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent")
    with Receiver() as receiver:
        switch = Switch(receiver)
        receiver.respond_with(status, headers, times=2)
        switch.tick()
        assert switch.turn() == (1, wait_s)
        assert switch.turn(RETRY_S) == (1, wait_s)
        assert switch.turn(RETRY_S) == (1, EVERY_S)

    assert [record.getMessage() for record in caplog.records] == ["delayed", "delivered"]
    assert "heartbeatPathSecret" not in str([record.__dict__ for record in caplog.records])


def test_a_page_is_an_answer_too() -> None:
    with Receiver() as receiver:
        receiver.respond_with(200, {"Content-Type": "text/html"}, b"<p>Got it, thanks!</p>")
        switch = Switch(receiver)
        switch.tick()
        assert switch.turn() == (1, EVERY_S)


def test_a_daemon_beats_while_it_ticks_and_stops_when_it_does_not(child: LeakyChild, tmp_path: Path) -> None:
    with Receiver() as receiver:
        heartbeat = {"url": receiver.url + PATH, "every": "30s"}
        with DaemonRig(tmp_path, {"api": child.pid}, heartbeat=heartbeat) as rig:
            rig.run(60)
            receiver.wait_for(1)
            rig.clock.rests("heartbeat-heartbeat")
            rig.run(60)
            receiver.wait_for(2)
            rig.clock.rests("heartbeat-heartbeat")
            for _ in range(4):
                rig.clock.advance(30)
                rig.clock.rests("heartbeat-heartbeat")
            before = len(receiver.requests)
            for _ in range(4):
                rig.clock.advance(30)
                rig.clock.rests("heartbeat-heartbeat")

            assert len(receiver.requests) == before


def test_its_address_is_a_secret() -> None:
    config = parse(b"heartbeat: {url: 'https://hc.example/secretPath'}", "lw.yaml", {})
    assert "secretPath" not in effective(config) + repr(config)
    with pytest.raises(ConfigError) as caught:
        parse(b"heartbeat: {url: 'http://hc.example/secretPath', every: 1s}", "lw.yaml", {})
    assert str(caught.value).splitlines() == [
        'lw.yaml:1: heartbeat.every: expected at least 10s, found "1s"',
        f"lw.yaml:1: heartbeat.url: expected {EXPECTED_URL}, found another text (not shown)",
    ]


def test_an_empty_address_turns_it_off_aloud(child: LeakyChild, tmp_path: Path) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}, heartbeat={"url": "${HEARTBEAT_URL:-}"}) as rig:
        (off,) = rig.said("off")
        assert off.pairs == {"what": "heartbeat", "why": "url is empty"}
