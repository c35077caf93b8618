"""How the agent and what it watches are doing: one frozen view, its verdict, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from agent.model import Subject

if TYPE_CHECKING:
    from agent.model import Instant

MISSED_INTERVALS = 3
"""Without a completed tick for so many intervals the agent does not watch any more."""


class Status(StrEnum):
    """The whole in one word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """A warning is open, or a channel does not deliver."""
    CRITICAL = "critical"
    """A critical incident is open, or the agent itself does not tick."""


@dataclass(frozen=True, slots=True)
class Chance:
    """How likely it is that something of a service leaks."""

    subject: Subject
    probability: float


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One service; memory is that of its leading process, the one that stands closest to its limit."""

    name: str
    processes: int
    heap_bytes: int
    limit_bytes: int | None
    growth_bytes_per_hour: float | None
    """Of the process that grows fastest; None while nothing can be said."""
    leak: bool
    """An incident of it is open."""
    last_alert_wall_s: float | None
    """When people were last told of a leak; None if never."""
    chances: tuple[Chance, ...] = ()
    """Of each subject on which the detector has something to say, by the likeliest process."""

    @property
    def heap_percent(self) -> float | None:
        """Heap as percent of the limit."""
        return None if not self.limit_bytes else 100.0 * self.heap_bytes / self.limit_bytes


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """One channel's deliveries."""

    name: str
    pending: int
    """Waiting for their next attempt."""
    parked: int
    """Given up: the channel refuses them for good."""
    delivered: int
    """Since the agent started."""
    last_error: str | None
    """Why the channel is taken to be down, or what it refused last; None where neither is so."""
    failing_s: float = 0.0
    """For how long it has failed; 0 while it is not taken to be down."""


@dataclass(frozen=True, slots=True)
class SilenceHealth:
    """Services of which nobody is told for a time."""

    service: str
    """A name or a shell pattern."""
    until_wall_s: float
    by: str


@dataclass(frozen=True, slots=True)
class HealthView:
    """What the daemon publishes after each tick; it may be read at any time later."""

    version: str
    started_t_s: float
    interval_s: float
    last_tick_t_s: float | None
    """When the latest tick was completed, on the boot clock."""
    tick_s: float
    """How long it took."""
    ticks: int
    """Completed since the start."""
    warnings_open: int
    criticals_open: int
    services: tuple[ServiceHealth, ...] = ()
    channels: tuple[ChannelHealth, ...] = ()
    silences: tuple[SilenceHealth, ...] = ()


def alive(view: HealthView, now: Instant) -> bool:
    """Return whether ticks are completed in time; a start counts as one."""
    latest_t_s = view.started_t_s if view.last_tick_t_s is None else view.last_tick_t_s
    return now.t_s - latest_t_s <= MISSED_INTERVALS * view.interval_s


def status(view: HealthView, now: Instant) -> Status:
    """Return the worst that holds."""
    if view.criticals_open or not alive(view, now):
        return Status.CRITICAL
    if view.warnings_open or any(channel.parked or channel.last_error for channel in view.channels):
        return Status.DEGRADED
    return Status.HEALTHY


def to_json(view: HealthView, now: Instant) -> dict[str, Any]:
    """Return the body of GET /health."""
    ticked = view.last_tick_t_s
    return {
        "status": str(status(view, now)),
        "version": view.version,
        "uptimeSeconds": round(now.t_s - view.started_t_s, 1),
        "lastTickSeconds": None if ticked is None else round(now.t_s - ticked, 1),
        "services": {service.name: _service(service) for service in view.services},
        "channels": {
            channel.name: {
                "pending": channel.pending,
                "parked": channel.parked,
                "lastError": channel.last_error,
                "failingSeconds": round(channel.failing_s),
            }
            for channel in view.channels
        },
        "silences": [
            {"service": one.service, "until": _iso(one.until_wall_s), "by": one.by} for one in view.silences
        ],
    }


def _service(service: ServiceHealth) -> dict[str, Any]:
    percent, growth = service.heap_percent, service.growth_bytes_per_hour
    return {
        "heapUsed": service.heap_bytes,
        "limit": service.limit_bytes,
        "heapPercent": None if percent is None else round(percent, 1),
        "growthRate": None if growth is None else round(growth),
        "leakDetected": service.leak,
        "leakProbability": {str(one.subject): round(one.probability, 3) for one in service.chances},
        "lastLeakAlert": _iso(service.last_alert_wall_s),
        "processes": service.processes,
    }


def _iso(wall_s: float | None) -> str | None:
    return None if wall_s is None else datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="seconds")
