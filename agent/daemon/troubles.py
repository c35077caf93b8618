"""Trouble of leakwatch itself as incidents: opened when it lasts, resolved when it stays away."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agent.incident_parts import identity
from agent.model import Alert, Event, Instant, State, Subject, Transition
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONFIRM_S = 30.0
"""Trouble is told once it has been there for so long: a look right after a suspend proves nothing."""
CALM_S = 120.0
"""It is over once it has stayed away for so long."""
LEAST_SILENCE_S = 60.0
MISSED_INTERVALS = 3
SERVICE = "leakwatch"
LABEL = "trouble"


class Trouble(NamedTuple):
    """Something about leakwatch itself that is wrong now."""

    what: str
    """A stable word: "tick", "outbox", or "channel-NAME"."""
    headline: str
    severity: State
    items: tuple[str, ...] = ()
    channel: str = ""
    """The channel that it is about: through this one nobody is told of it."""


@dataclass(frozen=True, slots=True)
class _Open:
    """Trouble that was told."""

    alert: Alert
    calm_since_t_s: float | None = None


class TroubleBook:
    """What is wrong, since when, and what people were told of it."""

    def __init__(self, host: str, still_open: Iterable[Alert] = ()) -> None:
        self._host = host
        self._since_t_s: dict[str, float] = {}
        self._open = {alert.labels.get(LABEL, ""): _Open(alert) for alert in still_open}

    def look(self, found: Sequence[Trouble], now: Instant) -> list[Alert]:
        """Take in what is wrong at this moment; return what is to be told: beginnings and ends."""
        present = {trouble.what for trouble in found}
        self._since_t_s = {what: t_s for what, t_s in self._since_t_s.items() if what in present}
        opened = [alert for trouble in found if (alert := self._present(trouble, now))]
        return [*opened, *(alert for what in list(self._open) if (alert := self._calm(what, present, now)))]

    def _present(self, trouble: Trouble, now: Instant) -> Alert | None:
        """Return the alert that opens it, once it is sure."""
        since_t_s = self._since_t_s.setdefault(trouble.what, now.t_s)
        if trouble.what in self._open or now.t_s - since_t_s < CONFIRM_S:
            return None
        alert = _opened(trouble, self._host, since_t_s, now)
        self._open[trouble.what] = _Open(alert)
        return alert

    def _calm(self, what: str, present: set[str], now: Instant) -> Alert | None:
        """Return the alert that ends it, once it has stayed away."""
        told = self._open[what]
        if what in present:
            self._open[what] = replace(told, calm_since_t_s=None)
            return None
        since_t_s = now.t_s if told.calm_since_t_s is None else told.calm_since_t_s
        self._open[what] = replace(told, calm_since_t_s=since_t_s)
        if now.t_s - since_t_s < CALM_S:
            return None
        del self._open[what]
        return _resolved(told.alert, now)


def tick_trouble(last_t_s: float, interval_s: float, failing: str, now: Instant) -> Trouble | None:
    """Return what there is to say of the ticks; None while they are completed in time.

    `last_t_s` is when the last one was completed, or when the agent started; `failing` is why the latest
    failed, empty for one that has not ended.
    """
    silent_s = now.t_s - last_t_s
    if silent_s <= max(MISSED_INTERVALS * interval_s, LEAST_SILENCE_S):
        return None
    why = f"every tick fails: {failing}" if failing else "a tick has begun and does not end"
    lasted, interval = format_duration(silent_s), format_duration(interval_s)
    lasted = f"no tick was completed for {lasted}, one is due every {interval}"
    return Trouble(
        "tick",
        "no service is watched: leakwatch hangs, or fails at every poll",
        State.CRITICAL,
        (lasted, why),
    )


def outbox_trouble(sentences: tuple[str, ...]) -> Trouble | None:
    """Return the same of where alerts are stored before they are sent."""
    return (
        Trouble("outbox", "alerts of leakwatch cannot be stored safely", State.CRITICAL, sentences)
        if sentences
        else None
    )


def channel_trouble(name: str, why: str) -> Trouble:
    """Return that alerts do not arrive through a channel."""
    return Trouble(f"channel-{name}", f"alerts do not arrive through {name}", State.WARNING, (why,), name)


def _opened(trouble: Trouble, host: str, since_t_s: float, now: Instant) -> Alert:
    return Alert(
        incident_id=identity(f"watcher-{trouble.what}", host, repr(now.wall_s)),
        sequence=1,
        transition=Transition.OPENED,
        event=Event.WATCHER,
        subject=Subject.HEAP,
        severity=trouble.severity,
        service=SERVICE,
        host=host,
        at_wall_s=now.wall_s,
        since_wall_s=now.wall_at(since_t_s),
        pid=os.getpid(),
        process=SERVICE,
        labels={LABEL: trouble.what},
        headline=trouble.headline,
        items=trouble.items,
    )


def _resolved(told: Alert, now: Instant) -> Alert:
    lasted = format_duration(now.wall_s - told.since_wall_s)
    return replace(
        told,
        sequence=told.sequence + 1,
        transition=Transition.RESOLVED,
        at_wall_s=now.wall_s,
        headline=f"Over after {lasted}: {told.headline}",
        note=f"not seen again for {format_duration(CALM_S)}",
    )
