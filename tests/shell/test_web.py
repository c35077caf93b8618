"""What the health and metrics server answers, over real sockets on loopback."""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock
from pages import ANYWHERE, VIEW, ask, server_of, serving
from prometheus_client.parser import text_string_to_metric_families

from agent.secret import Secret
from agent.web.options import WebError, WebOptions

if TYPE_CHECKING:
    from agent.web.health import HealthView

TOKEN = "s3cret-t0ken"


def test_healthz_is_ok_while_polls_are_completed() -> None:
    with serving() as server:
        assert ask(server, "/healthz")[:2] == (200, "ok\n")


def test_healthz_fails_once_three_intervals_have_passed_without_a_poll() -> None:
    clock = FakeClock()
    with serving(clock=clock) as server:
        clock.advance(26.0)

        assert ask(server, "/healthz")[0] == 503


def test_health_is_json_with_every_service_and_channel() -> None:
    with serving() as server:
        status, body, response = ask(server, "/health")

    told = json.loads(body)
    assert (status, response.headers["Content-Type"]) == (200, "application/json")
    assert told["status"] == "degraded"
    assert told["services"]["api"]["heapPercent"] == 44.8
    assert told["channels"]["slack"] == {
        "pending": 2,
        "parked": 1,
        "lastError": "503 from host",
        "failingSeconds": 90,
    }


def test_metrics_are_read_by_the_prometheus_parser() -> None:
    with serving() as server:
        status, body, response = ask(server, "/metrics")

    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert status == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    assert samples["leakwatch_service_heap_bytes", ("service", "api")] == 448_000_000
    assert samples["leakwatch_service_limit_bytes", ("service", "api")] == 1_000_000_000
    assert samples["leakwatch_service_growth_bytes_per_hour", ("service", "api")] == 24e6
    assert samples["leakwatch_service_leak", ("service", "api")] == 1
    chance = "leakwatch_service_leak_probability"
    assert {key: value for key, value in samples.items() if key[0] == chance} == {
        (chance, ("service", "api"), ("subject", "heap")): 0.968
    }
    assert samples["leakwatch_processes", ("service", 'odd "name"\\')] == 1
    assert ("leakwatch_service_limit_bytes", ("service", 'odd "name"\\')) not in samples
    assert samples["leakwatch_incidents_open", ("severity", "warning")] == 1
    assert samples["leakwatch_deliveries", ("channel", "slack"), ("state", "parked")] == 1
    assert samples["leakwatch_channel_failing_seconds", ("channel", "slack")] == 90.2
    assert samples[("leakwatch_ticks_total",)] == 99
    assert samples[("leakwatch_tick_seconds",)] == 0.02
    assert samples["leakwatch_build_info", ("version", "0.1.0")] == 1
    assert samples[("process_resident_memory_bytes",)] > 1_000_000


def test_metrics_never_carry_a_pid_or_a_command_line() -> None:
    with serving() as server:
        body = ask(server, "/metrics")[1]

    labels = {
        label
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        for label in sample.labels
    }
    assert labels == {"service", "subject", "severity", "channel", "state", "version"}


def test_a_scraper_that_asks_for_openmetrics_gets_it() -> None:
    wanted = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    with serving() as server:
        _, body, response = ask(server, "/metrics", headers=wanted)

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/healthz", "/health", "/metrics"])
def test_head_has_the_headers_of_get_and_no_body(path: str) -> None:
    with serving() as server:
        status, body, response = ask(server, path, "HEAD")

    assert (status, body) == (200, "")
    assert int(response.headers["Content-Length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(method: str) -> None:
    with serving() as server:
        status, body, response = ask(server, "/health", method, body="x" * 5000)

    assert (status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert "error" in json.loads(body)


@pytest.mark.parametrize("path", ["/", "/healthz/", "/../etc/passwd", "*", "/%2e"])
def test_other_paths_are_not_found_in_json(path: str) -> None:
    with serving() as server:
        status, body, _ = ask(server, path)

    assert (status, list(json.loads(body))) == (404, ["error"])


def test_a_query_does_not_change_the_path() -> None:
    with serving() as server:
        assert ask(server, "/healthz?verbose=1")[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/health", "/metrics", "/nothing"])
@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"],
    ids=["none", "empty", "bare", "wrong", "scheme", "longer", "not-ascii"],
)
def test_without_the_token_nothing_is_told(path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with serving(WebOptions(ANYWHERE, Secret(TOKEN))) as server:
        status, body, response = ask(server, path, headers=headers)

    assert (status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert TOKEN not in body


def test_with_the_token_it_answers() -> None:
    with serving(WebOptions(ANYWHERE, Secret(TOKEN))) as server:
        assert ask(server, "/health", headers={"Authorization": f"bearer {TOKEN}"})[0] == 200


def test_listening_for_others_without_a_token_is_refused() -> None:
    server = server_of(WebOptions("0.0.0.0:0"))

    with pytest.raises(WebError, match=r"web\.listen: 0\.0\.0\.0:0 is not loopback.*set web\.token"):
        server.start()


def test_an_address_in_use_is_told() -> None:
    with serving() as server:
        second = server_of(WebOptions(f"127.0.0.1:{server.address.port}"))

        with pytest.raises(WebError, match=r"cannot listen on 127\.0\.0\.1:.*Address already in use"):
            second.start()
    second.stop()


def test_a_view_that_fails_is_an_answer_and_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> HealthView:
        raise RuntimeError("inner detail")

    server = server_of(WebOptions(ANYWHERE), broken)
    server.start()
    with caplog.at_level(logging.ERROR):
        answers = [ask(server, path)[:2] for path in ("/healthz", "/health", "/metrics")]
    server.stop()

    assert [status for status, _ in answers] == [500, 500, 500]
    assert not any("inner detail" in body for _, body in answers)
    assert len(caplog.records) == 3


def test_stopping_what_never_started_is_harmless() -> None:
    server_of(WebOptions(ANYWHERE)).stop()


def test_an_ipv6_loopback_address_serves() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    server = server_of(WebOptions("[::1]:0"), lambda: replace(VIEW, ticks=1))
    try:
        server.start()
    except WebError as error:
        pytest.skip(str(error))
    answer = ask(server, "/healthz")[0]
    server.stop()

    assert answer == 200
