"""The health of the whole, from a view and the present."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.model import Instant, Subject
from agent.secret import Secret
from agent.web import health
from agent.web.health import Chance, ChannelHealth, HealthView, ServiceHealth, SilenceHealth, Status
from agent.web.options import Address, WebOptions, exposure, listen_address

NOW = Instant(1000.0, 1_800_000_000.0)
SERVICE = ServiceHealth(
    "api",
    3,
    448_000_000,
    1_000_000_000,
    24e6,
    leak=True,
    last_alert_wall_s=1_799_999_000.0,
    chances=(Chance(Subject.HEAP, 0.9684),),
)
CHANNEL = ChannelHealth("slack", pending=0, parked=0, delivered=4, last_error=None)
VIEW = HealthView(
    version="0.1.0",
    started_t_s=900.0,
    interval_s=10.0,
    last_tick_t_s=995.0,
    tick_s=0.02,
    ticks=10,
    warnings_open=0,
    criticals_open=0,
    services=(SERVICE,),
    channels=(CHANNEL,),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Status.HEALTHY),
        ({"warnings_open": 1}, Status.DEGRADED),
        ({"channels": (replace(CHANNEL, parked=1),)}, Status.DEGRADED),
        ({"channels": (replace(CHANNEL, last_error="503 from host"),)}, Status.DEGRADED),
        ({"channels": (replace(CHANNEL, pending=3),)}, Status.HEALTHY),
        ({"criticals_open": 1, "warnings_open": 1}, Status.CRITICAL),
        ({"last_tick_t_s": 970.0}, Status.HEALTHY),
        ({"last_tick_t_s": 969.0}, Status.CRITICAL),
        ({"last_tick_t_s": None}, Status.CRITICAL),
        ({"last_tick_t_s": None, "started_t_s": 980.0}, Status.HEALTHY),
    ],
)
def test_the_status_is_the_worst_that_holds(change: dict[str, object], expected: Status) -> None:
    assert health.status(replace(VIEW, **change), NOW) == expected  # type: ignore[arg-type]


def test_a_view_goes_stale_by_itself_when_the_daemon_hangs() -> None:
    later = Instant(NOW.t_s + 60.0, NOW.wall_s + 60.0)

    assert health.alive(VIEW, NOW)
    assert not health.alive(VIEW, later)


def test_health_speaks_the_words_of_its_readers() -> None:
    assert health.to_json(VIEW, NOW) == {
        "status": "healthy",
        "version": "0.1.0",
        "uptimeSeconds": 100.0,
        "lastTickSeconds": 5.0,
        "services": {
            "api": {
                "heapUsed": 448_000_000,
                "limit": 1_000_000_000,
                "heapPercent": 44.8,
                "growthRate": 24_000_000,
                "leakDetected": True,
                "leakProbability": {"heap": 0.968},
                "lastLeakAlert": "2027-01-15T07:43:20+00:00",
                "processes": 3,
            }
        },
        "channels": {"slack": {"pending": 0, "parked": 0, "lastError": None, "failingSeconds": 0}},
        "silences": [],
    }


def test_health_names_what_is_silenced_and_until_when() -> None:
    silence = SilenceHealth("api-*", 1_800_003_600.0, "ana")

    told = health.to_json(replace(VIEW, silences=(silence,)), NOW)

    assert told["silences"] == [{"service": "api-*", "until": "2027-01-15T09:00:00+00:00", "by": "ana"}]


def test_what_is_not_known_is_null() -> None:
    unknown = replace(SERVICE, limit_bytes=None, growth_bytes_per_hour=None, last_alert_wall_s=None)

    told = health.to_json(replace(VIEW, last_tick_t_s=None, services=(unknown,)), NOW)

    assert told["lastTickSeconds"] is None
    api = told["services"]["api"]
    assert [api[key] for key in ("limit", "heapPercent", "growthRate", "lastLeakAlert")] == [None] * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9477", Address("127.0.0.1", 9477)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:80", Address("localhost", 80)),
    ],
)
def test_an_address_is_host_and_port(text: str, expected: Address) -> None:
    assert listen_address(text) == expected


@pytest.mark.parametrize(
    "text", ["9477", ":9477", "host:", "host:x", "::1:9477", "[::1]", "[h]:1", "h:65536", "h:\u0661"]
)
def test_anything_else_is_told_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        listen_address(text)


@pytest.mark.parametrize(
    ("listen", "token", "refused"),
    [
        ("127.0.0.1:1", None, False),
        ("127.8.8.8:1", None, False),
        ("[::1]:1", None, False),
        ("localhost:1", None, False),
        ("0.0.0.0:1", None, True),
        ("[::]:1", None, True),
        ("web-3:1", None, True),
        ("0.0.0.0:1", Secret(""), True),
        ("0.0.0.0:1", Secret("t0ken"), False),
    ],
)
def test_only_loopback_needs_no_token(listen: str, token: Secret | None, *, refused: bool) -> None:
    assert (exposure(WebOptions(listen, token)) is not None) is refused
