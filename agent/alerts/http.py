"""HTTP for channels: one bounded request, whose errors name the host and never the rest of an address."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL, InvalidSchema, ProxyError, Timeout
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from agent import __version__
from agent.alerts.address import host_of, is_loopback, split_url
from agent.alerts.answers import Response
from agent.alerts.base import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.options import HttpOptions
    from agent.clock import Clock
    from agent.secret import Secret

MAX_BODY_BYTES = 64 * 1024
TOTAL_FACTOR = 3
"""Connecting, sending and reading together may take this many times the `timeout` of one of them."""

_OWN_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"leakwatch/{__version__}"}
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")

logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
# Its lines hold whole addresses ("Failed to parse headers (url=...)"), and ours are secrets.


class HttpClient:
    """Posts and asks with the time-out, the proxy and the CA bundle of one channel.

    Without a proxy of its own it uses those of the environment (HTTPS_PROXY, NO_PROXY), except to
    loopback. Redirects are not followed. Resolving the host's name is bounded by the system's resolver.
    """

    def __init__(self, options: HttpOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    def post(self, url: Secret | str, body: bytes, headers: dict[str, str]) -> Response:
        """Send one request and return whatever answer came, of any status.

        Raises DeliveryError, never permanent, when none came.
        """
        return self._request(url, body, headers)

    def get(self, url: Secret | str, headers: dict[str, str]) -> Response:
        """Ask for something, as `post` sends."""
        return self._request(url, None, headers)

    def _request(self, url: Secret | str, body: bytes | None, headers: dict[str, str]) -> Response:
        address = url if isinstance(url, str) else url.reveal()
        deadline = _Deadline(self._options.timeout_s * TOTAL_FACTOR)
        try:
            with deadline.running(), self._session(address, deadline) as session:
                return self._exchange(session, address, body, headers, deadline)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            sentence = _explain(error, host_of(address), self._options, deadline)
        # Outside the handler, so that the error's own text, which holds the address, is not chained.
        raise DeliveryError(sentence)

    def _session(self, address: str, deadline: _Deadline) -> requests.Session:
        session = requests.Session()
        session.auth = _unchanged  # or requests would look for the host in ~/.netrc
        session.trust_env = not is_loopback(split_url(address).hostname or "")
        session.mount("https://", _Adapter(deadline))
        session.mount("http://", _Adapter(deadline))
        return session

    def _exchange(
        self,
        session: requests.Session,
        address: str,
        body: bytes | None,
        headers: dict[str, str],
        deadline: _Deadline,
    ) -> Response:
        proxy = self._options.proxy.reveal() if self._options.proxy else ""
        with session.request(
            "GET" if body is None else "POST",
            address,
            data=body,
            headers=_OWN_HEADERS | headers,
            timeout=self._options.timeout_s,
            proxies={"http": proxy, "https": proxy} if proxy else None,
            verify=self._options.ca_bundle or None,
            allow_redirects=False,
            stream=True,
        ) as answer:
            if deadline.expired:  # cut headers look like ended ones to http.client
                raise requests.Timeout
            known = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, known, _read(answer), self._clock.now().wall_s)


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(answer: requests.Response) -> bytes:
    """Return the start of the body; the status has already decided, so a broken body is an empty one."""
    try:
        return bytes(answer.raw.read(MAX_BODY_BYTES, decode_content=False))
    except Exception:  # noqa: BLE001 - urllib3 and http.client raise a dozen kinds here
        return b""


class _Deadline:
    """Ends a request as a whole: time-outs of single reads never fire on a server that drips."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time of a block; every socket watched is released after it."""
        self._timer.start()
        try:
            yield
        finally:
            self._timer.cancel()
            self._timer.join()
            for watched in self._sockets:
                watched.close()

    def watch(self, connection: socket.socket) -> None:
        """Keep a second handle on a connection: TLS takes the first one over."""
        with self._lock:
            self._sockets.append(connection.dup())
        if self.expired:
            self._expire()

    def _expire(self) -> None:
        self.expired = True
        with self._lock:
            for watched in self._sockets:
                with suppress(OSError):
                    watched.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """Connections, direct or through a proxy, that a deadline can cut."""

    def __init__(self, deadline: _Deadline) -> None:
        self._pools = _pools(deadline)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pool of connections through a proxy."""
        known = super().proxy_manager_for(proxy, **kwargs)
        known.pool_classes_by_scheme = self._pools
        return known


def _pools(deadline: _Deadline) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            deadline.watch(connection)
            return connection

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            deadline.watch(connection)
            return connection

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _explain(error: Exception, host: str, options: HttpOptions, deadline: _Deadline) -> str:
    """Return a sentence of our own: the texts of requests hold the address."""
    timeout_s = options.timeout_s
    if deadline.expired:
        return f"no complete answer from {host} within {timeout_s * TOTAL_FACTOR:g} s"
    if isinstance(error, Timeout):
        return f"no answer from {host} within {timeout_s:g} s"
    if isinstance(error, (ProxyError, InvalidProxyURL, InvalidSchema)):
        proxy = f"the proxy {host_of(options.proxy.reveal())}" if options.proxy else "the environment's proxy"
        return f"{proxy} did not lead to {host}: {_cause(error)}"
    return f"{host} cannot be reached: {_cause(error)}"


def _cause(error: BaseException) -> str:
    """Return the innermost reason in words that cannot hold an address."""
    return next(filter(None, map(_words, _chain(error))), "the connection broke")


def _words(error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLError):
        return _tls_words(error)
    if isinstance(error, socket.gaierror):
        return "the name cannot be resolved"
    if isinstance(error, (InvalidProxyURL, InvalidSchema)):
        return "its address is not that of an http or https proxy"
    return _system_words(error) if isinstance(error, OSError) else None


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message}); see ca_bundle"
    return f"TLS failed ({(error.reason or 'no reason given').lower().replace('_', ' ')})"


def _system_words(error: OSError) -> str | None:
    refused = _TUNNEL_REFUSED.search(str(error))
    if refused:
        return f"it answered {refused[1]}"
    if "CA certificate bundle" in str(error):
        return "the file of ca_bundle cannot be read"
    if isinstance(error, requests.RequestException) or not error.strerror:
        return None
    return error.strerror.lower()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk through what requests and urllib3 wrap: arguments, reasons and causes, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = (*found.args, getattr(found, "reason", None), found.__cause__, found.__context__)
        waiting += [e for e in inner if isinstance(e, BaseException)]
