"""What is measured of a rise, in plain units: the ground on which the reasons and the probability stand."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from agent.detect import rules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Ints = NDArray[np.intp]


class _Rows:
    """Arrays of one length, of which some rows can be picked."""

    __slots__ = ()

    def of(self, rows: Ints) -> Self:
        """Return some of the rises."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type] # see below
        return type(self)(  # every subclass is a dataclass
            **{name: one.of(rows) if isinstance(one, _Rows) else one[rows] for name, one in values.items()}
        )


@dataclass(frozen=True, slots=True)
class Shape(_Rows):
    """The form of many rises, from their own floors alone; arrays of shape (series,).

    Amounts in bytes (threads and the like: counts).
    """

    counts: Bools
    block_s: Floats
    lasted_s: Floats
    growth: Floats
    rate_per_hour: Floats
    base: Floats
    significance: Floats
    """Slope over its error, the noise being correlated as it is."""
    least_step: Floats
    """Least of the steps between the rise's quarters, over their mean."""
    newest_step: Floats
    latest_speed: Floats
    """The slope within the newest eighth, over the whole slope."""
    end_speed: Floats
    """The slope at the end of a parabola through the rise, over the mean slope."""
    end_speed_error: Floats
    """The standard error of that."""
    bend: Floats
    """How far the floors lie off a straight line, over the growth."""
    fall: Floats
    """The deepest fall since the onset."""
    jumps_share: Floats
    """What the three largest increases carry of the growth."""

    @property
    def brief(self) -> Bools:
        """Whether it is still so brief that it must pass the samples' peaks."""
        return np.asarray(self.lasted_s <= rules.BRIEF_S)


@dataclass(frozen=True)
class Measures(_Rows):
    """Many rises, with what was seen before them; arrays of shape (series,).

    What follows from them is worked out once.
    """

    shape: Shape
    age_s: Floats
    finer_speed: Floats
    """The slope within the newest eighth in blocks an eighth as long, over the whole slope."""
    end: Floats
    """The newest floor."""
    peak: Floats
    """The highest that was seen before; minus infinity for nothing."""
    above_s: Floats
    """For how long the floors have stood above it."""
    slope_before: Floats
    """The slope before the onset over the slope after it."""
    fall_before: Floats
    """The deepest fall of the floors before the onset."""
    quiet_s: Floats
    """How long nothing grew before the onset."""
    headroom: Floats
    """How much is left to the limit; infinity for no limit."""
    load_share: Floats
    """How much of the growth goes along with a load that rose with it: 0 none, 1 all of it."""
    unloaded: Bools
    """Whether what the load explains was taken out of the floors beforehand."""
    more_work: Floats
    """How many times as much was done during the rise as in the quiet time; 0 where nothing says it."""
    work_rise: Floats
    """How many times as much was done at most as at least before, over the life; 0 where nothing says it."""

    @cached_property
    def baseline_s(self) -> Floats:
        """The quiet time, as far as it counts: what came back down before has shown that it may again.

        Under another load it was another process that was quiet.
        """
        swing = self.fall_before / np.maximum(self.shape.growth, 1e-9)
        counts = 1 - rules.SWING_WEIGHT * np.maximum(0.0, swing - rules.SWING_FREE)
        alike = (rules.WORK_OTHER - self.more_work) / (rules.WORK_OTHER - rules.WORK_ALIKE)
        alike = np.where(self.unloaded, 1.0, alike)
        return np.asarray(self.quiet_s * np.clip(counts, 0.0, 1.0) * np.clip(alike, 0.0, 1.0))

    @cached_property
    def horizon_s(self) -> Floats:
        """How long until the series has doubled, or has reached its limit, at its rate."""
        shape = self.shape
        least = np.where(shape.counts, rules.LEAST_DOUBLED_COUNT, rules.LEAST_DOUBLED_BYTES)
        way = np.minimum(np.maximum(shape.base, least), np.maximum(self.headroom, 1.0))
        return np.asarray(3600.0 * way / np.maximum(shape.rate_per_hour, 1e-9))

    @cached_property
    def doubling_s(self) -> Floats:
        """How long until the series has grown by what it was before."""
        return np.asarray(3600.0 * self.shape.base / np.maximum(self.shape.rate_per_hour, 1e-9))

    @cached_property
    def product_s2(self) -> Floats:
        """The quiet time times the growth time that makes a leak: less where it is urgent or straight."""
        urgency = np.minimum(rules.MOST_PATIENCE, self.horizon_s / rules.HORIZON_S)
        return np.asarray(rules.QUIET_PRODUCT_S2 * np.maximum(rules.LEAST_SHARE, urgency * self.bent))

    @cached_property
    def bent(self) -> Floats:
        """How far each rise is from straight: 1 for as bent as what fills, and comes to rest, often is."""
        return np.clip(self.shape.bend / rules.BENT, rules.STRAIGHTEST, 1.0)

    @cached_property
    def settled(self) -> Bools:
        """Whether there was a quiet time long enough to be a baseline."""
        return np.asarray(self.product_s2 < self.baseline_s * rules.FROM_START_S)

    @cached_property
    def needed_s(self) -> Floats:
        """How long each rise must last for its length to speak for a leak."""
        after_quiet = np.maximum(rules.MIN_RISE_S, self.product_s2 / np.maximum(self.baseline_s, 1.0))
        slow = np.minimum(rules.SLOW_SHARE * self.doubling_s, rules.SLOW_S)
        from_start = np.maximum(np.maximum(rules.FROM_START_S, slow), rules.FROM_START_COVER * self.age_s)
        needed = np.where(self.settled, after_quiet, from_start)
        return np.maximum(needed, self.load_wait_s)

    @cached_property
    def busier(self) -> Bools:
        """Whether the process has had so much more to do in the course of its life that it grows by that."""
        least = np.where(self.settled, rules.WORK_ROSE_AFTER_QUIET, rules.WORK_ROSE)
        short = ~self.settled | (self.quiet_s < rules.LOADED_S)
        return np.asarray((self.work_rise >= least) & short & ~self.unloaded)

    @cached_property
    def load_wait_s(self) -> Floats:
        """How long each rise must last as it may be its load's; 0 if not, or if the limit comes before.

        From the start less where it is straight, unless it began with more work after a quiet time: what
        more work fills bends, and where a leak makes each piece of work dearer (a listener more for every
        event) both rise, but memory in a line.
        """
        follows = self.load_share >= rules.LOAD_SHARE
        began = self.settled | (self.more_work >= rules.WORK_ALIKE)
        wait_s = rules.LOADED_S * np.where(began | follows, 1.0, self.bent)
        full_s = 3600.0 * self.headroom / np.maximum(self.shape.rate_per_hour, 1e-9)
        waits = self.shape.lasted_s + full_s >= wait_s
        return np.where((follows | self.busier) & waits, wait_s, 0.0)

    @cached_property
    def counted_s(self) -> Floats:
        """How long each rise has lasted, as far as it counts: without a baseline since it passed the peak."""
        return np.where(self.settled, self.shape.lasted_s, np.minimum(self.shape.lasted_s, self.above_s))

    @cached_property
    def speed(self) -> Floats:
        """The slope lately over the whole slope, the lower of both scales."""
        return np.minimum(self.shape.latest_speed, self.finer_speed)

    @cached_property
    def passed(self) -> Floats:
        """By how much of itself the rise ends above everything seen before."""
        return (self.end - self.peak) / np.maximum(self.shape.growth, 1e-9)
