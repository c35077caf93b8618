"""Small stand-ins that tests share: a clock that moves when told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import Instant

if TYPE_CHECKING:
    from agent.clock import Waking


class FakeClock:
    """Time stands still until `advance` or a `wait` moves it."""

    def __init__(self, t_s: float = 10_000.0, wall_s: float = 1_800_000_000.0) -> None:
        self.instant = Instant(t_s, wall_s)

    def now(self) -> Instant:
        return self.instant

    def advance(self, seconds: float) -> Instant:
        self.instant = Instant(self.instant.t_s + seconds, self.instant.wall_s + seconds)
        return self.instant

    def step_wall(self, seconds: float) -> None:
        self.instant = Instant(self.instant.t_s, self.instant.wall_s + seconds)

    def wait(self, event: Waking, seconds: float) -> bool:
        if not event.is_set():
            self.advance(seconds)
        return event.is_set()
