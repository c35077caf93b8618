"""The figures of the detector: what a rise must show to be judged, and where each consideration turns.

They were chosen on recorded and generated processes as round figures in the middle of a range over which the
result hardly changed; none is fitted to a single recording. From where on and how fast a consideration weighs
stands in features.py; how much it weighs is fitted by tests/bench/train.py and kept in weights.json.
"""

from __future__ import annotations

STARTUP_SHARE = 0.1
"""The first tenth of a life is start-up and is never judged, ..."""
MAX_STARTUP_S = 3600.0
"""... but never more than an hour of it."""

MIN_SIGNIFICANCE = 4.0
"""Slope over standard error, the residuals' autocorrelation included."""
Z_95 = 1.645
"""One-sided: a rise is slowing when even the upper end of its newest speed is low."""
MAX_DRAWDOWN = 0.25
"""A leak does not give back: the deepest fall of the floors since the onset, as a share of the growth."""
MIN_EVEN_STEP = 0.25
"""The least of the three steps between the quarters of the rise, as a share of their mean: no single jump."""
MIN_NEWEST_STEP = 0.55
"""The newest of those steps: it has not levelled off."""
MIN_LATEST_SPEED = 0.3
"""The slope within the newest eighth, as a share of the whole slope: it has not stopped just now."""
MIN_END_SPEED = 0.7
"""The speed at the end of a parabola through the rise, at the upper end of its interval."""
MAX_JUMPS_SHARE = 0.65
"""The three largest block-to-block increases may carry this share of the growth ..."""
MAX_JUMPS_SHARE_SHORT = 0.75
"""... and this share where the rise has fewer than `SHORT_BLOCKS` blocks."""
SHORT_BLOCKS = 16
PASS_MARGIN = 0.1
"""The rise must end above everything seen before by this share of itself, ..."""
PASS_MARGIN_BRIEF = 0.3
"""... and by this much, above the samples' peaks and not only the floors', while it is `BRIEF_S` old or
less."""
BRIEF_S = 70 * 60.0

MIN_RISE_S = 600.0
"""No rise is a leak before it has lasted this long."""
QUIET_PRODUCT_S2 = 8.0 * 3600.0 * 3600.0
"""Quiet time times growth time that makes a leak: two hours of growth after four hours of quiet, one after
eight. Fillings, warm-up and new load come early in a life; the longer nothing grew, the less a new rise is
one of them."""
HORIZON_S = 8 * 3600.0
"""That holds for a rise that doubles the process, or reaches its limit, in this time or later. A faster one
is more urgent and less like a warm-up under new load: it needs the product in proportion.
A slower one can wait, ..."""
MOST_PATIENCE = 4.0
"""... for so many times the product at most."""
LEAST_DOUBLED_BYTES = 64e6
LEAST_DOUBLED_COUNT = 64.0
"""What counts as doubling for processes that are smaller than this."""
BENT = 0.05
"""A rise whose floors lie off a straight line by this share of the growth needs the whole product, a
straighter one less: caches that fill, warm-up and backlogs bend, ..."""
STRAIGHTEST = 0.1
"""... down to this share."""
LEAST_SHARE = 1 / 16
"""However urgent and straight, a rise needs this share of the product: ten minutes after three hours."""
SWING_FREE = 0.1
SWING_WEIGHT = 3.0
"""A quiet time in which the floors fell by more than the first of these shares of the growth counts less, by
the second for each share more: what came back down before has shown that it may again."""
FROM_START_S = 6 * 3600.0
"""Growth without a quiet time before it must last this long: longer than caches and lazy collectors took
to fill."""
FROM_START_COVER = 0.6
"""... and must cover this share of the life."""
SLOW_SHARE = 1 / 6
"""What would need days to double is not urgent: it must last this share of them, ..."""
SLOW_S = 7 * 86400.0
"""... but no longer than this."""
MAX_SLOWING = 1.3
"""... and must not have been this many times faster before its fitted onset."""
LOAD_RISE = 0.2
"""A load that rose by less than this share explains nothing."""
LOAD_SHARE = 0.7
"""Growth of which the load explains this much must last longer than a day has load, ..."""
LOADED_S = 26 * 3600.0
"""... so long, ..."""
WORK_ROSE = 1.6
"""... and so must growth from the start where in the course of a life so many times as much was done, less
where it is straighter than `BENT`, ..."""
WORK_ROSE_AFTER_QUIET = 1.75
"""... and growth after a quiet time where it was so much: a leak may cost time itself."""
WORK_ALIKE = 1.5
"""A quiet time counts in full where during the rise up to so many times as much was done, ..."""
WORK_OTHER = 2.0
"""... and from here on not at all."""
QUIET_BELOW = 0.30
QUIET_ABOVE = 0.15
"""Floors that lie within these shares of the growth below and above the base are quiet, ..."""
QUIET_SLOPE = 0.25
"""... unless they themselves rise by this share of the slope."""
MIN_QUIET_BLOCKS = 4
"""Fewer blocks do not show whether they rise: a single long one within a rise is near its base, too."""

HELD_AFTER_QUIET = 1 / 8
"""What counts is the score as it held lately: over this share of a rise after a quiet time, ..."""
HELD_FROM_START = 1 / 25
"""... and over this one of growth from the start, which was long enough to wait for."""

MIN_GROWTH_BYTES = 1.5e6
"""Smaller growth is nothing that anybody would be woken for."""
MIN_GROWTH_COUNT = 8.0
"""Threads, descriptors or children."""
MIN_RATE_COUNT_PER_HOUR = 0.5
YOUNG_S = 3600.0
"""A process younger than this is told to be young."""
