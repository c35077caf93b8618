"""Growth of a service across its runs: what restarts hide, and what earlier runs lend the next one.

One run that grows until it is ended may only be warming up. Several of them are a leak when each grew at
about the same rate, went on as fast in its newest half as before, and the longer ones grew more than the
shorter ones: warm-up comes to rest at the same level however long a run lasts.

What it cannot see: growth that begins later in a life than the runs last. What it takes for a leak: a cache
that would fill for much longer than any run has lasted, and a job that is started again at once and holds in
memory what it has worked through. Jobs that are started now and then are told apart by the time between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.detect.lineage_reasons import NO_HINDRANCE, Together, in_order, tells
from agent.history.runs import KEPT_S, Run
from agent.median import median
from agent.model import Estimate, Reason
from agent.units import format_duration, format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.detect.options import DetectOptions

WINDOWS_S = (86400.0, 7 * 86400.0, KEPT_S)
"""The shortest of these that holds enough runs is looked at."""
Z_COVER = 0.9
"""Confidence of the interval of the rate."""

LENDING_RUNS = 10
NEWEST_RUNS = 2
SETTLED_WARMUPS = 3.0
"""A run came to rest when it was quiet for this many times its warm-up, and ..."""
SETTLED_S = 1800.0
"""... for this long."""
ODD = 1.5
"""Of three and more plateaus one is odd that is this many times their median."""


@dataclass(frozen=True, slots=True)
class Lent:
    """What sound runs of a service lend the next one. Below the plateau a run is innocent."""

    plateau: float
    """The highest level at which one of them came to rest, in bytes."""
    warmup_s: float
    """How long they took to warm up."""
    quiet_s: float
    """How long they were quiet at their plateau."""


@dataclass(frozen=True, slots=True)
class LineageFinding:
    """What the runs of one program of a service say together."""

    leaks: bool
    runs: int
    """How many of them grew."""
    window_s: float
    rate: Estimate
    """Growth an hour of a typical run, with a 90 % interval over the runs."""
    growth: float
    """What they grew together, in bytes: what restarts have hidden."""
    onset_wall_s: float
    """When the first of them started."""
    reasons: tuple[Reason, ...]

    @property
    def sentence(self) -> str:
        """The finding in one sentence, for people."""
        window, rate = format_duration(self.window_s), format_rate(self.rate.value)
        return f"{self.runs} runs in {window}, each grew {rate}, restarts are hiding it"


def across(runs: Iterable[Run], now_wall_s: float, options: DetectOptions) -> LineageFinding | None:
    """Return the leak that these runs of one program show together, in any order, if any."""
    finding = explain(runs, now_wall_s, options)
    return finding if finding is not None and finding.leaks else None


def explain(runs: Iterable[Run], now_wall_s: float, options: DetectOptions) -> LineageFinding | None:
    """Return what these runs of one program say, whatever it is; None where none says anything."""
    past = in_order(runs)
    for window_s in WINDOWS_S:
        inside = [run for run in past if now_wall_s - run.until_wall_s <= window_s]
        together = Together.of(inside, options.min_rate_bytes_per_hour)
        if together.enough:
            break
    return _finding(together, window_s, lend(past, now_wall_s)) if together.telling else None


def recovered(runs: Iterable[Run], options: DetectOptions) -> str | None:
    """Return why a lineage is over, in words; None while it is not: its newest runs still grow."""
    return Together.of(in_order(runs), options.min_rate_bytes_per_hour).recovered()


def lend(runs: Iterable[Run], now_wall_s: float) -> Lent | None:
    """Return what these runs of one program lend the next one; None where they lend nothing.

    Nothing is lent where the newest runs leaked, where none came to rest and stayed there for several times
    its warm-up, or where the newest run is beyond that level and has not come to rest.
    """
    past = [run for run in in_order(runs) if now_wall_s - run.until_wall_s <= KEPT_S and tells(run)]
    recent = past[-LENDING_RUNS:]
    settled = [run for run in recent if _settled(run)]
    if not settled or any(run.leak for run in recent[-NEWEST_RUNS:]):
        return None
    middle = median([run.level for run in settled])
    if len(settled) > 2:  # noqa: PLR2004 - of two, nobody knows which is odd
        settled = [run for run in settled if run.level <= ODD * middle]
    plateau = max(run.level for run in settled)
    if recent[-1].last > plateau and not _settled(recent[-1]):
        return None
    warmup_s = median([run.warmup_s for run in settled])
    quiet_s = median([run.quiet_s for run in settled])
    return Lent(plateau, warmup_s, quiet_s)


def _settled(run: Run) -> bool:
    return run.whole and not run.leak and run.quiet_s >= max(SETTLED_S, SETTLED_WARMUPS * run.warmup_s)


def _finding(together: Together, window_s: float, lent: Lent | None) -> LineageFinding:
    rate = _median_estimate([run.late_rate for run in together.telling])
    reasons = together.reasons(rate, lent.plateau if lent else None)
    return LineageFinding(
        leaks=all(reason.passed for reason in reasons if reason.name not in NO_HINDRANCE),
        runs=len(together.growing),
        window_s=window_s,
        rate=rate,
        growth=sum(run.growth for run in together.growing),
        onset_wall_s=min(run.started_wall_s for run in together.growing or together.telling),
        reasons=reasons,
    )


def _median_estimate(values: Sequence[float]) -> Estimate:
    """Return the median with a 90 % interval that assumes no distribution: order statistics by the binomial.

    Conover, Practical Nonparametric Statistics, 3rd edition 1999, 3.2. Of four values all four make 87.5 %.
    """
    ordered = sorted(values)
    count, inside = len(ordered), 0
    below = 0.5**count
    while inside < (count - 1) // 2:
        further = below + math.comb(count, inside + 1) * 0.5**count
        if 1.0 - 2.0 * further < Z_COVER:
            break
        below, inside = further, inside + 1
    return Estimate(median(ordered), ordered[inside], ordered[count - 1 - inside])
