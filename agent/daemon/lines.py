"""The log lines that tell what became of a process, in the same words as the alerts."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.logs import log_event
from agent.model import Event, State, Subject, Transition
from agent.units import format_bytes, format_duration, format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.incidents import Change
    from agent.model import Alert, Instant, Verdict
    from agent.silences import Silence
    from agent.storm_news import News

logger = logging.getLogger(__name__)

TELLING = (
    "lineage",
    "fast-growth",
    "near-limit",
    "often-collected",
    "young",
    "urgent",
    "lasting",
    "new-high",
    "keeps",
    "goes-on",
)
"""The reasons that a line tells, in this order; an alert gives them all."""
MAX_TOLD = 3
COUNTED = (Subject.THREADS, Subject.FDS, Subject.CHILDREN, Subject.COLLECTIONS)
"""Subjects whose amounts are plain counts."""


def log_suspect(service: str, pid: int, verdict: Verdict) -> None:
    """Log that something rises that may become a leak; nobody is told."""
    pairs = {"subject": verdict.subject} | _figures(verdict)
    log_event(logger, "suspect", service=service, pid=pid, **pairs, why=_why(verdict))


def log_silence(silence: Silence, now: Instant, *, begins: bool) -> None:
    """Log that a silence begins to hold, or that it is over."""
    if not begins:
        log_event(logger, "silenced", service=silence.pattern, why="the silence is over")
        return
    until = _clock(now.wall_s + silence.left_s(now))
    why = silence.why or None
    log_event(logger, "silenced", service=silence.pattern, silenced_until=until, by=silence.by, why=why)


def log_storm(news: News, names: Iterable[str]) -> None:
    """Log one message of a storm."""
    storm = news.storm
    log_event(
        logger,
        "storm",
        level=logging.INFO if news.transition.ends else logging.WARNING,
        incident=storm.storm_id,
        transition=news.transition,
        severity=storm.severity,
        incidents=len(storm.entries),
        services=len({entry.service for entry in storm.entries}),
        channels=",".join(names) or "none",
        why=news.note or None,
    )


def log_change(
    change: Change,
    alert: Alert,
    names: Iterable[str],
    *,
    capturing: bool,
    storm: str = "",
    silenced_until_wall_s: float | None = None,
) -> None:
    """Log one transition; opening and worsening stand out in capitals."""
    incident, verdict = change.incident, change.lead.verdict
    channels = ",".join(names) or "none"
    silenced = None if silenced_until_wall_s is None else _clock(silenced_until_wall_s)
    if change.transition not in (Transition.OPENED, Transition.WORSENED):
        lasted = format_duration(change.at.wall_s - incident.opened.wall_s)
        figures = _figures(verdict) if change.transition is Transition.UPDATED else {}
        log_event(
            logger,
            str(change.transition),
            service=incident.service,
            pid=alert.pid,
            subject=incident.subject,
            **figures,
            incident=incident.incident_id,
            after=lasted,
            channels=channels,
            storm=storm or None,
            silenced_until=silenced,
            why=change.note,
        )
        return
    log_event(
        logger,
        "LEAK" if incident.event is Event.LEAK else "LIMIT",
        level=logging.WARNING if incident.state is State.WARNING else logging.ERROR,
        service=incident.service,
        pid=alert.pid,
        subject=incident.subject,
        severity=incident.state,
        **_figures(verdict),
        since=_clock(alert.since_wall_s),
        incident=incident.incident_id,
        transition=change.transition,
        channels=channels,
        storm=storm or None,
        silenced_until=silenced,
        evidence="taking" if capturing else None,
        again=change.note if change.note.startswith(("again", "silenced")) else None,
        why=_why(verdict),
    )


def _clock(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s).astimezone().strftime("%H:%M")


def _figures(verdict: Verdict) -> dict[str, Any]:
    """Return rate, length, current and forecast as a line tells them."""
    counts = verdict.subject in COUNTED
    amount = (lambda v: f"{v:.0f}") if counts else format_bytes
    rate = verdict.rate
    rates = None
    if rate is not None:
        low, high = amount(rate.low), amount(rate.high)
        rates = f"{rate.value:.3g}/h" if counts else f"{format_rate(rate.value)} ({low}..{high})"
    of = f"/{amount(verdict.limit)}" if verdict.limit else ""
    full = verdict.exhaustion_hours
    lasted = None if verdict.onset_t_s is None else format_duration(verdict.t_s - verdict.onset_t_s)
    return {
        "p": None if verdict.probability is None else round(verdict.probability, 3),
        "kind": verdict.kind or None,
        "rate": rates,
        "for": lasted,
        "grew": amount(verdict.growth) if verdict.growth else None,
        _word(verdict.subject): amount(verdict.current) + of,
        "full_in": None if full is None else format_duration(full.value * 3600.0),
    }


def _word(subject: Subject) -> str:
    return "heap" if subject is Subject.HEAP_PERCENT else str(subject)


def _why(verdict: Verdict) -> str:
    """Return the most telling reasons: all that a limit gives, else the first that speak for a leak."""
    by_name = {reason.name: reason for reason in verdict.reasons}
    told = [by_name[name] for name in TELLING if name in by_name]
    against = _told_against(verdict)
    return "; ".join([r.text for r in told if r.passed or r.name == against][:MAX_TOLD])


def _told_against(verdict: Verdict) -> str:
    """Return the reason that is told though it speaks against a leak: a suspect may be too young."""
    if verdict.event is Event.THRESHOLD:
        return "young"
    return "lasting" if verdict.state < State.WARNING else ""
