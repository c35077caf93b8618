"""How services and channels are doing, for health, metrics and `leakwatch status`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from agent.model import Subject
from agent.web.health import Chance, ChannelHealth, ServiceHealth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.alerts.delivery import Deliverer
    from agent.alerts.outbox import Outbox
    from agent.daemon.watched import Watched
    from agent.incidents import Incident
    from agent.model import Instant, Verdict


GROWTH = (Subject.HEAP, Subject.SHARED, Subject.THREADS, Subject.FDS, Subject.CHILDREN)


def growing(incident: Incident) -> bool:
    """Whether an incident is about something that grows, not about a share of a limit or collections."""
    return incident.subject in GROWTH


def channel_health(
    names: Iterable[str], outbox: Outbox, deliverer: Deliverer, now: Instant
) -> tuple[ChannelHealth, ...]:
    """Return how each channel delivers."""
    counts = outbox.counts()
    refused = {delivery.channel: delivery.last_error for delivery in outbox.parked()}
    down, failing_s = deliverer.troubles(now), deliverer.failing_s(now)
    return tuple(
        ChannelHealth(
            name,
            pending=counts.get(name, {}).get("pending", 0),
            parked=counts.get(name, {}).get("parked", 0),
            delivered=counts.get(name, {}).get("sent", 0),
            last_error=down.get(name) or refused.get(name) or None,
            failing_s=failing_s.get(name, 0.0),
        )
        for name in names
    )


def service_health(
    watched: Sequence[Watched], incidents: Sequence[Incident], last_alert_wall_s: Mapping[str, float]
) -> tuple[ServiceHealth, ...]:
    """Return each service by its leading process: the one that stands closest to its limit."""
    of_service: dict[str, list[Watched]] = defaultdict(list)
    for one in watched:
        of_service[one.target.service].append(one)
    return tuple(
        _service(name, members, [i for i in incidents if i.service == name], last_alert_wall_s.get(name))
        for name, members in sorted(of_service.items())
    )


def _service(
    name: str, members: Sequence[Watched], incidents: Sequence[Incident], last_alert_wall_s: float | None
) -> ServiceHealth:
    lead = max(members, key=_fullness)
    rates = [
        i.lead.verdict.rate.value
        for i in incidents
        if i.lead.verdict.rate and i.subject in (Subject.HEAP, Subject.SHARED)
    ]
    return ServiceHealth(
        name=name,
        processes=len(members),
        heap_bytes=lead.sample.heap_bytes if lead.sample else 0,
        limit_bytes=lead.limit.limit_bytes if lead.limit else None,
        growth_bytes_per_hour=max(rates, default=None),
        leak=any(growing(incident) for incident in incidents),
        last_alert_wall_s=last_alert_wall_s,
        chances=chances(verdict for member in members for verdict in member.verdicts),
    )


def chances(verdicts: Iterable[Verdict]) -> tuple[Chance, ...]:
    """Return how likely a leak of each subject is, by the likeliest of the verdicts."""
    likeliest: dict[Subject, float] = {}
    for verdict in verdicts:
        if verdict.probability is not None:
            likeliest[verdict.subject] = max(verdict.probability, likeliest.get(verdict.subject, 0.0))
    if not likeliest:
        return ()
    return tuple(Chance(subject, likeliest[subject]) for subject in Subject if subject in likeliest)


def _fullness(watched: Watched) -> float:
    if watched.sample is None or watched.limit is None:
        return 0.0
    return watched.sample.heap_bytes / max(1, watched.limit.limit_bytes)
