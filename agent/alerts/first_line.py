"""The first line of an alert: all that a locked phone shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.alerts.phrases import UNITS, amount, count, duration, finite, hours, line, name
from agent.model import Event, Kind, Subject, Transition
from agent.units import format_chance

if TYPE_CHECKING:
    from agent.model import Alert

_EXHAUSTED = {
    Subject.THREADS: "out of threads",
    Subject.FDS: "out of descriptors",
    Subject.CHILDREN: "out of processes",
}
_LIMIT_EXCEEDED = {
    Subject.HEAP_PERCENT: "is close to its memory limit",
    Subject.COLLECTIONS: "collects garbage too often",
}
_OF: dict[str, str] = {
    Kind.RUNTIME_HEAP: "of its runtime's heap",
    Kind.NATIVE: "of native memory",
    Kind.ALLOCATOR: "in its allocator",
    Kind.FILES: "of mapped files",
    Kind.SHARED_MEMORY: "of shared memory",
    Kind.THREADS: "of thread stacks",
}
"""What grows, where the unit does not say it."""


def first_line(alert: Alert) -> str:
    """Return what a locked phone shows: who, what, how much, how long it will last, where."""
    mark = "[DRILL] " if alert.drill else ""
    told = line(alert.headline) if alert.headline else f"{_opening(alert)}{_story(alert)}"
    return f"{mark}{told} (host {name(alert.host)})"


def what(alert: Alert) -> list[str]:
    """Return what grows in words, as a list of one; empty where the unit says it."""
    if alert.subject is Subject.SHARED:
        return [_OF.get(alert.kind, "of shared memory")]
    return [_OF[alert.kind]] if alert.subject is Subject.HEAP and alert.kind in _OF else []


def sure(alert: Alert) -> list[str]:
    """Return how sure the detector is, as a list of one; empty where a plain limit speaks alone."""
    return [] if alert.probability is None else [f"{format_chance(alert.probability)} sure"]


def _opening(alert: Alert) -> str:
    match alert.transition:
        case Transition.WORSENED:
            return f"Now {alert.severity}: "
        case Transition.UPDATED | Transition.ACKNOWLEDGED:
            return f"{alert.transition.capitalize()}: "
        case Transition.OPENED:
            return ""
    word = "Still, after" if alert.transition is Transition.REMINDED else f"{alert.transition} after"
    return f"{word.capitalize()} {duration(alert.duration_s)}: "


def _story(alert: Alert) -> str:
    service = name(alert.service)
    match alert.transition:
        case Transition.RESOLVED:
            return f"{service} {_over(alert)}, {_level(alert)}"
        case Transition.GONE:
            return f"{service} ended (pid {alert.pid}) {_unhealed(alert)}, at {_level(alert)}"
    state = [_level(alert), *_full_in(alert), *_young(alert)]
    if alert.event is Event.THRESHOLD and alert.subject not in _LIMIT_EXCEEDED:
        state = [*_rate(alert), *state]
    elif alert.event is Event.LEAK and alert.transition is not Transition.REMINDED:
        state += sure(alert)
    return f"{service} {_clause(alert)}: {', '.join(state)}"


def _clause(alert: Alert) -> str:
    if alert.event is Event.THRESHOLD:
        return _LIMIT_EXCEEDED.get(alert.subject, "exceeds its growth limit")
    return " ".join(["leaks", *_rate(alert), *what(alert)])


def _over(alert: Alert) -> str:
    if alert.event is Event.THRESHOLD:
        return "is within its limit again"
    return "no longer leaks"


def _unhealed(alert: Alert) -> str:
    return "while over its limit" if alert.event is Event.THRESHOLD else "while still leaking"


def _rate(alert: Alert) -> list[str]:
    if alert.rate is None or finite(alert.rate.value) is None:
        return []
    return [f"{amount(alert.subject, alert.rate.value)}/h"]


def _level(alert: Alert) -> str:
    """Return "448 MB of 1 GB", or the current value alone where there is no limit."""
    current = amount(alert.subject, alert.current)
    if not alert.limit or finite(alert.limit) is None:
        return f"{current} now"
    if alert.subject is Subject.COLLECTIONS:
        return f"{current}, limit {count(alert.limit)}"
    held = count(alert.current) if alert.subject in UNITS else current
    return f"{held} of {amount(alert.subject, alert.limit)}"


def _full_in(alert: Alert) -> list[str]:
    full = alert.exhaustion_hours
    if full is None or finite(full.value) is None:
        return []
    return [f"{_EXHAUSTED.get(alert.subject, 'full')} in about {hours(full.value)}"]


def _young(alert: Alert) -> list[str]:
    return [f"started only {duration(alert.age_s)} ago"] if alert.young else []
