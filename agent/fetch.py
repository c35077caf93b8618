"""Reads a page of somebody else's HTTP server: one deadline for all of it, bounded, no redirects."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse
    from types import TracebackType
    from typing import Self

_CHUNK_BYTES = 65536
_HTTP_PORT = 80
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no time (socket(7)): a server in mid-sentence learns at once that nobody listens any more."""


class FetchError(Exception):
    """Why there is no page: a sentence that names host and port, nothing else of the address."""


class _UnusableError(Exception):
    """What came is no answer."""


class Address(NamedTuple):
    """The parts of an http address."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def fetch(url: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """Return the body that a GET of an http address answers, as `fetch_into` gets it."""
    body = bytearray()
    fetch_into(url, body.extend, timeout_s=timeout_s, max_bytes=max_bytes)
    return bytes(body)


def fetch_into(url: str, sink: Callable[[bytes], object], *, timeout_s: float, max_bytes: int) -> None:
    """Hand the body that a GET of an http address answers to `sink`, in pieces; it must not raise.

    `timeout_s` holds for connecting, asking and reading together, however slowly or endlessly the server
    sends; only the look-up of a host's name is the resolver's own time. A body longer than `max_bytes` is
    refused. Raises FetchError, also for what is no address; what `sink` was given then is no page.
    """
    address = parse_address(url)
    with _Deadline(timeout_s) as deadline:
        try:
            with closing(deadline.connect(address)) as line:
                _get(line, address, sink, max_bytes)
        except (OSError, ValueError, _UnusableError) as error:
            late = deadline.expired.is_set() or isinstance(error, TimeoutError)
            why = deadline.words if late else _words(error)
            raise FetchError(f"{address}: {why}") from None
    if deadline.expired.is_set():
        raise FetchError(f"{address}: {deadline.words}")


def parse_address(url: str) -> Address:
    """Return the parts of an http address. Raises FetchError for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise FetchError("not a web address") from None
    if parts.scheme != "http" or not host:
        raise FetchError("not an http:// address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(host, _HTTP_PORT if port is None else port, path)


class _Line(socket.socket):
    """A connection that gives nothing any more once its time is up, also to who finds it always readable."""

    expired: threading.Event

    def recv_into(self, *arguments: Any) -> int:
        """Receive as a socket does. Raises TimeoutError once the time is up."""
        if self.expired.is_set():
            raise TimeoutError
        return super().recv_into(*arguments)


class _Deadline:
    """Ends the newest connection when the time is up: a server that drips never runs into a time-out."""

    def __init__(self, timeout_s: float) -> None:
        self.expired = threading.Event()
        self._timeout_s = timeout_s
        self._line: _Line | None = None
        self._timer = threading.Timer(timeout_s, self._end)
        self._timer.daemon = True
        self.words = f"no whole answer within {timeout_s:g}s"

    def connect(self, address: Address) -> _Line:
        """Return a connection to the first address of the host that answers. Raises OSError, UnicodeError."""
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, place in found:
            line = _Line(family, kind, protocol)
            line.expired = self.expired
            line.settimeout(self._timeout_s)
            self._line = line
            try:
                if self.expired.is_set():
                    raise TimeoutError
                line.connect(place)
            except OSError as error:
                line.close()
                failure = error
            else:
                return line
        raise failure

    def _end(self) -> None:
        self.expired.set()
        if self._line is not None:
            with suppress(OSError):
                self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                self._line.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        try:
            self._timer.start()
        except RuntimeError:
            raise FetchError("no thread can be started to watch the time") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()


def _get(line: _Line, address: Address, sink: Callable[[bytes], object], max_bytes: int) -> None:
    import http.client  # noqa: PLC0415 - 6 MB, and few files name a page

    connection = http.client.HTTPConnection(address.host, address.port)
    connection.sock = line
    try:
        with closing(connection):
            connection.request("GET", address.path, headers={"User-Agent": "leakwatch", "Accept": "*/*"})
            with closing(http.client.HTTPResponse(line, method="GET")) as answer:
                answer.begin()
                if answer.status != http.client.OK:
                    raise FetchError(f"{address} answered {answer.status}")
                _read(answer, address, sink, max_bytes)
    except http.client.IncompleteRead:
        raise _UnusableError("its page was cut off") from None
    except http.client.HTTPException:
        raise _UnusableError("it does not speak HTTP") from None


def _read(answer: HTTPResponse, address: Address, sink: Callable[[bytes], object], max_bytes: int) -> None:
    received = 0
    while chunk := answer.read1(_CHUNK_BYTES):
        received += len(chunk)
        if received > max_bytes:
            raise FetchError(f"{address}: its page is longer than {format_bytes(max_bytes)}")
        sink(chunk)
    if answer.length:
        raise _UnusableError("its page was cut off")


def _words(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    return getattr(error, "strerror", None) or type(error).__name__
