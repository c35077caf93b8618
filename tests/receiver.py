"""A real HTTP server on loopback that keeps what it is sent and misbehaves on request.

with Receiver() as receiver:
    receiver.respond_with(429, {"Retry-After": "7"}, times=1)  # afterwards 200 "ok" again
    ...                                                        # something posts to receiver.url
    first, second = receiver.wait_for(2)
    assert first.json()["text"] == "..."
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl

DRIP_INTERVAL_S = 0.02
MAX_DRIPS = 5000


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names are looked up in any case."""

    method: str
    path: str
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Answers every request with 200 "ok" until told otherwise; `tls` makes it an https server."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._behaviours: list[tuple[_Behaviour, int | None]] = [(_answer(200, {}, b"ok"), None)]
        self.closing = threading.Event()
        self._server = _Server(self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,), name="receiver")
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()
        self._thread.join()

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._changed:
            self._requests.clear()

    def wait_for(self, count: int, timeout_s: float = 10.0) -> list[Request]:
        """Return the requests once there are that many; fails when they do not come in time."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._requests) >= count, timeout_s)
            assert arrived, f"{len(self._requests)} of {count} requests after {timeout_s} s"
            return list(self._requests)

    def respond_with(
        self,
        status: int,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        times: int | None = None,
    ) -> None:
        """Answer so from now on, or so many times and then as before."""
        self._behave(_answer(status, headers or {}, body), times)

    def hang(self, times: int | None = None) -> None:
        """Take the request and never answer."""
        self._behave(lambda handler: handler.receiver.closing.wait() and None, times)

    def reset(self, times: int | None = None) -> None:
        """Take the request and reset the connection."""
        self._behave(_reset, times)

    def drip(self, part: str = "body", status: int = 200, times: int | None = None) -> None:
        """Answer a byte at a time and never finish: in the "body" or already in the "headers"."""
        self._behave(lambda handler: _drip(handler, part, status), times)

    def _behave(self, behaviour: _Behaviour, times: int | None) -> None:
        with self._changed:
            self._behaviours.append((behaviour, times))

    def take(self, request: Request) -> _Behaviour:
        """Keep a request and return how to answer it."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            behaviour, times = self._behaviours[-1]
            if times is not None:
                self._behaviours[-1:] = [(behaviour, times - 1)] if times > 1 else []
            return behaviour


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def receiver(self) -> Receiver:
        return self.server.receiver

    def handle_any(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.receiver.take(Request(self.command, self.path, self.headers, body))(self)

    do_GET = do_POST = do_PUT = do_CONNECT = handle_any  # noqa: N815 - names that http.server calls

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Stay silent: the requests are kept."""


_Behaviour = Callable[[_Handler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, receiver: Receiver, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver
        self._tls = tls
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End what clients still hold open, so that no handler waits for them."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """Stay silent: clients that hang up are what the tests are about."""


def _answer(status: int, headers: Mapping[str, str], body: bytes) -> _Behaviour:
    def answer(handler: _Handler) -> None:
        handler.send_response_only(status)
        always = {"Content-Length": str(len(body)), "Connection": "close", "Date": handler.date_time_string()}
        for name, value in (always | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _reset(handler: _Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()


def _drip(handler: _Handler, part: str, status: int) -> None:
    if part == "headers":
        handler.wfile.write(b"HTTP/1.1 %d OK\r\nX-Slow: " % status)
    else:
        _answer(status, {"Content-Length": str(MAX_DRIPS)}, b"")(handler)
    for _ in range(MAX_DRIPS):
        if handler.receiver.closing.wait(DRIP_INTERVAL_S):
            return
        handler.wfile.write(b".")
        handler.wfile.flush()
