"""A running health and metrics server for tests, and ways to ask it."""

from __future__ import annotations

import http.client
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fakes import FakeClock

from agent.model import Subject
from agent.web.health import Chance, ChannelHealth, HealthView, ServiceHealth
from agent.web.options import WebOptions
from agent.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        ServiceHealth(
            "api",
            3,
            448_000_000,
            1_000_000_000,
            24e6,
            leak=True,
            last_alert_wall_s=None,
            chances=(Chance(Subject.HEAP, 0.968),),
        ),
        ServiceHealth('odd "name"\\', 1, 5, None, None, leak=False, last_alert_wall_s=None),
    ),
    channels=(
        ChannelHealth("slack", pending=2, parked=1, delivered=7, last_error="503 from host", failing_s=90.2),
    ),
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
