"""The words that every channel says the same: the first line, the facts, the reasons, what to do next."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from agent.model import Event, Kind, Subject, Transition
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_bytes, format_chance, format_duration

if TYPE_CHECKING:
    from agent.model import Alert, Estimate

MAX_REASONS = 8
MAX_FINDINGS = 10
MAX_VALUE_CHARS = 200
"""Of one fact, reason or finding; an alert is read on a phone, the rest lies in the capture."""
MAX_PIDS = 5
COARSE_FROM_HOURS = 10
BEYOND_ANY = 1e18

_UNITS = {
    Subject.THREADS: "threads",
    Subject.FDS: "descriptors",
    Subject.CHILDREN: "child processes",
    Subject.COLLECTIONS: "collections/min",
}
_EXHAUSTED = {
    Subject.THREADS: "out of threads",
    Subject.FDS: "out of descriptors",
    Subject.CHILDREN: "out of processes",
}
_LIMIT_EXCEEDED = {
    Subject.HEAP_PERCENT: "is close to its memory limit",
    Subject.COLLECTIONS: "collects garbage too often",
}
_EVENTS = {
    Event.LEAK: "leak detected",
    Event.THRESHOLD: "threshold exceeded",
    Event.STORM: "many incidents at once",
    Event.WATCHER: "leakwatch itself",
    Event.CHANGE: "a change",
}
_NEXT = {
    Subject.HEAP: "compare two captures for what grew, then decide between a restart before it is full "
    "and a fix of the code that the top stack names",
    Subject.SHARED: "look for files, mappings or shared memory that are opened and not released",
    Subject.THREADS: "look at the stacks of the capture for threads that all wait in one place",
    Subject.FDS: "look at the descriptors by class for what is opened and not closed",
    Subject.CHILDREN: "look with ps at what the children are: zombies were not waited for, others do not end",
    Subject.HEAP_PERCENT: "check whether the limit fits the load; raise it or restart before the kill",
    Subject.COLLECTIONS: "check whether the heap is too small for the live data or garbage is made too fast",
}
_NEXT_OF_KIND: dict[str, str] = {
    Kind.NATIVE: "look outside of the runtime's heap: buffers, compression, image and C libraries",
    Kind.ALLOCATOR: "compare the runtime's heap with what is resident; let the allocator give memory back",
    Kind.FILES: "look for files that are mapped and not unmapped",
    Kind.SHARED_MEMORY: "look for segments and memfds that are created and not removed",
    Kind.THREADS: _NEXT[Subject.THREADS],
}
"""More telling than the subject's, where what grows is known."""
_OF: dict[str, str] = {
    Kind.RUNTIME_HEAP: "of its runtime's heap",
    Kind.NATIVE: "of native memory",
    Kind.ALLOCATOR: "of memory that its allocator keeps",
    Kind.FILES: "of mapped files",
    Kind.SHARED_MEMORY: "of shared memory",
    Kind.THREADS: "of thread stacks",
}
"""What grows, where the unit does not say it."""
_RUNBOOKS: dict[str, str] = {Kind.DESCRIPTORS: Subject.FDS}
"""Kinds whose section of the runbook is that of the subject."""
_WORD_OF_UNIT = {"m": "min"}


class Fact(NamedTuple):
    """One labelled value of an alert, both on one line."""

    label: str
    value: str


def first_line(alert: Alert) -> str:
    """Return what a locked phone shows: who, what, how much, how long it will last, where."""
    mark = "[DRILL] " if alert.drill else ""
    if alert.headline:
        return f"{mark}{_value(alert.headline)} (host {_name(alert.host)})"
    return f"{mark}{_opening(alert)}{_story(alert)} (host {_name(alert.host)})"


def facts(alert: Alert) -> tuple[Fact, ...]:
    """Return the ten figures that a person decides by; unknown ones say so."""
    return (
        Fact("Severity", ", ".join([str(alert.severity), _EVENTS[alert.event], *_sure(alert)])),
        Fact("Growth since onset", amount(alert.subject, alert.growth)),
        Fact("Growth rate", _rate_with_interval(alert)),
        Fact("Current", amount(alert.subject, alert.current)),
        Fact("Percent of limit", _percent_with_source(alert)),
        Fact("Duration", f"{_duration(alert.duration_s)}, since {_utc(alert.since_wall_s)}"),
        Fact("Time to exhaustion", _exhaustion_with_interval(alert)),
        Fact("Process", _process(alert)),
        Fact("Age", _age(alert)),
        Fact("Evidence", _evidence(alert)),
    )


def background(alert: Alert) -> tuple[Fact, ...]:
    """Return what helps to find the process and the incident again."""
    found = (
        Fact("Why now", _value(alert.note)),
        Fact("What grows", _value(alert.kind)),
        Fact("Command", _value(alert.command)),
        Fact("Labels", _value(", ".join(f"{k}={v}" for k, v in alert.labels.items()))),
        Fact("Incident", _name(alert.incident_id)),
        Fact("At", _utc(alert.at_wall_s)),
    )
    return tuple(fact for fact in found if fact.value)


def reasons(alert: Alert) -> tuple[str, ...]:
    """Return the considerations of the verdict: those for a leak first, eight at most."""
    ordered = sorted(alert.reasons, key=lambda reason: not reason.passed)
    return tuple(f"{'for' if r.passed else 'against'}: {_value(r.text)}" for r in ordered[:MAX_REASONS])


def findings(alert: Alert) -> tuple[str, ...]:
    """Return the gist of the evidence and what could not be taken."""
    if alert.evidence is None:
        return ()
    missing = (f"not taken: {text}" for text in alert.evidence.missing)
    return tuple(_value(line) for line in (*alert.evidence.gist, *missing))[:MAX_FINDINGS]


def next_step(alert: Alert) -> str:
    """Return what to do now and where the guide says how; empty when the incident is over."""
    if alert.transition.ends:
        return ""
    section = _RUNBOOKS.get(alert.kind, alert.kind) or alert.subject
    return f"{_NEXT_OF_KIND.get(alert.kind, _NEXT[alert.subject])} (docs/guide.md#runbook-{section})"


def figures(alert: Alert) -> dict[str, float | str | None]:
    """Return the plain numbers for machines; what is unknown or endless is None."""
    rate, full = alert.rate, alert.exhaustion_hours
    return {
        "unit": _UNITS.get(alert.subject, "bytes"),
        "probability": _finite(alert.probability),
        "kind": alert.kind or None,
        "rate_per_hour": _finite(rate and rate.value),
        "rate_low": _finite(rate and rate.low),
        "rate_high": _finite(rate and rate.high),
        "growth": _finite(alert.growth),
        "current": _finite(alert.current),
        "limit": _finite(alert.limit),
        "percent_of_limit": _finite(alert.percent),
        "exhaustion_hours": _finite(full and full.value),
        "duration_s": _finite(alert.duration_s),
        "age_s": _finite(alert.age_s),
    }


def amount(subject: Subject, value: float) -> str:
    """Return "448 MB" for memory, "412 threads" for counts."""
    if _finite(value) is None:
        return "unknown"
    unit = _UNITS.get(subject)
    return f"{_count(value)} {unit}" if unit else _spaced(format_bytes(value))


def _opening(alert: Alert) -> str:
    match alert.transition:
        case Transition.WORSENED:
            return f"Now {alert.severity}: "
        case Transition.UPDATED | Transition.ACKNOWLEDGED:
            return f"{alert.transition.capitalize()}: "
        case Transition.OPENED:
            return ""
    word = "Still, after" if alert.transition is Transition.REMINDED else f"{alert.transition} after"
    return f"{word.capitalize()} {_duration(alert.duration_s)}: "


def _story(alert: Alert) -> str:
    service = _name(alert.service)
    match alert.transition:
        case Transition.RESOLVED:
            return f"{service} {_over(alert)}, {_level(alert)}"
        case Transition.GONE:
            return f"{service} ended (pid {alert.pid}) {_unhealed(alert)}, at {_level(alert)}"
    state = [_level(alert), *_full_in(alert), *_young(alert)]
    if alert.event is Event.THRESHOLD and alert.subject not in _LIMIT_EXCEEDED:
        state = [*_rate(alert), *state]
    elif alert.event is Event.LEAK:
        state += _sure(alert)
    return f"{service} {_clause(alert)}: {', '.join(state)}"


def _clause(alert: Alert) -> str:
    if alert.event is Event.THRESHOLD:
        return _LIMIT_EXCEEDED.get(alert.subject, "exceeds its growth limit")
    return " ".join(["leaks", *_rate(alert), *_what(alert)])


def _what(alert: Alert) -> list[str]:
    if alert.subject is Subject.SHARED:
        return [_OF.get(alert.kind, "of shared memory")]
    return [_OF[alert.kind]] if alert.subject is Subject.HEAP and alert.kind in _OF else []


def _sure(alert: Alert) -> list[str]:
    return [] if alert.probability is None else [f"{format_chance(alert.probability)} sure"]


def _over(alert: Alert) -> str:
    if alert.event is Event.THRESHOLD:
        return "is within its limit again"
    return "no longer leaks"


def _unhealed(alert: Alert) -> str:
    return "while over its limit" if alert.event is Event.THRESHOLD else "while still leaking"


def _rate(alert: Alert) -> list[str]:
    if alert.rate is None or _finite(alert.rate.value) is None:
        return []
    return [f"{amount(alert.subject, alert.rate.value)}/h"]


def _level(alert: Alert) -> str:
    """Return "448 MB of 1 GB", or the current value alone where there is no limit."""
    current = amount(alert.subject, alert.current)
    if not alert.limit or _finite(alert.limit) is None:
        return f"{current} now"
    if alert.subject is Subject.COLLECTIONS:
        return f"{current}, limit {_count(alert.limit)}"
    held = _count(alert.current) if alert.subject in _UNITS else current
    return f"{held} of {amount(alert.subject, alert.limit)}"


def _full_in(alert: Alert) -> list[str]:
    full = alert.exhaustion_hours
    if full is None or _finite(full.value) is None:
        return []
    return [f"{_EXHAUSTED.get(alert.subject, 'full')} in about {_hours(full.value)}"]


def _young(alert: Alert) -> list[str]:
    return [f"started only {_duration(alert.age_s)} ago"] if alert.young else []


def _rate_with_interval(alert: Alert) -> str:
    if alert.rate is None:
        return "unknown"
    low, high = (f"{amount(alert.subject, rate)}/h" for rate in (alert.rate.low, alert.rate.high))
    return f"{amount(alert.subject, alert.rate.value)}/h ({low} to {high})"


def _percent_with_source(alert: Alert) -> str:
    percent = _finite(alert.percent)
    if percent is None or alert.limit is None:
        return "no limit known"
    source = f" ({_value(alert.limit_source)})" if alert.limit_source else ""
    return f"{_count(percent)}% of {amount(alert.subject, alert.limit)}{source}"


def _exhaustion_with_interval(alert: Alert) -> str:
    full: Estimate | None = alert.exhaustion_hours
    if full is None:
        return "not predicted"
    return f"about {_hours(full.value)} ({_hours(full.low)} to {_hours(full.high)})"


def _process(alert: Alert) -> str:
    pids = alert.pids or (alert.pid,)
    more = f" and {len(pids) - MAX_PIDS} more" if len(pids) > MAX_PIDS else ""
    listed = ", ".join(str(pid) for pid in pids[:MAX_PIDS])
    return f"{_name(alert.process)}, pid{'s' if len(pids) > 1 else ''} {listed}{more}"


def _age(alert: Alert) -> str:
    return _duration(alert.age_s) + (", young: its baseline is not settled yet" if alert.young else "")


def _evidence(alert: Alert) -> str:
    if alert.evidence is None:
        return "none" if alert.transition.ends else f"none; take it with: leakwatch dump {alert.pid}"
    return _value(alert.evidence.directory) or "none could be taken"


def _hours(hours: float) -> str:
    """Return "45 min", "3 h 10 min", and from ten hours on whole hours: a forecast is no timetable."""
    if _finite(hours) is None:
        return "never"
    return _duration((round(hours) if hours >= COARSE_FROM_HOURS else hours) * 3600.0)


def _duration(seconds: float) -> str:
    """Return "3 h 10 min"."""
    if _finite(seconds) is None:
        return "an unknown time"
    parts = re.findall(r"(\d+)([a-z]+)", format_duration(seconds))
    return " ".join(f"{count} {_WORD_OF_UNIT.get(unit, unit)}" for count, unit in parts)


def _utc(wall_s: float) -> str:
    """Return "2027-01-15 08:00 UTC"; the readers of one alert sit in many time zones."""
    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _spaced(text: str) -> str:
    return re.sub(r"(?<=\d)(?=[A-Za-z])", " ", text)


def _count(value: float) -> str:
    if _finite(value) is None:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"  # noqa: PLR2004


def _finite(value: float | None) -> float | None:
    """Return the value unless it is none: JSON knows no infinity, and no machine holds an exabyte."""
    return value if value is not None and abs(value) < BEYOND_ANY else None


def _name(text: str) -> str:
    return one_line(text, MAX_NAME_CHARS)


def _value(text: str) -> str:
    return one_line(text, MAX_VALUE_CHARS)
