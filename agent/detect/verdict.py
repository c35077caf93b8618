"""Puts the detector's finding and the plain limits together into one verdict a subject, with its reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.detect import rules
from agent.detect.forecast import exhaustion_hours
from agent.detect.reasons import joined
from agent.model import Estimate, Event, Reason, State, Subject, Verdict
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.detect.leak import Finding
    from agent.detect.options import DetectOptions
    from agent.detect.thresholds import Breach


def growth_verdict(  # noqa: PLR0913 - everything one verdict is made of
    subject: Subject,
    *,
    t_s: float,
    age_s: float,
    current: float,
    limit: float | None,
    finding: Finding | None,
    breach: Breach | None,
    options: DetectOptions,
) -> Verdict:
    """Judge a growing subject: a leak where the detector says so, else an exceeded limit, else sound."""
    if breach and finding and breach.state <= State.SUSPECT <= finding.state:
        breach = None  # the detector knows the same rise better
    leaks = finding is not None and finding.state >= State.WARNING
    rate, onset_t_s, grown = _growth(finding, breach, leaks=leaks)
    forecast = None
    if rate is not None and onset_t_s is not None:
        standing = _aged(finding, t_s) if finding and rate is finding.rate else None
        forecast = exhaustion_hours(current, limit, rate, t_s - onset_t_s, standing)
    state = max(finding.state if finding else State.SOUND, breach.state if breach else State.SOUND)
    reasons = _reasons(finding, breach, age_s)
    certain = breach is not None or (finding is not None and finding.sure)
    urgent = forecast is not None and forecast.value * 3600.0 <= options.critical_within_s
    if state == State.WARNING and forecast is not None and urgent and certain:
        state = State.CRITICAL
        reasons = joined((_urgent(forecast),), reasons)
    return Verdict(
        t_s=t_s,
        subject=subject,
        state=state,
        event=Event.LEAK if leaks or breach is None else Event.THRESHOLD,
        rate=rate,
        onset_t_s=onset_t_s,
        growth=grown,
        current=current,
        limit=limit,
        exhaustion_hours=forecast,
        reasons=reasons,
        young=age_s < rules.YOUNG_S,
        probability=finding.probability if finding else None,
    )


def limit_verdict(
    subject: Subject, *, t_s: float, age_s: float, current: float, limit: float | None, breach: Breach | None
) -> Verdict:
    """Judge a subject that has a plain limit and no growth: memory near its limit, collections."""
    return Verdict(
        t_s=t_s,
        subject=subject,
        state=breach.state if breach else State.SOUND,
        event=Event.THRESHOLD,
        rate=None,
        onset_t_s=None,
        growth=0.0,
        current=current,
        limit=limit,
        exhaustion_hours=None,
        reasons=(breach.reason,) if breach else (),
        young=age_s < rules.YOUNG_S,
    )


def _growth(
    finding: Finding | None, breach: Breach | None, *, leaks: bool
) -> tuple[Estimate | None, float | None, float]:
    """Return rate, onset and growth: the detector's where it is sure or alone, else the rate of the limit.

    A limit looks at its own time only; the rise it sees may have begun long before.
    """
    if finding is not None and (leaks or breach is None):
        return finding.rate, finding.onset_t_s, finding.growth
    if breach is None:
        return None, None, 0.0
    if finding is None or breach.onset_t_s is None:
        return breach.rate, breach.onset_t_s, breach.growth
    return breach.rate, min(breach.onset_t_s, finding.onset_t_s), max(breach.growth, finding.growth)


def _aged(finding: Finding, t_s: float) -> Estimate | None:
    """Return how high the samples stand now: a finding stays for two of its blocks."""
    if finding.standing is None:
        return None
    since = finding.rate.value * (t_s - finding.t_s) / 3600.0
    return Estimate(*(level + since for level in finding.standing))


def _reasons(finding: Finding | None, breach: Breach | None, age_s: float) -> Sequence[Reason]:
    reasons = (breach.reason,) if breach else ()
    if breach and age_s < rules.YOUNG_S:
        young = f"young: started {format_duration(age_s)} ago, this may be warm-up"
        reasons = (*reasons, Reason("young", passed=False, text=young))
    return joined(reasons, finding.reasons) if finding else reasons


def _urgent(forecast: Estimate) -> Reason:
    text = f"urgent: full in about {format_duration(forecast.value * 3600.0)}"
    return Reason("urgent", passed=True, text=text)
