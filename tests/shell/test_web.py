"""The health and metrics server, over real sockets on loopback."""

from __future__ import annotations

import http.client
import json
import logging
import socket
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes import FakeClock
from prometheus_client.parser import text_string_to_metric_families

from agent.secret import Secret
from agent.web.connections import MAX_AGE_S, MAX_CONNECTIONS, MAX_THREADS, Connections
from agent.web.health import ChannelHealth, HealthView, ServiceHealth
from agent.web.options import WebOptions
from agent.web.server import MAX_REQUEST_BYTES, WebError, WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "s3cret-t0ken"
ANYWHERE = "127.0.0.1:0"
VIEW = HealthView(
    version="0.1.0",
    started_t_s=9_000.0,
    interval_s=10.0,
    last_tick_t_s=9_995.0,
    tick_s=0.02,
    ticks=99,
    warnings_open=1,
    criticals_open=0,
    services=(
        ServiceHealth("api", 3, 448_000_000, 1_000_000_000, 24e6, leak=True, last_alert_wall_s=None),
        ServiceHealth('odd "name"\\', 1, 5, None, None, leak=False, last_alert_wall_s=None),
    ),
    channels=(ChannelHealth("slack", pending=2, parked=1, delivered=7, last_error="503 from host"),),
)


def server_of(
    options: WebOptions, view: Callable[[], HealthView] = lambda: VIEW, clock: FakeClock | None = None
) -> WebServer:
    return WebServer(options, view, clock or FakeClock(), poll_s=0.02)


@contextmanager
def serving(
    options: WebOptions | None = None, view: HealthView = VIEW, clock: FakeClock | None = None
) -> Iterator[WebServer]:
    server = server_of(options or WebOptions(ANYWHERE), lambda: view, clock)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ask(
    server: WebServer,
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(), response
    finally:
        connection.close()


def connect(server: WebServer, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(tuple(server.address), timeout=10)
    connection.sendall(sent)
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    with suppress(ConnectionResetError):
        return b"".join(iter(lambda: connection.recv(65536), b""))
    return b""


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
    assert told["channels"]["slack"] == {"pending": 2, "parked": 1, "lastError": "503 from host"}


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
    assert samples["leakwatch_processes", ("service", 'odd "name"\\')] == 1
    assert ("leakwatch_service_limit_bytes", ("service", 'odd "name"\\')) not in samples
    assert samples["leakwatch_incidents_open", ("severity", "warning")] == 1
    assert samples["leakwatch_deliveries", ("channel", "slack"), ("state", "parked")] == 1
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
    assert labels == {"service", "severity", "channel", "state", "version"}


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


def test_slow_peers_cannot_keep_a_scraper_out() -> None:
    with serving() as server:
        slow = [connect(server, b"GET /hea") for _ in range(3 * MAX_CONNECTIONS)]

        assert ask(server, "/healthz")[:2] == (200, "ok\n")
        for connection in slow:
            connection.close()


def test_a_request_that_takes_too_long_is_ended() -> None:
    clock = FakeClock()
    with serving(clock=clock) as server, connect(server, b"GET /healthz HTTP/1.1\r\nX: ") as slow:
        assert ask(server, "/healthz")[0] == 200  # the slow one was accepted before it
        clock.advance(MAX_AGE_S + 0.1)

        assert read_to_end(slow) == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"y" * 2 * MAX_REQUEST_BYTES + b"\r\n\r\n",
        b"GET /" + b"y" * 2 * MAX_REQUEST_BYTES + b" HTTP/1.1\r\n\r\n",
    ],
    ids=["many-headers", "long-header", "long-path"],
)
def test_a_request_that_is_too_large_is_not_read_to_its_end(request_bytes: bytes) -> None:
    with serving() as server, connect(server) as large:
        with suppress(ConnectionError):
            large.sendall(request_bytes)

        assert b" 200 " not in read_to_end(large)[:30]
        assert ask(server, "/healthz")[0] == 200


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\n", b"GET\r\n\r\n", b"\x00\r\n\r\n", b"A B C D E\r\n\r\n"]
)
def test_garbage_is_answered_or_ended_and_harms_nobody(
    garbage: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving() as server:
        with connect(server, garbage) as odd:
            odd.shutdown(socket.SHUT_WR)
            assert b" 200 " not in read_to_end(odd)

        assert ask(server, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_stopping_ends_open_connections_and_frees_the_port() -> None:
    server = server_of(WebOptions(ANYWHERE))
    server.start()
    address = server.address
    with connect(server, b"GET /") as slow:
        server.stop()

        assert read_to_end(slow) == b""
    again = server_of(WebOptions(f"127.0.0.1:{address.port}"))
    again.start()
    again.stop()


def test_stopping_what_never_started_is_harmless() -> None:
    server_of(WebOptions(ANYWHERE)).stop()


def test_a_newcomer_is_turned_away_only_when_ended_ones_do_not_leave() -> None:
    connections, pairs = Connections(), [socket.socketpair() for _ in range(MAX_THREADS + 1)]
    try:
        admitted = [connections.admit(ours, now_t_s=float(at)) for at, (ours, _) in enumerate(pairs)]
        connections.leave(pairs[0][0])

        assert admitted == [True] * MAX_THREADS + [False]
        assert connections.admit(pairs[-1][0], now_t_s=99.0)
    finally:
        for pair in pairs:
            for end in pair:
                end.close()


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
