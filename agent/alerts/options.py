"""What the file may say about channels and routes; each channel adds its own options beside its code."""

from __future__ import annotations

from dataclasses import dataclass

from agent.alerts.address import split_url
from agent.options import Duration, option
from agent.secret import Secret

SEVERITIES = ("warning", "critical")


def _proxy_problem(value: Secret | None) -> str | None:
    try:
        split_url("http://unused" if value is None else value.reveal())
    except ValueError:
        return 'an http or https proxy such as "http://proxy:3128"'
    return None


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How a channel reaches its host."""

    timeout_s: Duration = option(10.0, key="timeout", describe="connect and read, each")
    proxy: Secret | None = option(
        None,
        describe="http(s) proxy URL for this channel only (may hold a password)",
        check=_proxy_problem,
    )
    ca_bundle: str | None = option(None, describe="PEM file of certificate authorities")


def _known_severities(value: tuple[str, ...]) -> str | None:
    return None if set(value) <= set(SEVERITIES) and value else 'a list of "warning", "critical"'


@dataclass(frozen=True, slots=True)
class Route:
    """Which alerts go to which channels; every route that fits adds its channels."""

    channels: tuple[str, ...] = option(describe="names of channels")
    services: tuple[str, ...] = option(("*",), describe="service names or shell patterns")
    severities: tuple[str, ...] = option(
        SEVERITIES, key="severity", describe="warning, critical or both", check=_known_severities
    )
