"""The shape of the addresses that channels send to, judged without ever printing one."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from agent.secret import Secret

EXPECTED_URL = "an https URL (http only to loopback)"


def split_url(text: str) -> SplitResult:
    """Return the parts of an http(s) URL with a host. Raises ValueError, which names no part of it, else."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError(EXPECTED_URL)
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def secret_url_problem(value: Secret) -> str | None:
    """Return what is wrong with an address that may hold a token; None where nothing is."""
    return url_problem(value.reveal())


def url_problem(text: str) -> str | None:
    """Return what was expected when a URL would carry secrets in clear to another host, or is none."""
    try:
        parts = split_url(text)
    except ValueError as error:
        return str(error)
    clear = parts.scheme == "http" and not is_loopback(parts.hostname or "")
    return EXPECTED_URL if clear else None


def host_of(text: str) -> str:
    """Return the host and, where it is given, the port: all that may be told of an address."""
    try:
        parts = split_url(text)
    except ValueError:
        return "the configured address"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


def is_web_address(text: str) -> bool:
    """Whether a person can follow it: an http(s) URL with a host."""
    try:
        split_url(text)
    except ValueError:
        return False
    return True
