"""The small HTTP server for probes and scrapers: three paths, bounded requests, an optional token."""

from __future__ import annotations

import hmac
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from agent.clock import Clock
from agent.logs import log_event
from agent.secret import Secret
from agent.text import MAX_NAME_CHARS, one_line
from agent.web import health
from agent.web.connections import MAX_AGE_S, MAX_CONNECTIONS, Connections
from agent.web.health import HealthView
from agent.web.metrics import Metrics
from agent.web.options import Address, WebError, exposure, listen_address

if TYPE_CHECKING:
    from agent.web.options import WebOptions

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 16_384
"""Request line, headers and body; a scraper's request has some 300 bytes."""
POLL_S = 0.25
"""How often overdue connections are looked for."""
STOP_S = 2.0


class Answer(NamedTuple):
    """A response."""

    status: HTTPStatus
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class _Site:
    view: Callable[[], HealthView]
    clock: Clock
    metrics: Metrics
    token: Secret | None

    def answer(self, path: str, accept: str) -> Answer:
        """Return what a path tells now."""
        if path == "/metrics":
            exposition = self.metrics.expose(accept)
            return Answer(HTTPStatus.OK, exposition.content_type, exposition.body)
        if path == "/health":
            return _json(HTTPStatus.OK, health.to_json(self.view(), self.clock.now()))
        if path == "/healthz":
            return _probe(alive=health.alive(self.view(), self.clock.now()))
        return _error(HTTPStatus.NOT_FOUND, "the paths are /healthz, /health and /metrics")

    def admits(self, authorization: str) -> bool:
        """Return whether a request with this Authorization header may be answered."""
        if not self.token:
            return True
        scheme, _, credential = authorization.partition(" ")
        given, wanted = credential.strip().encode("latin-1", "replace"), self.token.reveal().encode()
        return hmac.compare_digest(given, wanted) and scheme.lower() == "bearer"


class WebServer:
    """Answers from the daemon's view; `view` is called on the server's threads."""

    def __init__(
        self, options: WebOptions, view: Callable[[], HealthView], clock: Clock, poll_s: float = POLL_S
    ) -> None:
        self._options = options
        self._poll_s = poll_s
        self._site = _Site(view, clock, Metrics(view), options.token)
        self._server: _Server | None = None
        self._thread = threading.Thread(target=self._serve, name="leakwatch-web", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        if self._server is None:
            return listen_address(self._options.listen)
        return Address(*self._server.socket.getsockname()[:2])

    def start(self) -> None:
        """Listen and serve, once. Raises WebError."""
        try:
            problem = exposure(self._options)
            if problem:
                raise WebError(f"web.listen: {problem}")
            self._server = _Server(listen_address(self._options.listen), self._site)
        except ValueError as error:
            raise WebError(f"web.listen: expected {error}") from None
        except OSError as error:
            raise WebError(
                f"web.listen: cannot listen on {self._options.listen} ({error.strerror})"
            ) from None
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and end what is open; harmless when it never started."""
        if self._server is None:
            return
        self._server.shutdown()
        self._thread.join(STOP_S)
        self._server.connections.end_all(STOP_S)
        self._server.server_close()

    def _serve(self) -> None:
        if self._server is not None:
            self._server.serve_forever(self._poll_s)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 4 * MAX_CONNECTIONS

    def __init__(self, address: Address, site: _Site) -> None:
        self.site = site
        self.connections = Connections()
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the resolver for our own name, as HTTPServer would."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "leakwatch", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request, self.site.clock.now().t_s):
            super().process_request(request, client_address)
        else:
            super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.connections.leave(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.connections.end_older(self.site.clock.now().t_s)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a peer that breaks off is no change of our state."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = MAX_AGE_S
    server_version = "leakwatch"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile: Any = _BoundedReader(self.rfile)

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(self._answer())

    do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in JSON what the base class finds wrong; an unknown method is 405 here."""
        del explain
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._drain()
        self._send(_error(status, message or status.phrase))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: there is no line per request."""

    def _answer(self) -> Answer:
        if not self.server.site.admits(self.headers.get("Authorization", "")):
            return _error(HTTPStatus.UNAUTHORIZED, "a bearer token is required")
        try:
            return self.server.site.answer(self.path.partition("?")[0], self.headers.get("Accept", ""))
        except Exception as error:  # noqa: BLE001 - a broken view is an answer too
            log_event(
                logger,
                "refused",
                level=logging.ERROR,
                path=one_line(self.path, MAX_NAME_CHARS),
                error=repr(error),
            )
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "the view failed; see the log")

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _drain(self) -> None:
        """Read a small body: closing on unread bytes would reset the connection before our answer arrives."""
        length = getattr(self, "headers", {}).get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length) <= MAX_REQUEST_BYTES:
            self.rfile.read(int(length))


class _BoundedReader:
    """A request's bytes up to a maximum; beyond it raises what the base class answers with 431."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left_bytes = MAX_REQUEST_BYTES

    def readline(self, size: int) -> bytes:
        if self._left_bytes <= 0:
            raise LineTooLong("request")
        return self._count(self._file.readline(min(size, self._left_bytes)))

    def read(self, size: int) -> bytes:
        return self._count(self._file.read(min(size, self._left_bytes)))

    def close(self) -> None:
        self._file.close()

    def _count(self, data: bytes) -> bytes:
        self._left_bytes -= len(data)
        return data


def _probe(*, alive: bool) -> Answer:
    if alive:
        return Answer(HTTPStatus.OK, "text/plain; charset=utf-8", b"ok\n")
    return Answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", b"no poll completed in time\n")


def _json(status: HTTPStatus, value: Any) -> Answer:
    return Answer(status, "application/json", json.dumps(value).encode() + b"\n")


def _error(status: HTTPStatus, sentence: str) -> Answer:
    return _json(status, {"error": sentence})
