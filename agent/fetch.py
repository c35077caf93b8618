"""Reads a page of somebody else's HTTP server: one deadline for all of it, bounded, no redirects."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from agent.units import format_bytes, format_duration

_CHUNK_BYTES = 65536


class FetchError(Exception):
    """Why there is no page: a sentence that names host and port, nothing else of the address."""


class _Address(NamedTuple):
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def fetch(url: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """Return the body that a GET of an http address answers.

    `timeout_s` holds for connecting, and once more for asking and reading together, however slowly the
    server drips; a body longer than `max_bytes` is refused. Raises FetchError, also for what is no address.
    """
    address = _parse(url)
    try:
        line = socket.create_connection((address.host, address.port), timeout_s)
    except (OSError, ValueError) as error:
        raise FetchError(f"{address}: {_words(error)}") from None
    expired = threading.Event()
    timer = threading.Timer(timeout_s, _end, (line, expired))
    timer.daemon = True
    timer.start()
    try:
        body = _get(line, address, max_bytes)
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = f"no whole answer within {format_duration(timeout_s)}" if expired.is_set() else _words(error)
        raise FetchError(f"{address}: {why}") from None
    finally:
        timer.cancel()
        line.close()
    if expired.is_set():
        raise FetchError(f"{address}: no whole answer within {format_duration(timeout_s)}")
    return body


def _parse(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise FetchError("not a web address") from None
    if parts.scheme != "http" or not host:
        raise FetchError("not an http:// address")
    return _Address(host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _end(line: socket.socket, expired: threading.Event) -> None:
    """Wake up whoever reads: a server that drips never runs into the time-out of a single read."""
    expired.set()
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _get(line: socket.socket, address: _Address, max_bytes: int) -> bytes:
    connection = http.client.HTTPConnection(address.host, address.port)
    connection.sock = line
    with closing(connection):
        connection.request("GET", address.path, headers={"User-Agent": "leakwatch", "Accept": "*/*"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise FetchError(f"{address} answered {answer.status}")
        body = bytearray()
        while chunk := answer.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > max_bytes:
                raise FetchError(f"{address}: its page is longer than {format_bytes(max_bytes)}")
        return bytes(body)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or (
        "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
    )
