"""An incident over its life: what it is about, who belongs to it, what people were told, how it is stored."""

from __future__ import annotations

from dataclasses import dataclass

from agent.options import Duration, at_least, option


@dataclass(frozen=True, slots=True)
class IncidentOptions:
    """When an incident is repeated and when it is over."""

    remind_every_s: Duration = option(
        43200.0,
        key="remind_every",
        describe="an incident that goes on is told again after this, then after 2 and 4 times this",
        check=at_least(60.0, "at least 1m"),
    )
    resolve_after_s: Duration = option(
        1800.0, key="resolve_after", describe="least time a floor must be flat before the incident is over"
    )
