"""What the file may say about the health and metrics server."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from agent.options import option
from agent.secret import Secret

EXPECTED_LISTEN = 'host:port such as "127.0.0.1:9477" or "[::1]:9477"'
MAX_PORT = 65535


class Address(NamedTuple):
    """Where to listen; port 0 takes any free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this host (or this pod) reaches it."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def listen_address(text: str) -> Address:
    """Return the parts of "host:port". Raises ValueError with what was expected."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or bracketed != (":" in host) or not (port.isascii() and port.isdigit()):
        raise ValueError(EXPECTED_LISTEN)
    if int(port) > MAX_PORT:
        raise ValueError(EXPECTED_LISTEN)
    return Address(host, int(port))


def _listen_expected(text: str) -> str | None:
    try:
        listen_address(text)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Off unless the file has a `web` section."""

    listen: str = option(
        "127.0.0.1:9477",
        describe="host:port; anything but loopback needs a token",
        check=_listen_expected,
    )
    token: Secret | None = option(None, describe="bearer token that requests must carry")


def exposure(options: WebOptions) -> str | None:
    """Return what is wrong with listening as told, None when nothing is. Raises ValueError as above."""
    if options.token or listen_address(options.listen).is_loopback:
        return None
    return f"{options.listen} is not loopback: anyone who reaches it could read it; set web.token"


class WebError(Exception):
    """Why the server cannot start, in a sentence for people."""
