"""What an incident is made of: its processes, what drifts, what is withheld, who acknowledged it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from agent.model import (
    Disproof,
    Estimate,
    Event,
    Instant,
    Process,
    ProcessKey,
    Reason,
    State,
    Subject,
    Transition,
    Verdict,
)


def identity(*parts: str) -> str:
    """Return eight hexadecimal digits, the same for the same parts: a repeat cannot become a second.

    A checksum will do, as one of the parts is always a time that nobody can choose.
    """
    return f"{zlib.crc32(chr(0).join(parts).encode('utf-8', 'surrogatepass')):08x}"


@dataclass(frozen=True, slots=True)
class Member:
    """One affected process of the incident's service, as it was last seen."""

    process: Process
    verdict: Verdict
    """The latest one, alarming or not."""
    limit_source: str
    seen_t_s: float
    """When that verdict was handed over, on the boot clock."""
    calm_since_t_s: float | None
    """Since when it has been neither alarming nor suspected, on the boot clock; None while it is."""
    growth_s: float
    """How long it had grown at the last alarm: from the verdict's onset to then."""
    gone: bool = False

    @property
    def key(self) -> ProcessKey:
        """Which life of which process."""
        return self.process.key

    @property
    def state(self) -> State:
        """How bad it was at the last look."""
        return self.verdict.state

    def in_words(self) -> Member:
        """Return the same with every reason put into words."""
        return replace(self, verdict=replace(self.verdict, reasons=tuple(self.verdict.reasons)))

    def calm_s(self, t_s: float) -> float:
        """Return for how long it has been calm, in seconds."""
        return 0.0 if self.calm_since_t_s is None else max(0.0, t_s - self.calm_since_t_s)

    @property
    def weight(self) -> tuple[bool, State, float, float]:
        """What the leading member has most of: life, state, rate, growth."""
        rate = self.verdict.rate.value if self.verdict.rate else 0.0
        return not self.gone, self.state, rate, self.verdict.growth


class Drift(NamedTuple):
    """The figures have left what people were told, and may come back yet."""

    since: Instant
    upwards: bool
    """It grows faster, or ends sooner, than was told."""


class Withheld(NamedTuple):
    """What a silence keeps from people."""

    transition: Transition
    """The gravest: opened where nobody knows of the incident, else worsened."""
    since: Instant
    current: float
    """What the leading process held then."""


class Orphaned(NamedTuple):
    """No process of it runs any more, and a successor is looked for."""

    since: Instant
    why: str
    """What became of the last process."""


class Acknowledgement(NamedTuple):
    """Who takes care of it."""

    by: str
    why: str
    at_wall_s: float


def member_from(data: dict[str, Any]) -> Member:
    """Read a member of JSON. Raises KeyError, TypeError or ValueError for anything else."""
    process = dict(data["process"])
    return Member(
        **data
        | {
            "process": Process(**process | {"key": ProcessKey(*process["key"])}),
            "verdict": _verdict(data["verdict"]),
        }
    )


def _verdict(data: dict[str, Any]) -> Verdict:
    rate, exhaustion = data["rate"], data["exhaustion_hours"]
    return Verdict(
        **data
        | {
            "subject": Subject(data["subject"]),
            "state": State(data["state"]),
            "event": Event(data["event"]),
            "rate": None if rate is None else Estimate(*rate),
            "exhaustion_hours": None if exhaustion is None else Estimate(*exhaustion),
            "reasons": tuple(Reason(**r) for r in data["reasons"]),
            "disproof": None if data.get("disproof") is None else Disproof(*data["disproof"]),
        }
    )


def drift_from(data: list[Any] | None) -> Drift | None:
    """Read it of JSON, None for none. Raises TypeError or ValueError."""
    if data is None:
        return None
    since, upwards = data
    return Drift(Instant(*since), upwards)


def withheld_from(data: list[Any] | None) -> Withheld | None:
    """Read it of JSON, None for none. Raises TypeError or ValueError."""
    if data is None:
        return None
    transition, since, current = data
    return Withheld(Transition(transition), Instant(*since), current)


def orphaned_from(data: list[Any] | None) -> Orphaned | None:
    """Read it of JSON, None for none. Raises TypeError or ValueError."""
    if data is None:
        return None
    since, why = data
    return Orphaned(Instant(*since), why)


def acknowledgement_from(data: list[Any] | None) -> Acknowledgement | None:
    """Read it of JSON, None for none. Raises TypeError."""
    return None if data is None else Acknowledgement(*data)
