"""The considerations of a lineage: what the runs of one program show together, each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agent.detect import rules
from agent.history.runs import Run
from agent.median import median
from agent.model import Estimate, Reason
from agent.units import format_bytes, format_duration, format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_RUNS = 4
MIN_LENGTH_S = 3600.0
"""A run tells something when it was seen for this long after its warm-up, and for as long as that took."""
MIN_SPAN_S = 18 * 3600.0
"""The runs must lie over this much time: within a morning all of them grow with the load."""
GROWING_SHARE = 0.9
"""Of the runs so many must have grown."""
MIN_GROWTH_SHARE = 0.01
"""What a run typically grew, as a share of where it began."""
MAX_SPREAD = 0.75
"""The middle half of the rates may differ by this share of their median."""
MIN_PACE, MAX_PACE = 0.9, 1.7
"""Speed in the newest half of a run, as a share of that in all of it: warm-up slows down, a jump is late."""
LENGTHS_DIFFER = 1.5
"""Whether growth follows length is seen where the longest run was this many times as long as the shortest."""
PAIR_DIFFERS = 1.25
MIN_ELASTICITY = 0.7
"""Twice the length must bring 2**0.7 = 1.6 times the growth: a leak's elasticity is 1, warm-up's 0."""
MIN_LONGEST_SPEED = 0.6
"""The longest third of the runs grew at this share of the typical speed at least: nothing came back there."""
MAX_GIVEN_BACK = 0.25
MIN_COVER = 0.75
"""Share of the time that the runs fill: a service is started again at once, a job is not."""
RECOVERED_LENGTHS = 2.0
"""Runs that do not grow end a lineage once they have lasted this many times as long as those that did."""
NO_HINDRANCE = ("lengths",)
"""Considerations that speak neither for nor against a leak when they fail."""


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Return runs in the order of their starts."""
    return sorted(runs, key=lambda run: (run.started_wall_s, run.key))


def tells(run: Run) -> bool:
    """Whether a run lasted long enough after its warm-up to tell how it goes on."""
    return run.length_s >= max(MIN_LENGTH_S, run.warmup_s)


@dataclass(frozen=True, slots=True)
class Together:
    """The runs of one program in one window, oldest first."""

    every: Sequence[Run]
    telling: Sequence[Run]
    growing: Sequence[Run]
    """Those of the telling ones that grew."""
    min_rate: float

    @classmethod
    def of(cls, runs: Sequence[Run], min_rate_bytes_per_hour: float) -> Together:
        """Look at runs that are in order."""
        telling = [run for run in runs if tells(run)]
        growing = [run for run in telling if run.rate >= min_rate_bytes_per_hour and run.growth > 0]
        return cls(runs, telling, growing, min_rate_bytes_per_hour)

    @property
    def span_s(self) -> float:
        """Seconds from the first start to the last sight of the runs that tell something."""
        return max(run.until_wall_s for run in self.telling) - self.telling[0].started_wall_s

    @property
    def enough(self) -> bool:
        """Whether there are enough runs, over enough time, to say anything."""
        return len(self.telling) >= MIN_RUNS and self.span_s >= MIN_SPAN_S

    def reasons(self, rate: Estimate, plateau: float | None) -> tuple[Reason, ...]:
        """Return every consideration, passed (speaks for a leak) or failed.

        `plateau` is where earlier runs came to rest, None where none did.
        """
        return (
            self._enough(),
            self._grown(),
            self._alike(),
            self._notable(rate),
            self._goes_on(),
            self._keeps(),
            self._still(),
            self._restarted(),
            self._new_high(plateau),
            self._longest(),
            self._proportional(),
        )

    def recovered(self) -> str | None:
        """Return why the runs no longer grow, in words; None while they do."""
        if not self.telling:
            return "no run is known any more that grew"
        newest_grown = max((at for at, run in enumerate(self.telling) if run in self.growing), default=-1)
        sound = self.telling[newest_grown + 1 :]
        lengths = [run.length_s for run in self.growing]
        if lengths and _together_s(sound) < RECOVERED_LENGTHS * median(lengths):
            return None
        count = "the newest run has" if len(sound) == 1 else f"the {len(sound)} newest runs have"
        return f"{count} not grown for {format_duration(_together_s(sound))}"

    def _enough(self) -> Reason:
        lasted, needed = format_duration(self.span_s), format_duration(MIN_SPAN_S)
        word = "enough" if self.enough else "too few"
        text = f"{word}: {len(self.telling)} runs in {lasted} ({MIN_RUNS} and {needed} are needed)"
        return Reason("enough-runs", passed=self.enough, text=text)

    def _grown(self) -> Reason:
        passed = len(self.growing) >= MIN_RUNS and len(self.growing) >= GROWING_SHARE * len(self.telling)
        text = f"{len(self.growing)} of {len(self.telling)} runs grew after their warm-up"
        return Reason("runs-grew", passed=passed, text=text)

    def _alike(self) -> Reason:
        if not self.growing:
            return Reason("alike", passed=False, text="no run grew")
        low, middle, high = np.percentile([run.rate for run in self.growing], [25, 50, 75])
        word = "at about the same rate" if high - low <= MAX_SPREAD * middle else "at different rates"
        text = f"{word}: the middle half of them at {format_rate(low)} to {format_rate(high)}"
        return Reason("alike", passed=bool(high - low <= MAX_SPREAD * middle), text=text)

    def _notable(self, rate: Estimate) -> Reason:
        growth = median([run.growth for run in self.telling])
        base = median([run.base for run in self.telling])
        needed = max(rules.MIN_GROWTH_BYTES, MIN_GROWTH_SHARE * base)
        passed = growth >= needed and rate.low >= self.min_rate
        grown = format_bytes(max(0.0, growth))
        text = f"typically by {grown} after warm-up ({format_bytes(needed)} are notable)"
        return Reason("notable", passed=passed, text=text)

    def _goes_on(self) -> Reason:
        pace = median([run.late_rate / run.rate for run in self.growing]) if self.growing else 0.0
        word = "goes on until each run ends"
        if pace < MIN_PACE:
            word = "slows down within each run"
        elif pace > MAX_PACE:
            word = "comes late and at once"
        text = f"{word}: lately at {100 * max(0.0, pace):.0f} % of its mean speed"
        return Reason("goes-on", passed=MIN_PACE <= pace <= MAX_PACE, text=text)

    def _keeps(self) -> Reason:
        shares = [(run.peak - run.last) / run.growth for run in self.growing]
        share = median(shares) if shares else 1.0
        word = "gives nothing back" if share <= MAX_GIVEN_BACK else "comes back down"
        return Reason(
            "keeps", passed=share <= MAX_GIVEN_BACK, text=f"{word}: typically {100 * share:.0f} % of it"
        )

    def _still(self) -> Reason:
        over = self.recovered()
        return Reason("still", passed=over is None, text=over or "the newest runs still grow")

    def _restarted(self) -> Reason:
        cover = _cover(self.every)
        word = "is started again at once" if cover >= MIN_COVER else "runs now and then"
        return Reason("restarted", passed=cover >= MIN_COVER, text=f"{word}: {100 * cover:.0f} % of the time")

    def _new_high(self, plateau: float | None) -> Reason:
        if plateau is None:
            return Reason("new-high", passed=True, text="no earlier run is known that came to rest")
        last = median([run.last for run in self.telling])
        word = "end above" if last > plateau else "end below"
        text = f"{word} {format_bytes(plateau)}, where earlier runs came to rest"
        return Reason("new-high", passed=last > plateau, text=text)

    def _longest(self) -> Reason:
        """Say whether the longest runs grew, too: a collector that comes late is seen in them."""
        longest = sorted(self.telling, key=lambda run: run.length_s)[-max(1, len(self.telling) // 3) :]
        hours = _together_s(longest) / 3600.0
        typical = median([run.rate for run in self.growing]) if self.growing else math.inf
        speed = sum(run.growth for run in longest) / hours / typical
        text = f"the longest runs grew at {100 * max(0.0, speed):.0f} % of the typical speed"
        return Reason("longest", passed=speed >= MIN_LONGEST_SPEED, text=text)

    def _proportional(self) -> Reason:
        """Say whether longer runs grew more; runs of one length do not tell, which is no hindrance."""
        length = np.log([run.length_s for run in self.growing])
        growth = np.log([run.growth for run in self.growing])
        one, other = np.triu_indices(len(length), 1)
        longer, more = length[other] - length[one], growth[other] - growth[one]
        apart = np.abs(longer) >= math.log(PAIR_DIFFERS)
        if not apart.any() or np.ptp(length) < math.log(LENGTHS_DIFFER):
            return Reason("lengths", passed=False, text="all runs lasted about as long: length tells nothing")
        elasticity = median(more[apart] / longer[apart])
        word = (
            "longer runs grew more" if elasticity >= MIN_ELASTICITY else "longer runs grew no more: warm-up"
        )
        text = f"{word} (twice as long: {2**elasticity:.1f} times the growth)"
        return Reason("proportional", passed=elasticity >= MIN_ELASTICITY, text=text)


def _cover(runs: Sequence[Run]) -> float:
    """Return the share of the time from the first start to the last sight in which one of the runs lived."""
    begin = min(run.started_wall_s for run in runs)
    covered, reached = 0.0, begin
    for run in in_order(runs):
        covered += max(0.0, run.until_wall_s - max(reached, run.started_wall_s))
        reached = max(reached, run.until_wall_s)
    return covered / max(1.0, reached - begin)


def _together_s(runs: Iterable[Run]) -> float:
    return sum(run.length_s for run in runs)
