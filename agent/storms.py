"""Storms: when very many incidents open at once, the first are told singly and the rest as one message."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agent.incident_parts import identity
from agent.incidents import passed_s
from agent.model import Instant, State

if TYPE_CHECKING:
    from collections.abc import Collection

WINDOW_S = 300.0
"""Within so long no more than `incidents.storm_after` incidents are told singly; a storm tells of its growth
this often at most, and is over its height when nothing has joined it for so long."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One incident as its storm tells it."""

    incident_id: str
    service: str
    leaks: bool
    """It grows, other than a share of a limit."""
    severity: State
    line: str
    """What there is to say of it in one line."""
    channels: tuple[str, ...]
    """Those that would have been told of it singly."""
    quiet_until_wall_s: dict[str, float] = field(default_factory=dict)
    """Of channels whose hours are quiet for it: when they take it."""
    told: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Storm:
    """Incidents that are told together, over their whole life."""

    storm_id: str
    begun: Instant
    grown: Instant
    """When the latest incident joined, or one of them became worse."""
    entries: tuple[Entry, ...] = ()
    told: Instant | None = None
    heard: tuple[str, ...] = ()
    """The channels that were told of it."""
    severity: State = State.WARNING
    """The highest so far; it never falls."""
    sequence: int = 0
    """The number of the latest message, 0 before the first."""
    reminders: int = 0
    acknowledged: str = ""
    """Who takes care of it; no more reminders."""
    ended: bool = False

    def entry(self, incident_id: str) -> Entry | None:
        """Return the entry of that incident."""
        return next((entry for entry in self.entries if entry.incident_id == incident_id), None)

    def entries_of(self, channel: str) -> tuple[Entry, ...]:
        """Return those that the channel would have been told of."""
        return tuple(entry for entry in self.entries if channel in entry.channels)

    def rages(self, now: Instant) -> bool:
        """Whether whatever opens now belongs to it."""
        return not self.ended and passed_s(self.grown, now) < WINDOW_S

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Storm:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        told = data["told"]
        return cls(
            **data
            | {
                "begun": Instant(*data["begun"]),
                "grown": Instant(*data["grown"]),
                "told": None if told is None else Instant(*told),
                "heard": tuple(data["heard"]),
                "severity": State(data["severity"]),
                "entries": tuple(_entry(entry) for entry in data["entries"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Weather:
    """Who was told of singly lately, and the storms that are not over."""

    singles_t_s: tuple[float, ...] = ()
    """When incidents were told singly within the last window, on the boot clock."""
    storms: tuple[Storm, ...] = ()
    """The oldest first."""

    def storm_of(self, incident_id: str) -> Storm | None:
        """Return the newest storm that tells of an incident."""
        return next((s for s in reversed(self.storms) if s.entry(incident_id)), None)

    def with_storm(self, storm: Storm) -> Weather:
        """Return the weather with a storm in the place of its former self, or added."""
        if all(one.storm_id != storm.storm_id for one in self.storms):
            return replace(self, storms=(*self.storms, storm))
        return replace(self, storms=tuple(storm if s.storm_id == storm.storm_id else s for s in self.storms))


def arrive(weather: Weather, entry: Entry, now: Instant, storm_after: int) -> tuple[Weather, Storm | None]:
    """Return the weather after one more incident has opened or become worse, and the storm that tells it.

    None for an incident that is told singly: at most `storm_after` within any `WINDOW_S`, and none while a
    storm rages.
    """
    singles = tuple(t_s for t_s in weather.singles_t_s if 0 <= now.t_s - t_s < WINDOW_S)
    weather = replace(weather, singles_t_s=singles)
    raging = next((storm for storm in reversed(weather.storms) if storm.rages(now)), None)
    if raging is None and len(singles) < storm_after:
        return replace(weather, singles_t_s=(*singles, now.t_s)), None
    storm = _joined(raging or _begun(entry, now), entry, now)
    return weather.with_storm(storm), storm


def end(storm: Storm, open_ids: Collection[str]) -> Storm:
    """Return the storm with the entries marked whose incidents are over."""
    entries = tuple(replace(e, over=True) if e.incident_id not in open_ids else e for e in storm.entries)
    return storm if entries == storm.entries else replace(storm, entries=entries)


def _begun(entry: Entry, now: Instant) -> Storm:
    return Storm(identity("storm", entry.incident_id, repr(now.wall_s)), begun=now, grown=now)


def _joined(storm: Storm, entry: Entry, now: Instant) -> Storm:
    """Return the storm with an entry that is to be told, in the place of what was said of its incident."""
    known = storm.entry(entry.incident_id)
    if known is not None:
        entry = replace(entry, channels=tuple(dict.fromkeys((*known.channels, *entry.channels))))
    others = tuple(one for one in storm.entries if one.incident_id != entry.incident_id)
    severity = max(storm.severity, entry.severity)
    return replace(storm, entries=(*others, entry), grown=now, severity=severity)


def _entry(data: dict[str, Any]) -> Entry:
    return Entry(**data | {"severity": State(data["severity"]), "channels": tuple(data["channels"])})
