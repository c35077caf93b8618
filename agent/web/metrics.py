"""The view as Prometheus metrics; services are labels, processes and command lines never are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from agent.web.health import ChannelHealth, HealthView, ServiceHealth

SERVICE_METRICS: tuple[tuple[str, str, Callable[[ServiceHealth], float | None]], ...] = (
    ("leakwatch_service_heap_bytes", "Heap of the service's leading process", lambda s: s.heap_bytes),
    (
        "leakwatch_service_limit_bytes",
        "Limit of the service's leading process",
        lambda s: s.limit_bytes,
    ),
    (
        "leakwatch_service_growth_bytes_per_hour",
        "Growth of the heap's floor, of the service's fastest growing process",
        lambda s: s.growth_bytes_per_hour,
    ),
    ("leakwatch_service_leak", "1 while an incident of the service is open", lambda s: float(s.leak)),
    ("leakwatch_processes", "Processes watched", lambda s: s.processes),
)


class Exposition(NamedTuple):
    """A body and what it is."""

    body: bytes
    content_type: str


class Metrics:
    """A registry of its own, filled from the daemon's view at each scrape."""

    def __init__(self, view: Callable[[], HealthView]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_ViewCollector(view))
        ProcessCollector(registry=self._registry)  # process_resident_memory_bytes and more, of ourselves

    def expose(self, accept: str) -> Exposition:
        """Return the metrics in the text format that an Accept header asks for."""
        encoder, content_type = choose_encoder(accept)
        return Exposition(encoder(self._registry), content_type)


class _ViewCollector(Collector):
    def __init__(self, view: Callable[[], HealthView]) -> None:
        self._view = view

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not ask for a view before there is one."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the view of this moment."""
        view = self._view()
        yield InfoMetricFamily("leakwatch_build", "The running version", value={"version": view.version})
        yield CounterMetricFamily("leakwatch_ticks", "Completed polls", value=view.ticks)
        yield GaugeMetricFamily("leakwatch_tick_seconds", "Duration of the latest poll", value=view.tick_s)
        yield _incidents(view)
        yield from _services(view.services)
        yield _chances(view.services)
        yield _deliveries(view.channels)
        yield _failing(view.channels)


def _incidents(view: HealthView) -> Metric:
    family = GaugeMetricFamily("leakwatch_incidents_open", "Open incidents", labels=["severity"])
    family.add_metric(["warning"], view.warnings_open)
    family.add_metric(["critical"], view.criticals_open)
    return family


def _services(services: tuple[ServiceHealth, ...]) -> Iterator[Metric]:
    for name, documentation, value_of in SERVICE_METRICS:
        family = GaugeMetricFamily(name, documentation, labels=["service"])
        for service in services:
            value = value_of(service)
            if value is not None:
                family.add_metric([service.name], value)
        yield family


def _chances(services: tuple[ServiceHealth, ...]) -> Metric:
    family = GaugeMetricFamily(
        "leakwatch_service_leak_probability",
        "How likely it is that a process of the service leaks, by what grows; absent while nothing does",
        labels=["service", "subject"],
    )
    for service in services:
        for chance in service.chances:
            family.add_metric([service.name, str(chance.subject)], chance.probability)
    return family


def _deliveries(channels: tuple[ChannelHealth, ...]) -> Metric:
    family = GaugeMetricFamily(
        "leakwatch_deliveries", "Alerts of a channel by state", labels=["channel", "state"]
    )
    for channel in channels:
        family.add_metric([channel.name, "pending"], channel.pending)
        family.add_metric([channel.name, "parked"], channel.parked)
        family.add_metric([channel.name, "delivered"], channel.delivered)
    return family


def _failing(channels: tuple[ChannelHealth, ...]) -> Metric:
    family = GaugeMetricFamily(
        "leakwatch_channel_failing_seconds",
        "For how long a channel that is taken to be down has failed; 0 while it works",
        labels=["channel"],
    )
    for channel in channels:
        family.add_metric([channel.name], channel.failing_s)
    return family
