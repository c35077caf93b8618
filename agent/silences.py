"""Silences: services of which nobody is told for a time, however the clocks are set meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SILENCE_S = 30 * 86400.0
"""What is to be silent for longer is better not watched, or not routed."""
DAY_S = 86400.0
CLOCK_SLACK_S = 300.0
"""A wall clock that stands so much before a silence's beginning was set back, not corrected."""


@dataclass(frozen=True, slots=True)
class Silence:
    """What somebody asked for with `leakwatch silence`."""

    pattern: str
    """A service's name or a shell pattern of names."""
    begun: Instant
    until_wall_s: float
    by: str
    why: str = ""

    def covers(self, service: str) -> bool:
        """Whether it is about that service."""
        return fnmatchcase(service, self.pattern)

    def left_s(self, now: Instant) -> float:
        """Return for how much longer it holds, 0 when it is over.

        Never longer than asked: within one boot the boot clock bounds it whatever becomes of the wall clock,
        and a wall clock that was set ahead ends it early. After a reboot the wall clock decides; one that
        stands before the beginning can tell nothing, and the silence is over.
        """
        rebooted = now.t_s < self.begun.t_s
        if rebooted and now.wall_s < self.begun.wall_s - CLOCK_SLACK_S:
            return 0.0
        asked_s = self.until_wall_s - self.begun.wall_s
        by_boot_s = asked_s - max(0.0, now.t_s - self.begun.t_s)
        return max(0.0, min(by_boot_s, self.until_wall_s - now.wall_s))

    def told(self, now: Instant) -> str:
        """Return until when it holds, in the reader's own time."""
        end = datetime.fromtimestamp(now.wall_s + self.left_s(now), UTC).astimezone()
        form = "%H:%M" if self.left_s(now) < DAY_S else "%Y-%m-%d %H:%M"
        return f"silenced until {end.strftime(form)}"


def silence_of(service: str, silences: Iterable[Silence], now: Instant) -> Silence | None:
    """Return the silence that holds a service the longest; None where it may be spoken of."""
    holding = [one for one in silences if one.covers(service) and one.left_s(now) > 0]
    return max(holding, key=lambda one: one.left_s(now), default=None)
