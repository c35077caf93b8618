"""Slow, large and odd peers of the health and metrics server: they harm only themselves."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from fakes import FakeClock
from pages import ANYWHERE, ask, connect, read_to_end, server_of, serving

from agent.web.connections import MAX_AGE_S, MAX_CONNECTIONS, MAX_THREADS, Connections
from agent.web.options import WebOptions
from agent.web.server import MAX_REQUEST_BYTES


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
