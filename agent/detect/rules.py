"""The figures of the detector in one place: what a rise must show before it is called a leak, and why.

They were chosen on recorded and generated processes as round figures in the middle of a range over which
the result
hardly changed; none is fitted to a single recording.
"""

from __future__ import annotations

STARTUP_SHARE = 0.1
"""The first tenth of a life is start-up and is never judged, ..."""
MAX_STARTUP_S = 3600.0
"""... but never more than an hour of it."""

MIN_SIGNIFICANCE = 4.0
"""Slope over standard error, the residuals' autocorrelation included."""
MAX_DRAWDOWN = 0.25
"""A leak does not give back: the deepest fall of the floors since the onset, as a share of the growth."""
MIN_EVEN_STEP = 0.25
"""The least of the three steps between the quarters of the rise, as a share of their mean: no single jump."""
MIN_NEWEST_STEP = 0.55
"""The newest of those steps: it has not levelled off."""
MIN_LATEST_SPEED = 0.3
"""The slope within the newest eighth, as a share of the whole slope: it has not stopped just now."""
MAX_JUMPS_SHARE = 0.6
"""The three largest block-to-block increases may carry this share of the growth ..."""
MAX_JUMPS_SHARE_SHORT = 0.7
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
QUIET_PRODUCT_S2 = 7200.0 * 3600.0
"""Quiet time times growth time that makes a leak: one hour of growth after two hours of quiet, half an
hour after four.
Fillings, warm-up and new load come early in a life; the longer nothing grew, the less a new rise is one of
them."""
FROM_START_S = 5.5 * 3600.0
"""Growth without a quiet time before it must last this long: longer than caches and lazy collectors took
to fill."""
FROM_START_COVER = 0.6
"""... and must cover this share of the life."""
MAX_SLOWING = 1.3
"""... and must not have been this many times faster before its fitted onset."""
QUIET_BELOW = 0.30
QUIET_ABOVE = 0.15
"""Floors that lie within these shares of the growth below and above the base are quiet, ..."""
QUIET_SLOPE = 0.25
"""... unless they themselves rise by this share of the slope."""
MIN_QUIET_BLOCKS = 4
"""Fewer blocks do not show whether they rise: a single long one within a rise is near its base, too."""

MIN_GROWTH_BYTES = 1.5e6
MIN_GROWTH_SHARE = 0.03
"""Growth below this share of the base is within what any process does."""
MIN_GROWTH_COUNT = 8.0
"""Threads or descriptors."""
MIN_RATE_COUNT_PER_HOUR = 0.5

SUSPECT_SHARE = 0.3
"""A rise that shows everything but its length is a suspect from this share of the length on."""
FORECAST_REACH = 50.0
"""Nothing is foretold further ahead than this many times the observed growth."""
YOUNG_S = 3600.0
"""A process younger than this is told to be young."""
