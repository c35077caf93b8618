"""The words that every channel says the same: facts, reasons, findings, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.alerts import runbook
from agent.alerts.address import is_web_address
from agent.alerts.first_line import first_line, sure, what
from agent.alerts.phrases import (
    MAX_VALUE_CHARS,
    UNITS,
    amount,
    count,
    duration,
    finite,
    hours,
    line,
    name,
)
from agent.model import Event
from agent.units import format_utc

if TYPE_CHECKING:
    from agent.model import Alert, Reason

__all__ = [
    "MAX_VALUE_CHARS", "Fact", "Link", "Section", "background", "considerations", "facts", "figures",
    "findings", "first_line", "items", "links", "next_step", "reasons", "release", "sections",
]  # fmt: skip

MAX_REASONS = 3
"""Told to people; machines are told `considerations`."""
MAX_CONSIDERATIONS = 20
MAX_FINDINGS = 10
MAX_ITEMS = 20
MAX_PIDS = 5

_EVENTS = {
    Event.LEAK: "leak detected",
    Event.THRESHOLD: "threshold exceeded",
    Event.STORM: "many incidents at once",
    Event.WATCHER: "leakwatch itself",
    Event.CHANGE: "a change",
}
_ITEMS = {
    Event.STORM: "Incidents",
    Event.WATCHER: "What is wrong",
    Event.CHANGE: "What changed",
}
_TELLING = (
    "lineage", "fast-growth", "near-limit", "often-collected", "young", "urgent", "descriptors", "lasting",
    "new-high", "keeps", "goes-on", "not-slowing", "no-jump", "not-load", "kind", "above-noise",
)  # fmt: skip
"""The names of reasons, the most telling first; those of other names come after them."""
RELEASE_LABELS = ("release", "version")
"""The labels that name the release of the watched software."""


class Fact(NamedTuple):
    """One labelled value of an alert, both on one line."""

    label: str
    value: str


class Section(NamedTuple):
    """One list of an alert under its title; it has at least one line."""

    title: str
    lines: tuple[str, ...]


class Link(NamedTuple):
    """An address that a person may follow, and what lies there."""

    text: str
    address: str


def facts(alert: Alert) -> tuple[Fact, ...]:
    """Return the ten figures that a person decides by, the pressing ones first; unknown ones say so.

    An alert with a headline is not about one process, so that it has none of these figures.
    """
    severity = Fact("Severity", ", ".join([str(alert.severity), _EVENTS[alert.event], *sure(alert)]))
    if alert.headline:
        return () if alert.event is Event.CHANGE else (severity,)
    return (
        severity,
        Fact("Time to exhaustion", _exhaustion_with_interval(alert)),
        Fact("Growth rate", _rate_with_interval(alert)),
        Fact("Growth since onset", " ".join([amount(alert.subject, alert.growth), *what(alert)])),
        Fact("Current", amount(alert.subject, alert.current)),
        Fact("Percent of limit", _percent_with_source(alert)),
        Fact("Duration", f"{duration(alert.duration_s)}, since {format_utc(alert.since_wall_s)}"),
        Fact("Age", _age(alert)),
        Fact("Process", _process(alert)),
        Fact("Evidence", _evidence(alert)),
    )


def background(alert: Alert) -> tuple[Fact, ...]:
    """Return what helps to find the process and the incident again."""
    found = (
        Fact("Why now", line(alert.note)),
        Fact("What grows", line(alert.kind)),
        Fact("Command", line(alert.command)),
        Fact("Labels", line(", ".join(f"{k}={v}" for k, v in alert.labels.items()))),
        Fact("Incident", name(alert.incident_id)),
        Fact("At", format_utc(alert.at_wall_s)),
    )
    return tuple(fact for fact in found if fact.value)


def release(alert: Alert) -> str:
    """Return the release of the watched software by its labels; empty where none names it."""
    return next((alert.labels[label] for label in RELEASE_LABELS if alert.labels.get(label)), "")


def sections(alert: Alert) -> tuple[Section, ...]:
    """Return the lists of the alert, those that hold something: what it lists, why, evidence, what to do."""
    found = (
        Section(_ITEMS.get(alert.event, "What"), items(alert)),
        Section("Why", reasons(alert)),
        Section("Evidence", findings(alert)),
        Section("What to do", tuple(filter(None, [next_step(alert)]))),
    )
    return tuple(section for section in found if section.lines)


def items(alert: Alert) -> tuple[str, ...]:
    """Return what an alert with a headline lists; of very many the first, and how many more."""
    told = tuple(line(item) for item in alert.items[:MAX_ITEMS])
    more = len(alert.items) - MAX_ITEMS
    return (*told, f"and {more} more") if more > 0 else told


def reasons(alert: Alert) -> tuple[str, ...]:
    """Return the three strongest considerations of the verdict: those for a leak first, by what they tell."""
    return considerations(alert)[:MAX_REASONS]


def considerations(alert: Alert) -> tuple[str, ...]:
    """Return all of them in the same order."""
    ordered = sorted(alert.reasons, key=_strength)
    return tuple(f"{'for' if r.passed else 'against'}: {line(r.text)}" for r in ordered[:MAX_CONSIDERATIONS])


def findings(alert: Alert) -> tuple[str, ...]:
    """Return the gist of the evidence and what could not be taken."""
    if alert.evidence is None:
        return ()
    missing = (f"not taken: {text}" for text in alert.evidence.missing)
    return tuple(line(text) for text in (*alert.evidence.gist, *missing))[:MAX_FINDINGS]


def next_step(alert: Alert) -> str:
    """Return what to do now and where the guide says how; empty when there is nothing to do."""
    told = runbook.advice(alert)
    return f"{told} ({runbook.link(alert)})" if told else ""


def links(alert: Alert) -> tuple[Link, ...]:
    """Return the addresses to follow, those that the configuration gives: the runbook and the page."""
    section = runbook.link(alert) if runbook.advice(alert) else ""
    told = (Link("Runbook", section), Link("Page", alert.page_url))
    return tuple(link for link in told if is_web_address(link.address))


def figures(alert: Alert) -> dict[str, float | str | None]:
    """Return the plain numbers for machines; what is unknown or endless is None."""
    rate, full = alert.rate, alert.exhaustion_hours
    return {
        "unit": UNITS.get(alert.subject, "bytes"),
        "probability": finite(alert.probability),
        "kind": alert.kind or None,
        "rate_per_hour": finite(rate and rate.value),
        "rate_low": finite(rate and rate.low),
        "rate_high": finite(rate and rate.high),
        "growth": finite(alert.growth),
        "current": finite(alert.current),
        "limit": finite(alert.limit),
        "percent_of_limit": finite(alert.percent),
        "exhaustion_hours": finite(full and full.value),
        "duration_s": finite(alert.duration_s),
        "age_s": finite(alert.age_s),
    }


def _strength(reason: Reason) -> tuple[bool, int]:
    rank = _TELLING.index(reason.name) if reason.name in _TELLING else len(_TELLING)
    return not reason.passed, rank


def _rate_with_interval(alert: Alert) -> str:
    if alert.rate is None:
        return "unknown"
    low, high = (f"{amount(alert.subject, rate)}/h" for rate in (alert.rate.low, alert.rate.high))
    return f"{amount(alert.subject, alert.rate.value)}/h ({low} to {high})"


def _percent_with_source(alert: Alert) -> str:
    percent = finite(alert.percent)
    if percent is None or alert.limit is None:
        return "no limit known"
    source = f" ({line(alert.limit_source)})" if alert.limit_source else ""
    return f"{count(percent)}% of {amount(alert.subject, alert.limit)}{source}"


def _exhaustion_with_interval(alert: Alert) -> str:
    full = alert.exhaustion_hours
    if full is None:
        return "not predicted"
    return f"about {hours(full.value)} ({hours(full.low)} to {hours(full.high)})"


def _process(alert: Alert) -> str:
    pids = alert.pids or (alert.pid,)
    more = f" and {len(pids) - MAX_PIDS} more" if len(pids) > MAX_PIDS else ""
    listed = ", ".join(str(pid) for pid in pids[:MAX_PIDS])
    where = f"{name(alert.process)}, pid{'s' if len(pids) > 1 else ''} {listed}{more} on {name(alert.host)}"
    return f"{where}, release {name(release(alert))}" if release(alert) else where


def _age(alert: Alert) -> str:
    return duration(alert.age_s) + (", young: its baseline is not settled yet" if alert.young else "")


def _evidence(alert: Alert) -> str:
    if alert.evidence is None:
        return "none" if alert.transition.ends else f"none; take it with: leakwatch dump {alert.pid}"
    return line(alert.evidence.directory) or "none could be taken"
