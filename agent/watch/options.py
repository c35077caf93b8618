"""What the file may say about whom to watch."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from agent.detect.options import Thresholds
from agent.options import Size, at_least, option

_MAX_PORT = 65_535


def _regular_expression(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f"a regular expression; this one has a mistake: {error}"
    return None


def _port(port: int) -> str | None:
    return None if 1 <= port <= _MAX_PORT else "a port from 1 to 65535"


def _some_key(match: Match) -> str | None:
    keys = [spec.name for spec in fields(match)]
    return None if any(getattr(match, key) is not None for key in keys) else f"one of {', '.join(keys)}"


@dataclass(frozen=True, slots=True)
class Match:
    """How an entry selects processes; every key given must hold."""

    pid: int | None = option(None, describe="one process id")
    pidfile: str | None = option(None, describe="a file that holds a process id")
    exe: str | None = option(None, describe="executable: a name (python3) or a path (/usr/bin/node)")
    command: str | None = option(
        None, describe="regular expression searched in the command line", check=_regular_expression
    )
    user: str | None = option(None, describe="user name or uid that owns the process")
    unit: str | None = option(None, describe="systemd unit (api.service)")
    cgroup: str | None = option(None, describe="cgroup path or shell pattern (/kubepods*/pod123*)")
    port: int | None = option(None, describe="TCP port that the process listens on", check=_port)


@dataclass(frozen=True, slots=True)
class WatchEntry:
    """One service: the processes that belong to it and what holds for them."""

    service: str = option(describe="name used in alerts; one per replica set")
    match: Match = option(describe="which processes", check=_some_key)
    children: bool = option(default=False, describe="also every descendant of those processes")
    labels: dict[str, str] = option(factory=dict, describe="told with every alert")
    thresholds: Thresholds | None = option(None, describe="instead of the general ones")
    channels: tuple[str, ...] | None = option(None, describe="instead of the routes")
    snapshots: bool | None = option(None, describe="evidence for this service on or off")


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """Watching without entries: every readable process above a size."""

    enabled: bool | None = option(None, describe="default: on when there are no watch entries")
    min_rss_bytes: Size = option(50_000_000, key="min_rss", describe="smaller processes are left alone")
    max_processes: int = option(500, describe="at most so many", check=at_least(1, "a whole number from 1"))
