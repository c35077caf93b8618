"""The considerations of the leak detector: each a comparison with its numbers, open to argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, overload

from agent.detect import rules
from agent.detect.measures import Shape
from agent.model import Reason
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from agent.detect.measures import Measures

MOST_TOLD = 1000
"""A series without noise has no error to speak of."""
NOTED_URGENCY = 0.5
"""Urgency is told where it shortened the growth that is needed to this share or less."""


class _Rise(NamedTuple):
    """One rise in plain numbers: what `Measures` and its `Shape` call the same."""

    counts: bool
    block_s: float
    lasted_s: float
    brief: bool
    counted_s: float
    needed_s: float
    settled: bool
    quiet_s: float
    horizon_s: float
    headroom: float
    base: float
    growth: float
    significance: float
    end: float
    peak: float
    passed: float
    fall: float
    speed: float
    newest_step: float
    least_step: float
    jumps_share: float
    slope_before: float
    end_speed: float
    end_speed_error: float
    load_share: float
    unloaded: bool
    more_work: float
    work_rise: float
    busier: bool
    load_wait_s: float


_columns = attrgetter(*(f"shape.{name}" if hasattr(Shape, name) else name for name in _Rise._fields))
"""Returns the figures of many rises, in the order of one's."""


class Reasons(Sequence[Reason]):
    """Every consideration of one rise, passed (speaks for a leak) or failed; put into words when it is read.

    Most looks at a suspect are never told to anybody.
    """

    def __init__(self, measures: Measures, place: int, before: tuple[Reason, ...] = ()) -> None:
        """Explain one of the rises that were measured, after what is known before that."""
        self._measures = measures
        self._place = place
        self._before = before

    def after(self, before: tuple[Reason, ...]) -> Reasons:
        """Return the same after some others."""
        return Reasons(self._measures, self._place, before + self._before)

    @cached_property
    def told(self) -> tuple[Reason, ...]:
        """The reasons, in the order in which they are told."""
        rise = _Rise(*(column[self._place].item() for column in _columns(self._measures)))
        return self._before + _explain(rise)

    @overload
    def __getitem__(self, at: int) -> Reason: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Reason, ...]: ...

    def __getitem__(self, at: int | slice) -> Reason | tuple[Reason, ...]:
        """Return one of them, or some."""
        return self.told[at]

    def __eq__(self, other: object) -> bool:
        """Tell whether the same is said."""
        return isinstance(other, (Reasons, tuple)) and self.told == tuple(other)

    def __hash__(self) -> int:
        """Return a number for the same words."""
        return hash(self.told)

    def __len__(self) -> int:
        """Return how many considerations there were."""
        return len(self.told)


def joined(before: tuple[Reason, ...], reasons: Sequence[Reason]) -> Sequence[Reason]:
    """Return some reasons before others; what was not read yet still is not."""
    return reasons.after(before) if isinstance(reasons, Reasons) else (*before, *reasons)


def _explain(rise: _Rise) -> tuple[Reason, ...]:
    return (
        _lasting(rise),
        _above_noise(rise),
        _new_high(rise),
        _keeps(rise),
        _goes_on(rise),
        _no_jump(rise),
        _not_slowing(rise),
        *_load(rise),
    )


def _amount(rise: _Rise, value: float) -> str:
    """Return an amount as people write it."""
    return f"{value:.0f}" if rise.counts else format_bytes(value)


def _lasting(rise: _Rise) -> Reason:
    lasted, needed = format_duration(rise.counted_s), format_duration(rise.needed_s)
    load = " under such load" if rise.more_work >= rules.WORK_ALIKE else ""
    quiet = f"after {format_duration(rise.quiet_s)} of quiet"
    after = quiet if rise.settled else f"without a quiet time{load} before it"
    passed = rise.counted_s >= rise.needed_s
    if passed:
        text = f"has grown for {lasted} {after} ({needed} are enough{_urgency(rise)})"
    else:
        text = f"too young: has grown for {lasted} {after}, {needed} are needed"
    return Reason("lasting", passed=passed, text=text)


def _urgency(rise: _Rise) -> str:
    """Return why so little is enough, where it is because time is short."""
    if not rise.settled or rise.horizon_s > NOTED_URGENCY * rules.HORIZON_S:
        return ""
    within = format_duration(rise.horizon_s)
    least = rules.LEAST_DOUBLED_COUNT if rise.counts else rules.LEAST_DOUBLED_BYTES
    ends = rise.headroom < max(rise.base, least)
    return f", it is urgent: full within {within}" if ends else f", it is urgent: doubles within {within}"


def _above_noise(rise: _Rise) -> Reason:
    significance = rise.significance
    passed = significance >= rules.MIN_SIGNIFICANCE
    word = "stands out of the noise" if passed else "within the noise"
    times = f"{significance:.1f}" if significance <= MOST_TOLD else f"over {MOST_TOLD}"
    text = f"{word}: slope is {times} times its error ({rules.MIN_SIGNIFICANCE:.0f} needed)"
    return Reason("above-noise", passed=passed, text=text)


def _new_high(rise: _Rise) -> Reason:
    end, peak = rise.end, rise.peak
    if not math.isfinite(end):
        return Reason("new-high", passed=False, text="was not seen lately")
    if not math.isfinite(peak):
        text = f"floor is at {_amount(rise, end)}, never seen before"
        return Reason("new-high", passed=True, text=text)
    margin = rules.PASS_MARGIN_BRIEF if rise.brief else rules.PASS_MARGIN
    passed = rise.passed >= margin
    word = "passes" if passed else "does not pass"
    text = f"floor {_amount(rise, end)} {word} the earlier peak {_amount(rise, peak)}"
    return Reason("new-high", passed=passed, text=text)


def _keeps(rise: _Rise) -> Reason:
    fall, growth = rise.fall, rise.growth
    passed = fall <= rules.MAX_DRAWDOWN * growth
    word = "gives nothing back" if passed else "comes back down"
    text = f"{word}: fell by at most {_amount(rise, fall)} while it grew {_amount(rise, growth)}"
    return Reason("keeps", passed=passed, text=text)


def _goes_on(rise: _Rise) -> Reason:
    step, speed = rise.newest_step, rise.speed
    passed = step >= rules.MIN_NEWEST_STEP and speed >= rules.MIN_LATEST_SPEED
    word = "goes on" if passed else "has levelled off"
    share = 100.0 * max(0.0, min(step, speed))
    return Reason("goes-on", passed=passed, text=f"{word}: lately at {share:.0f} % of its mean speed")


def _no_jump(rise: _Rise) -> Reason:
    short = rise.lasted_s < rules.SHORT_BLOCKS * rise.block_s
    most = rules.MAX_JUMPS_SHARE_SHORT if short else rules.MAX_JUMPS_SHARE
    passed = rise.least_step >= rules.MIN_EVEN_STEP and rise.jumps_share <= most
    word = "grows steadily" if passed else "grew by jumps"
    share = 100.0 * min(1.0, rise.jumps_share)
    return Reason("no-jump", passed=passed, text=f"{word}: the three largest steps carry {share:.0f} % of it")


def _not_slowing(rise: _Rise) -> Reason:
    if not rise.settled and rise.slope_before > rules.MAX_SLOWING:
        text = f"has been slowing: it grew {rise.slope_before:.1f} times as fast before"
        return Reason("not-slowing", passed=False, text=text)
    end, error = rise.end_speed, rules.Z_95 * rise.end_speed_error
    if end + error >= rules.MIN_END_SPEED:
        return Reason("not-slowing", passed=True, text="is no slower than it was")
    share = f"{100 * max(0.0, end):.0f} % (at most {100 * max(0.0, end + error):.0f} %)"
    return Reason(
        "not-slowing", passed=False, text=f"is slowing: its curve ends at {share} of its mean speed"
    )


def _load(rise: _Rise) -> tuple[Reason, ...]:
    """Return what the load says, where it says anything."""
    if rise.unloaded:
        return (Reason("not-load", passed=True, text="grows beside its load, whose part is taken out"),)
    share = f"{100 * rise.load_share:.0f} % of it"
    if rise.load_share >= rules.LOAD_SHARE:
        says = f"rose with the load, which explains {share}"
    elif rise.busier:
        says = f"up to {rise.work_rise:.1f} times as much was done as earlier in its life"
    elif rise.load_share > 0:
        return (Reason("not-load", passed=True, text=f"the load explains only {share}"),)
    else:
        return ()
    passed, wait = rise.counted_s >= rise.load_wait_s, format_duration(rise.load_wait_s)
    if not rise.load_wait_s:
        says += ", but its limit is near"
    elif passed:
        says += f", but it has grown for longer than {wait}"
    else:
        says += f" (until {wait})"
    return (Reason("not-load", passed=passed, text=says),)
