"""When a channel is tried again: the waits of a delivery, and the breaker that lets only a probe through."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.alerts.outbox import MAX_WAIT_S
from agent.model import Instant

FIRST_WAIT_S = 2.0
MAX_BACKOFF_S = 600.0
OPEN_AFTER = 5
"""So many failures in a row, of whichever deliveries, and the channel itself is taken to be down."""


def backoff_s(failures: int, jitter: float) -> float:
    """Return how long to wait after so many failures in a row: doubling, half of it left to chance.

    `jitter` is a random number from 0 to 1; it keeps many deliveries from coming back at one moment
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "equal jitter").

    >>> backoff_s(1, 1.0), backoff_s(3, 1.0), backoff_s(3, 0.0), backoff_s(99, 1.0)
    (2.0, 8.0, 4.0, 600.0)
    """
    doubled_s: float = FIRST_WAIT_S * 2 ** min(failures - 1, 16)
    return min(MAX_BACKOFF_S, doubled_s) * (0.5 + 0.5 * jitter)


def retry_wait_s(failures: int, retry_after_s: float | None, jitter: float) -> float:
    """Return the wait before the next attempt: the receiver's wish where it is longer, within an hour."""
    own_s = backoff_s(failures, jitter)
    return own_s if retry_after_s is None else min(MAX_WAIT_S, max(own_s, retry_after_s))


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of one channel (https://martinfowler.com/bliki/CircuitBreaker.html).

    Open after `OPEN_AFTER` failures in a row: then one delivery at a time is tried, at ever longer
    intervals, whatever is recorded meanwhile. The first success closes it.
    """

    failures: int = 0
    """In a row, up to now."""
    why: str = ""
    """The latest failure's reason; kept after a success, to tell what came late and why."""
    began: Instant | None = None
    """The first failure of the row."""
    failed: Instant | None = None
    """The latest failure."""
    rest_until_t_s: float = float("-inf")
    """Nothing is tried before: a Retry-After is meant for all that a channel gets."""

    @property
    def is_open(self) -> bool:
        """Whether the channel is taken to be down."""
        return self.failures >= OPEN_AFTER

    def wait_s(self, now: Instant) -> float:
        """Return how long nothing may be tried."""
        return max(0.0, self.rest_until_t_s - now.t_s)

    def after_failure(self, why: str, now: Instant, retry_after_s: float | None, jitter: float) -> Breaker:
        """Return what is known after one more failure that may heal."""
        failures = self.failures + 1
        rest_s = None if retry_after_s is None else min(MAX_WAIT_S, retry_after_s)
        if failures >= OPEN_AFTER:
            rest_s = retry_wait_s(failures - OPEN_AFTER + 1, retry_after_s, jitter)
        until_t_s = self.rest_until_t_s if rest_s is None else max(self.rest_until_t_s, now.t_s + rest_s)
        return Breaker(failures, why, self.began if self.failures else now, now, until_t_s)

    def after_answer(self) -> Breaker:
        """Return what is known once the receiver has answered: it took something, or refused it for good."""
        return replace(self, failures=0, began=None, rest_until_t_s=float("-inf"))

    def open_s(self, now: Instant) -> float:
        """Return for how long the channel has failed; 0 while it is not taken to be down."""
        return max(0.0, now.t_s - self.began.t_s) if self.is_open and self.began else 0.0
