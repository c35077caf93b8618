"""What a storm says and when: opened at once, updated while it grows, reminded, resolved with its last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.incidents import passed_s, reminder_interval_s
from agent.model import Alert, Event, Instant, Subject, Transition
from agent.storms import WINDOW_S, Storm, end
from agent.units import format_duration, format_utc_clock

if TYPE_CHECKING:
    from collections.abc import Collection

    from agent.incidents import IncidentOptions
    from agent.model import State
    from agent.storms import Entry, Weather

_NEWS = (Transition.OPENED, Transition.UPDATED)
MAX_ITEMS = 100
MAX_NAMES = 6
"""Services in the first line; the items tell all of them."""


@dataclass(frozen=True, slots=True)
class News:
    """One message of a storm, which every channel gets with what concerns it."""

    transition: Transition
    storm: Storm
    """As it is after the message."""
    heard_before: tuple[str, ...]
    channels: tuple[str, ...]
    """Who is told."""
    at: Instant
    note: str

    def quiet_until_wall_s(self) -> dict[str, float]:
        """Return when channels with quiet hours take it: as soon as they take any of what concerns them."""
        found: dict[str, float] = {}
        for channel in self.channels:
            entries = self.storm.entries_of(channel)
            found[channel] = min((e.quiet_until_wall_s.get(channel, 0.0) for e in entries), default=0.0)
        return found

    def alert(self, channel: str, host: str) -> Alert:
        """Return what one channel is told."""
        storm, entries = self.storm, self.storm.entries_of(channel)
        services = list(dict.fromkeys(entry.service for entry in _gravest_first(entries)))
        known = channel in self.heard_before
        return Alert(
            incident_id=storm.storm_id,
            sequence=storm.sequence,
            transition=self.transition if known or self.transition.ends else Transition.OPENED,
            event=Event.STORM,
            subject=Subject.HEAP,
            severity=_severity(entries, storm),
            service=services[0] if len(services) == 1 else f"{len(services)} services",
            host=host,
            at_wall_s=self.at.wall_s,
            since_wall_s=storm.begun.wall_s,
            note=self.note,
            headline=_headline(self.transition, storm, entries, services),
            items=_items(entries),
        )


def settle(
    weather: Weather, open_ids: Collection[str], now: Instant, options: IncidentOptions
) -> tuple[Weather, tuple[News, ...]]:
    """Return the weather after a look at the clock and at who is still open, and what is to be told.

    A storm that comes back `ended` is over: store it with its news; it is no longer in the weather.
    """
    told: list[News] = []
    for storm in weather.storms:
        after = end(storm, open_ids)
        news = _news(after, now, options)
        if news is not None:
            told.append(news)
            after = news.storm
        weather = weather.with_storm(after)
    return replace(weather, storms=tuple(s for s in weather.storms if not s.ended)), tuple(told)


def acknowledge(storm: Storm, by: str, why: str, now: Instant) -> News | None:
    """Return what is told when somebody takes care of a whole storm; None where somebody does already."""
    if storm.acknowledged or storm.told is None:
        return None
    note = f"by {by}" + (f": {why}" if why else "")
    return _said(Transition.ACKNOWLEDGED, replace(storm, acknowledged=by), now, note)


def _news(storm: Storm, now: Instant, options: IncidentOptions) -> News | None:
    if storm.told is None:
        return _said(Transition.OPENED, storm, now, "")
    since_told_s = passed_s(storm.told, now)
    over = all(entry.over for entry in storm.entries)
    if over and not storm.rages(now):  # what opens until then belongs to it, as in a crash loop
        lasted = format_duration(passed_s(storm.begun, now))
        note = f"all {len(storm.entries)} incidents of the storm are over, {lasted} after it began"
        return _said(Transition.RESOLVED, storm, now, note)
    fresh = [entry for entry in storm.entries if not entry.told]
    unheard = {name for entry in fresh for name in entry.channels} - {*storm.heard}
    if fresh and (unheard or not 0 <= since_told_s < WINDOW_S):  # a pager is not kept waiting for its first
        note = f"{len(fresh)} more since the last message"
        return _said(Transition.UPDATED, storm, now, note)
    due = since_told_s >= reminder_interval_s(storm.reminders, options)
    if due and not over and not fresh and not storm.acknowledged:
        left = sum(not entry.over for entry in storm.entries)
        note = f"{left} of {len(storm.entries)} incidents of the storm are still open"
        return _said(Transition.REMINDED, replace(storm, reminders=storm.reminders + 1), now, note)
    return None


def _said(transition: Transition, storm: Storm, now: Instant, note: str) -> News:
    """Return the message with the storm as it is after it: news goes to whom it concerns, the rest to all."""
    concerned = {name for entry in storm.entries if not entry.told for name in entry.channels}
    everybody = {*storm.heard, *concerned}
    channels = tuple(sorted(concerned if transition in _NEWS else everybody))
    after = replace(
        storm,
        entries=tuple(replace(entry, told=True) for entry in storm.entries),
        told=now,
        heard=tuple(sorted(everybody)),
        sequence=storm.sequence + 1,
        ended=transition.ends,
    )
    return News(transition, after, storm.heard, channels, now, note)


def _gravest_first(entries: Collection[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.over, -entry.severity))


def _severity(entries: Collection[Entry], storm: Storm) -> State:
    return max((entry.severity for entry in entries), default=storm.severity)


def _headline(transition: Transition, storm: Storm, entries: Collection[Entry], services: list[str]) -> str:
    leak = all(entry.leaks for entry in entries)
    named = ", ".join(services[:MAX_NAMES])
    if len(services) > MAX_NAMES:
        named += f" and {len(services) - MAX_NAMES} more"
    if len(services) == 1:
        what = f"{len(entries)} more incidents of one service"
    else:
        what = f"{len(services)} more services {'leak' if leak else 'have incidents'}"
    began = format_utc_clock(storm.begun.wall_s)
    over = "over: " if transition.ends else ""
    return f"{over}{what} since {began}: {named}"


def _items(entries: Collection[Entry]) -> tuple[str, ...]:
    ordered = _gravest_first(entries)
    lines = [f"{'over: ' if entry.over else ''}{entry.line}" for entry in ordered[:MAX_ITEMS]]
    if len(ordered) > MAX_ITEMS:
        lines.append(f"and {len(ordered) - MAX_ITEMS} more: leakwatch incidents lists them")
    return tuple(lines)
