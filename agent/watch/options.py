"""What the file may say about whom to watch."""

from __future__ import annotations

from dataclasses import dataclass

from agent.consent import Consent
from agent.detect.options import Thresholds
from agent.options import HTTP_HOST, PORT, Size, at_least, fits, option

_PAGE = rf"{HTTP_HOST}(:({PORT}|\{{port\}}))?(/[!-~]*)?"
_METRIC = r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}"


@dataclass(frozen=True, slots=True)
class Match:
    """How an entry selects processes; every key given must hold."""

    pid: int | None = option(None, describe="one process id")
    pidfile: str | None = option(None, describe="a file that holds a process id")
    exe: str | None = option(None, describe="executable: a name (python3) or a path (/usr/bin/node)")
    command: str | None = option(None, describe="regular expression searched in the command line")
    user: str | None = option(None, describe="user name or uid that owns the process")
    unit: str | None = option(None, describe="systemd unit (api.service)")
    cgroup: str | None = option(None, describe="cgroup path or shell pattern (/kubepods*/pod123*)")
    port: int | None = option(None, describe="TCP port that the process listens on")


@dataclass(frozen=True, slots=True)
class WatchEntry:
    """One service: the processes that belong to it and what holds for them."""

    service: str = option(describe="name used in alerts; one per replica set")
    match: Match = option(describe="which processes")
    children: bool = option(default=False, describe="also every descendant of those processes")
    labels: dict[str, str] = option(factory=dict, describe="told with every alert")
    thresholds: Thresholds | None = option(None, describe="instead of the general ones")
    channels: tuple[str, ...] | None = option(None, describe="instead of the routes")
    snapshots: bool | None = option(None, describe="evidence for this service on or off")
    metrics: str | None = option(
        None,
        describe="address of its Prometheus or expvar page; {port} stands for each process's own port",
        check=fits(_PAGE, "an address such as http://127.0.0.1:9100/metrics"),
    )
    heap_metric: str | None = option(
        None,
        describe="the metric there that tells its heap in bytes",
        check=fits(_METRIC, "the name of a metric, without labels"),
    )
    allow: Consent = option(factory=Consent, describe="what evidence may do beyond looking")


@dataclass(frozen=True, slots=True)
class DiscoverOptions:
    """Watching without entries: every readable process above a size."""

    enabled: bool | None = option(None, describe="default: on when there are no watch entries")
    min_rss_bytes: Size = option(50_000_000, key="min_rss", describe="smaller processes are left alone")
    max_processes: int = option(500, describe="at most so many", check=at_least(1, "a whole number from 1"))
