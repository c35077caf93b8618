"""The growth that an alert draws: coarse before, fine at its end, never too many points."""

from __future__ import annotations

import numpy as np
import pytest

from agent.daemon.course import course_of
from agent.history.rings import LEVELS, Rings
from agent.model import Instant

WALL_S = 1_800_000_000.0


def grown(hours: float, every_s: float = 10.0) -> tuple[Rings, int, Instant]:
    """A series at 100 MB that grows by 1 MB in ten minutes from half of its time on."""
    rings = Rings(every_s)
    slot = rings.open()
    polls = int(hours * 3600 / every_s)
    for i in range(polls):
        value = 100e6 + max(0, i - polls // 2) * every_s * 1e6 / 600
        rings.add(1e6 + i * every_s, np.array([slot]), np.array([value]))
    return rings, slot, Instant(1e6 + polls * every_s, WALL_S)


@pytest.mark.parametrize("hours", [0.2, 2.0, 12.0])
def test_the_course_reaches_from_before_the_onset_to_the_newest_block(hours: float) -> None:
    rings, slot, now = grown(hours)
    course = course_of(rings, slot, hours * 1800, now)

    times, values = zip(*course, strict=True)
    assert list(times) == sorted(set(times))
    assert 10 <= len(course) <= 96 + LEVELS
    assert WALL_S - times[-1] <= 30
    assert values[0] == pytest.approx(100e6)
    assert values[-1] == pytest.approx(100e6 + hours * 3e6, rel=0.01)
    shown_s = max(900.0, hours * 1800 * 1.5)
    assert WALL_S - times[0] == pytest.approx(min(hours * 3600, shown_s), rel=0.1)


def test_what_was_not_seen_is_left_out() -> None:
    rings, slot, now = grown(0.2)
    for i in range(6):
        rings.add(now.t_s + 10 * i, np.array([slot]), np.array([np.nan]))
    rings.add(now.t_s + 60, np.array([slot]), np.array([42.0]))
    rings.add(now.t_s + 70, np.array([slot]), np.array([43.0]))
    course = course_of(rings, slot, 0.0, Instant(now.t_s + 75, WALL_S))

    assert [value for at, value in course if at > WALL_S - 70] == [42]


def test_an_empty_series_has_no_course() -> None:
    rings = Rings(10.0)

    assert course_of(rings, rings.open(), 3600.0, Instant(1e6, WALL_S)) == ()
