"""The figures of a tick as gauges in Datadog's words, a set of them for each service."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from agent.alerts.datadog import service_tags
from agent.alerts.datagrams import GaugeSender, parse_address
from agent.alerts.dogstatsd import gauge, tag_list
from agent.model import State, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agent.alerts.datadog import DatadogOptions
    from agent.daemon.watched import Watched
    from agent.incidents import Incident
    from agent.model import Sample, Verdict

    Figure = Callable[[Watched], float | None]

_MEMORY = (Subject.HEAP, Subject.SHARED)
_SEVERITIES = (State.WARNING, State.CRITICAL)


class DatadogGauges:
    """Sends to the Agent of one channel, on a thread of its own."""

    def __init__(self, name: str, options: DatadogOptions, host: str) -> None:
        self.options = options
        self._host = host
        self._sender = GaugeSender(name, parse_address(options.address))

    def publish(self, watched: Sequence[Watched], incidents: Sequence[Incident]) -> None:
        """Hand over the gauges of one completed tick; never waits."""
        self._sender.offer(list(lines(self.options, self._host, watched, incidents)))

    def stop(self, timeout_s: float) -> None:
        """End the sending thread."""
        self._sender.stop(timeout_s)


def lines(
    options: DatadogOptions, host: str, watched: Iterable[Watched], incidents: Sequence[Incident]
) -> Iterator[bytes]:
    """Yield the gauges of every service that is watched or has something open."""
    of_service: dict[str, list[Watched]] = defaultdict(list)
    for one in watched:
        of_service[one.target.service].append(one)
    for service in sorted({*of_service, *(incident.service for incident in incidents)}):
        members = of_service.get(service, [])
        labels = members[0].target.labels if members else {}
        tags = [("host", host), *service_tags(service, labels, options)]
        own = [incident for incident in incidents if incident.service == service]
        yield from _open(options.prefix, own, tags)
        for group in [[one] for one in members] if options.per_process else [members]:
            pid = [("pid", str(group[0].key.pid))] if options.per_process else []
            yield from _figures(options.prefix, group, [*pid, *tags])


def _open(prefix: str, incidents: Sequence[Incident], tags: list[tuple[str, str]]) -> Iterator[bytes]:
    for severity in _SEVERITIES:
        count = sum(incident.state is severity for incident in incidents)
        yield gauge(f"{prefix}.incidents.open", count, tag_list([("severity", str(severity)), *tags]))


def _figures(prefix: str, members: Sequence[Watched], tags: list[tuple[str, str]]) -> Iterator[bytes]:
    plain = tag_list(tags)
    for name, figure in _SAMPLED:
        value = _worst(figure, members)
        if value is not None:
            yield gauge(f"{prefix}.{name}", value, plain)
    # What grows is known of a growth only: a tag on the others would begin new series as it changes.
    named = tag_list([("kind", _kind(members)), *tags])
    for name, figure in _JUDGED:
        value = _worst(figure, members)
        if value is not None:
            yield gauge(f"{prefix}.{name}", value, named)
    soonest = _worst(_hours, members, min)
    if soonest is not None:
        yield gauge(f"{prefix}.memory.exhaustion_hours", soonest, named)


def _worst(
    figure: Figure, members: Iterable[Watched], of: Callable[[list[float]], float] = max
) -> float | None:
    """Return the figure of the process that stands worst, None where none of them has it."""
    known = [value for one in members if (value := figure(one)) is not None and math.isfinite(value)]
    return of(known) if known else None


def _percent(watched: Watched) -> float | None:
    if watched.sample is None or watched.limit is None or not watched.limit.limit_bytes:
        return None
    return 100.0 * watched.sample.heap_bytes / watched.limit.limit_bytes


def _sampled(of: Callable[[Sample], float | None]) -> Figure:
    return lambda watched: None if watched.sample is None else of(watched.sample)


def _limit(watched: Watched) -> float | None:
    return None if watched.limit is None else watched.limit.limit_bytes


def _rate(watched: Watched) -> float | None:
    rates = [verdict.rate.value for verdict in _of_memory(watched) if verdict.rate]
    return float(round(max(rates))) if rates and math.isfinite(max(rates)) else None


def _hours(watched: Watched) -> float | None:
    return min((v.exhaustion_hours.value for v in _of_memory(watched) if v.exhaustion_hours), default=None)


def _probability(watched: Watched) -> float | None:
    return max((v.probability for v in watched.verdicts if v.probability is not None), default=None)


def _of_memory(watched: Watched) -> list[Verdict]:
    return [verdict for verdict in watched.verdicts if verdict.subject in _MEMORY]


def _kind(members: Iterable[Watched]) -> str:
    """Return what grows by the likeliest verdict of them all; empty where nothing can be said."""
    named = [verdict for one in members for verdict in one.verdicts if verdict.kind]
    return max(named, key=lambda verdict: verdict.probability or 0.0).kind if named else ""


_SAMPLED: tuple[tuple[str, Figure], ...] = (
    ("memory.heap_percent", _percent),
    ("memory.heap_bytes", _sampled(lambda sample: sample.heap_bytes)),
    ("memory.rss_bytes", _sampled(lambda sample: sample.rss_bytes)),
    ("memory.limit_bytes", _limit),
    ("threads", _sampled(lambda sample: sample.threads)),
    ("fds", _sampled(lambda sample: sample.fds)),
)
_JUDGED: tuple[tuple[str, Figure], ...] = (
    ("memory.growth_rate", _rate),
    ("leak.probability", _probability),
)
