"""The considerations of the leak detector: each a comparison with its numbers, open to argument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.detect import rules
from agent.model import Reason
from agent.units import format_bytes, format_duration

MOST_TOLD = 1000
"""A series without noise has no error to speak of."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was measured about one rise; amounts in bytes, or in threads or descriptors when `counts`."""

    counts: bool
    block_s: float
    age_s: float
    lasted_s: float
    growth: float
    base: float
    significance: float
    least_step: float
    """Least of the steps between the quarters, over their mean."""
    newest_step: float
    latest_speed: float
    """The slope within the newest eighth, over the whole slope."""
    fall: float
    jumps_share: float
    """What the three largest increases carry of the growth."""
    end: float
    """The newest floor."""
    peak: float
    """The highest that was seen before."""
    slope_before: float
    """The slope before the onset over the slope after it."""
    quiet_s: float

    @property
    def settled(self) -> bool:
        """Whether there was a quiet time long enough to be a baseline."""
        return self.quiet_s > 0 and rules.QUIET_PRODUCT_S2 / self.quiet_s < rules.FROM_START_S

    @property
    def needed_s(self) -> float:
        """How long the rise must last."""
        if self.settled:
            return max(rules.MIN_RISE_S, rules.QUIET_PRODUCT_S2 / self.quiet_s)
        return max(rules.FROM_START_S, rules.FROM_START_COVER * self.age_s)

    def amount(self, value: float) -> str:
        """Return an amount as people write it."""
        return f"{value:.0f}" if self.counts else format_bytes(value)


def explain(numbers: Numbers) -> tuple[Reason, ...]:
    """Return every consideration, passed (speaks for a leak) or failed."""
    return (
        _lasting(numbers),
        _above_noise(numbers),
        _new_high(numbers),
        _keeps(numbers),
        _goes_on(numbers),
        _no_jump(numbers),
        _not_slowing(numbers),
    )


def _lasting(n: Numbers) -> Reason:
    lasted, needed = format_duration(n.lasted_s), format_duration(n.needed_s)
    after = f"after {format_duration(n.quiet_s)} of quiet" if n.settled else "without a quiet time before it"
    if n.lasted_s >= n.needed_s:
        return Reason("lasting", passed=True, text=f"has grown for {lasted} {after} ({needed} are enough)")
    return Reason(
        "lasting", passed=False, text=f"too young: has grown for {lasted} {after}, {needed} are needed"
    )


def _above_noise(n: Numbers) -> Reason:
    passed = n.significance >= rules.MIN_SIGNIFICANCE
    word = "stands out of the noise" if passed else "within the noise"
    times = f"{n.significance:.1f}" if n.significance <= MOST_TOLD else f"over {MOST_TOLD}"
    text = f"{word}: slope is {times} times its error ({rules.MIN_SIGNIFICANCE:.0f} needed)"
    return Reason("above-noise", passed=passed, text=text)


def _new_high(n: Numbers) -> Reason:
    if not np.isfinite(n.end):
        return Reason("new-high", passed=False, text="was not seen lately")
    if not np.isfinite(n.peak):
        return Reason("new-high", passed=True, text=f"floor is at {n.amount(n.end)}, never seen before")
    margin = rules.PASS_MARGIN_BRIEF if n.lasted_s <= rules.BRIEF_S else rules.PASS_MARGIN
    passed = n.end >= n.peak + margin * n.growth
    word = "passes" if passed else "does not pass"
    return Reason(
        "new-high", passed=passed, text=f"floor {n.amount(n.end)} {word} the earlier peak {n.amount(n.peak)}"
    )


def _keeps(n: Numbers) -> Reason:
    passed = n.fall <= rules.MAX_DRAWDOWN * n.growth
    word = "gives nothing back" if passed else "comes back down"
    text = f"{word}: fell by at most {n.amount(n.fall)} while it grew {n.amount(n.growth)}"
    return Reason("keeps", passed=passed, text=text)


def _goes_on(n: Numbers) -> Reason:
    passed = n.newest_step >= rules.MIN_NEWEST_STEP and n.latest_speed >= rules.MIN_LATEST_SPEED
    word = "goes on" if passed else "has levelled off"
    share = 100.0 * max(0.0, min(n.newest_step, n.latest_speed))
    return Reason("goes-on", passed=passed, text=f"{word}: lately at {share:.0f} % of its mean speed")


def _no_jump(n: Numbers) -> Reason:
    most = (
        rules.MAX_JUMPS_SHARE_SHORT if n.lasted_s < rules.SHORT_BLOCKS * n.block_s else rules.MAX_JUMPS_SHARE
    )
    passed = n.least_step >= rules.MIN_EVEN_STEP and n.jumps_share <= most
    word = "grows steadily" if passed else "grew by jumps"
    share = 100.0 * min(1.0, n.jumps_share)
    return Reason("no-jump", passed=passed, text=f"{word}: the three largest steps carry {share:.0f} % of it")


def _not_slowing(n: Numbers) -> Reason:
    slowing = not n.settled and n.slope_before > rules.MAX_SLOWING
    if slowing:
        text = f"has been slowing: it grew {n.slope_before:.1f} times as fast before"
        return Reason("not-slowing", passed=False, text=text)
    return Reason("not-slowing", passed=True, text="is no slower than it was")
