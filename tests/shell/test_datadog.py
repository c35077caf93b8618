"""Events, service checks and gauges over real sockets, and against Datadog's own client."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from alert_samples import EVIDENCE, WALL_S, alert, later
from datadog_agent import Listener, listening
from fakes import FakeClock

from agent.alerts.base import DeliveryError
from agent.alerts.datadog import DatadogChannel, DatadogOptions, lines
from agent.alerts.datagrams import Address, GaugeSender, parse_address
from agent.alerts.dogstatsd import Event, ServiceCheck, check_line, event_line, gauge, tag_list
from agent.model import Event as Why
from agent.model import State, Transition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datadog.dogstatsd.base import DogStatsd

    from agent.model import Alert

SCHEMES = ("udp", "unix", "unixstream")
STOP_S = 5.0
BREAK = b"\n"
"""Datadog's client ends the last line of a datagram too."""


def channel(address: str, **options: object) -> DatadogChannel:
    return DatadogChannel("datadog", DatadogOptions(address, **options), FakeClock())  # type: ignore[arg-type]


def told(sent: Alert, **options: object) -> tuple[str, str]:
    event, check = lines(sent, DatadogOptions(**options), WALL_S)  # type: ignore[arg-type]
    return event.decode(), check.decode()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_alert_arrives_as_an_event_and_a_service_check(scheme: str, tmp_path: Path) -> None:
    with listening(scheme, tmp_path) as agent:
        channel(agent.address).send(alert())
        event, check = agent.lines(at_least=1)

    assert event.startswith(b"_e{")
    assert b"api leaks 24 MB/h" in event
    assert check.startswith(b"_sc|leakwatch.leak|2|")


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("udp://127.0.0.1:{port}", "connection refused; is the Datadog Agent running, with DogStatsD on?"),
        ("unix://{folder}/no", "no such file or directory; there is no such socket, is the Datadog"),
        ("unixstream://{folder}/no", "no such file or directory; there is no such socket"),
        ("unix://{folder}", "connection refused"),
    ],
)
def test_an_agent_that_does_not_listen_is_noticed_and_tried_again(
    address: str, why: str, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    place = address.format(port=port, folder=tmp_path)
    with pytest.raises(DeliveryError) as caught:
        channel(place).send(alert())

    assert f"{place.split('//')[1]} does not take datagrams: {why}" in str(caught.value)
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("udp://127.0.0.1:8125", Address("udp", "127.0.0.1", 8125)),
        ("udp://[::1]:8125", Address("udp", "::1", 8125)),
        ("udp://datadog-agent:8125/", Address("udp", "datadog-agent", 8125)),
        ("unix:///var/run/datadog/dsd.socket", Address("unix", "/var/run/datadog/dsd.socket")),
        ("unixstream:///a", Address("unixstream", "/a")),
    ],
)
def test_addresses_are_read(text: str, parts: Address) -> None:
    assert parse_address(text) == parts


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:8125", "udp://host", "udp://host:0", "udp://host:65536", "unix://relative", "tcp://a:1", ""],
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="udp://host:port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("sent", "kind", "priority", "status"),
    [
        (alert(), "error", "normal", 2),
        (alert(severity=State.WARNING), "warning", "normal", 1),
        (later(2, Transition.WORSENED), "error", "normal", 2),
        (later(2, Transition.REMINDED), "error", "low", 2),
        (later(2, Transition.RESOLVED), "success", "normal", 0),
        (later(2, Transition.GONE), "info", "normal", 0),
        (alert(drill=True), "error", "low", 2),
    ],
    ids=["critical", "warning", "worsened", "reminded", "resolved", "gone", "drill"],
)
def test_a_transition_has_its_type_priority_and_status(
    sent: Alert, kind: str, priority: str, status: int
) -> None:
    event, check = told(sent)

    assert f"|k:leakwatch-7f3a9c21|p:{priority}|s:leakwatch|t:{kind}|#" in event
    assert check.startswith(f"_sc|leakwatch.leak|{status}|d:{WALL_S:.0f}|h:web-3|#subject:heap,")


def test_tags_name_the_service_and_never_the_pid_or_the_command() -> None:
    event, check = told(alert(kind="native"), prefix="fleet", tags={"env": "prod"})

    assert event.endswith(
        "|#severity:critical,subject:heap,kind:native,transition:opened,incident:7f3a9c21,service:api,"
        "env:prod,team:shop"
    )
    assert check.startswith("_sc|fleet.leak|2|")
    assert "|#subject:heap,service:api,env:prod,team:shop|m:api leaks 24 MB/h" in check
    assert "4211" not in event.split("|#")[1]


def test_an_event_says_what_a_person_needs() -> None:
    event, _ = told(alert(evidence=EVIDENCE))

    for words in (
        "Growth rate: 24 MB/h (21 MB/h to 27 MB/h)\\n",
        "- for: floors rose 9 of 10 blocks",
        "- top stack: handlers.remember:88 in 11 of 12 threads",
        "What to do:",
        "Command: gunicorn: worker [shop.wsgi]",
    ):
        assert words in event


def test_what_is_not_about_one_service_has_no_service_check() -> None:
    storm = alert(event=Why.STORM, headline="23 more services leak since 14:02", items=("api", "web"))
    (event,) = lines(storm, DatadogOptions(), WALL_S)

    assert b"Incidents:\\n- api\\n- web" in event


def test_an_event_that_waited_for_too_long_is_told_as_of_now() -> None:
    in_time, _ = lines(alert(), DatadogOptions(), WALL_S + 17 * 3600)
    late, check = lines(alert(), DatadogOptions(), WALL_S + 19 * 3600)

    assert b"|d:1800000000|" in in_time
    assert b"|d:" not in late
    assert b"|d:1800068400|" in check


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[tuple[DogStatsd, Listener]]:
    """Datadog's own client, talking to a socket of ours."""
    base = pytest.importorskip("datadog.dogstatsd.base", reason="Datadog's client is not installed")
    with listening("udp", tmp_path) as agent:
        client = base.DogStatsd(
            host="127.0.0.1",
            port=int(agent.address.rpartition(":")[2]),
            disable_telemetry=True,
            disable_buffering=True,
            origin_detection_enabled=False,
        )
        try:
            yield client, agent
        finally:
            client.close_socket()
            client.stop()


def test_datadogs_own_client_sends_the_same_gauge(oracle: tuple[DogStatsd, Listener]) -> None:
    client, agent = oracle
    client.gauge("fleet.memory.heap_percent", 44.8, tags=["service:a b", "team:ü/1"])

    own = gauge("fleet.memory.heap_percent", 44.8, tag_list([("service", "a b"), ("team", "ü/1")]))
    assert agent.datagrams(at_least=1) == [own + BREAK]


def test_datadogs_own_client_sends_the_same_event(oracle: tuple[DogStatsd, Listener]) -> None:
    client, agent = oracle
    client.event(
        "é leaks", "one|two\nthree 😀", alert_type="error", aggregation_key="k1", priority="normal",
        source_type_name="leakwatch", date_happened=1_800_000_000, tags=["service:api,1"], hostname="web-3",
    )  # fmt: skip

    tags = tag_list([("service", "api,1")])
    event = Event("é leaks", "one|two\nthree 😀", 1.8e9, "web-3", "k1", "normal", "leakwatch", "error", tags)
    assert agent.datagrams(at_least=1) == [event_line(event) + BREAK]


def test_datadogs_own_client_sends_the_same_service_check(oracle: tuple[DogStatsd, Listener]) -> None:
    client, agent = oracle
    client.service_check(
        "leakwatch.leak", 2, tags=["service:api"], timestamp=1_800_000_000, hostname="web-3",
        message="for 3m: high\nsee web",
    )  # fmt: skip

    check = ServiceCheck("leakwatch.leak", 2, 1.8e9, "web-3", "for 3m: high\nsee web", "service:api")
    assert agent.datagrams(at_least=1) == [check_line(check) + BREAK]


@pytest.fixture
def senders() -> Iterator[list[GaugeSender]]:
    started: list[GaugeSender] = []
    yield started
    for one in started:
        one.stop(STOP_S)


@pytest.mark.parametrize(("scheme", "most"), [("udp", 1432), ("unix", 8192), ("unixstream", 8192)])
def test_gauges_are_packed_into_as_few_datagrams_as_fit(
    scheme: str, most: int, tmp_path: Path, senders: list[GaugeSender]
) -> None:
    batch = [gauge("fleet.threads", at, "service:api") for at in range(400)]
    with listening(scheme, tmp_path) as agent:
        senders.append(GaugeSender("datadog", parse_address(agent.address)))
        senders[0].offer(batch)
        total = sum(map(len, batch)) + len(batch)
        datagrams = agent.datagrams(at_least=-(-total // most))

    assert [line for one in datagrams for line in one.split(b"\n")] == batch
    assert most - 40 < max(map(len, datagrams)) <= most
    assert senders[0].dropped == 0


def test_gauges_that_nobody_takes_are_counted_and_said_once_until_they_pass_again(
    tmp_path: Path, senders: list[GaugeSender], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "agent")
    path = tmp_path / "dsd.socket"
    sender = GaugeSender("datadog", parse_address(f"unix://{path}"))
    senders.append(sender)
    for count in (1, 2):
        sender.offer([b"a:1|g", b"b:1|g"])
        while sender.dropped < 2 * count:
            os.sched_yield()
    with listening("unix", tmp_path) as agent:
        sender.offer([b"c:1|g"])
        assert agent.datagrams(at_least=1) == [b"c:1|g"]
        sender.stop(STOP_S)

    lines_told = [(one.getMessage(), one.pairs) for one in caplog.records]  # type: ignore[attr-defined]
    why = f"{path} does not take datagrams: no such file or directory; there is no such socket"
    assert [word for word, _ in lines_told] == ["dropped", "delivered"]
    assert why in str(lines_told[0][1]["why"])
    assert lines_told[1][1] == {"channel": "datadog", "what": "gauges", "dropped": 4}


def test_an_agent_that_reads_nothing_delays_nobody(tmp_path: Path, senders: list[GaugeSender]) -> None:
    batch = [gauge("fleet.threads", at, "x" * 800) for at in range(20_000)]
    with listening("unix", tmp_path) as agent:
        sender = GaugeSender("datadog", parse_address(agent.address))
        senders.append(sender)
        for _ in range(50):
            sender.offer(batch)
        dropped_at_once = sender.dropped

    assert dropped_at_once >= 48 * len(batch)


def test_a_stream_that_the_agent_closed_is_opened_again(tmp_path: Path, senders: list[GaugeSender]) -> None:
    with listening("unixstream", tmp_path) as agent:
        sender = GaugeSender("datadog", parse_address(agent.address))
        senders.append(sender)
        sender.offer([b"a:1|g"])
        first = agent.datagrams(at_least=1)
        agent.hang_up()
        sender.offer([b"b:1|g"])
        while not sender.dropped:
            os.sched_yield()
        sender.offer([b"c:1|g"])
        again = agent.datagrams(at_least=1)

    assert (first, again) == ([b"a:1|g"], [b"c:1|g"])
