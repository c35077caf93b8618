"""What the file may say about channels and routes; each channel adds its own options beside its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.address import split_url
from agent.alerts.quiet import QuietHours, quiet_hours, read_days, read_hours, read_zone
from agent.model import Event, Kind, Subject
from agent.options import Duration, option
from agent.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

SEVERITIES = ("warning", "critical")
KINDS = tuple(dict.fromkeys((*map(str, Kind), *map(str, Subject))))
"""What a route may select by: what grows, or what the incident is about."""


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


def _known_kinds(value: tuple[str, ...]) -> str | None:
    return None if set(value) <= set(KINDS) else f"kinds or subjects of alerts ({', '.join(KINDS)})"


def _known_events(value: tuple[str, ...]) -> str | None:
    return None if set(value) <= set(Event) else f"events ({', '.join(Event)})"


def _hours_problem(value: str) -> str | None:
    return _problem(lambda: read_hours(value))


def _days_problem(value: tuple[str, ...]) -> str | None:
    return _problem(lambda: read_days(value))


def _zone_problem(value: str) -> str | None:
    return _problem(lambda: read_zone(value))


def _problem(read: Callable[[], object]) -> str | None:
    try:
        read()
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Route:
    """Which alerts go to which channels: all that it gives must hold, and each that fits adds its own."""

    channels: tuple[str, ...] = option(describe="names of channels")
    services: tuple[str, ...] = option(("*",), describe="service names or shell patterns")
    severities: tuple[str, ...] = option(
        SEVERITIES, key="severity", describe="warning, critical or both", check=_known_severities
    )
    labels: dict[str, str] = option(factory=dict, describe="labels and the shell patterns that they must fit")
    kinds: tuple[str, ...] = option(
        (), key="kind", describe="what grows or what it is about", check=_known_kinds
    )
    events: tuple[str, ...] = option(
        (), key="event", describe="leak, threshold, storm, watcher, change", check=_known_events
    )
    quiet: str | None = option(
        None, describe="hours in which warnings wait, by the clock of `timezone`", check=_hours_problem
    )
    days: tuple[str, ...] = option((), describe="days on which quiet hours begin", check=_days_problem)
    timezone: str = option("UTC", describe="of the quiet hours", check=_zone_problem)
    default: bool = option(default=False, describe="only for what fits no other route")

    @property
    def quiet_hours(self) -> QuietHours | None:
        """Return when its warnings wait, if ever."""
        return None if self.quiet is None else quiet_hours(self.quiet, self.days, self.timezone)
