"""The port that every channel fills: what the file says of it, which alerts it wants, how one is sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.alerts.answers import HttpPort
    from agent.alerts.options import HttpOptions
    from agent.alerts.tools import Tools
    from agent.model import Alert, Instant


class DeliveryError(Exception):
    """An alert did not arrive; the message is for people and holds no secret."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        """Sending the same thing again cannot help; somebody has to change something."""
        self.retry_after_s = retry_after_s
        """How long the receiver asks to be left alone, in seconds; None where it did not say."""


class Channel(Protocol):
    """One configured destination. `send` runs on a thread of its own and may be slow."""

    @property
    def name(self) -> str:
        """The name of the configuration, as routes and log lines use it."""

    def wants(self, alert: Alert) -> bool:
        """Return whether this channel tells such an alert at all, e.g. critical ones only."""

    def send(self, alert: Alert) -> None:
        """Tell it. Sending the same alert twice must be harmless (same `dedup_key`).

        Raises DeliveryError.
        """


CHECK_IN_EVERY_S = 60.0
"""The shortest pace that a monitor of Sentry knows."""


class Mistake(NamedTuple):
    """What does not fit in the options of a channel, in words that hold no secret."""

    path: tuple[str | int, ...]
    """The key, and below it what the mistake is in."""
    expected: str
    found: str


class ChannelOptions(ABC):
    """What the file says of one channel: a frozen dataclass for each kind, beside its code."""

    __slots__ = ()

    ALTERNATIVES: ClassVar[tuple[str, ...]] = ()
    """Exactly one of these secrets is needed; where all that are given are empty, the channel is off."""

    @abstractmethod
    def build(self, name: str, tools: Tools) -> Channel:
        """Return the channel; nothing is sent or opened yet."""

    def mistakes(self, given: Callable[[str], bool]) -> Iterable[Mistake]:  # noqa: ARG002 - for kinds that ask
        """Return what does not fit between options that are sound each; `given` tells of keys of the file."""
        return ()

    def check_ins(self, http: Callable[[HttpOptions], HttpPort]) -> Beat | None:  # noqa: ARG002 - most have none
        """Return a monitor there that misses us when we are gone."""
        return None


class Beat(Protocol):
    """Where a heartbeat is told."""

    def beat(self, now: Instant) -> None:
        """Tell that all is well at this moment. Raises DeliveryError."""


def takes_changes(channel: Channel | None) -> bool:
    """Whether a channel has a place for changes, beside its alerts; others get them by a route only."""
    return bool(getattr(channel, "takes_changes", False))


@runtime_checkable
class Refreshing(Protocol):
    """A channel whose receiver forgets: it is told again, while anything is open, at a steady pace."""

    refresh_every_s: float

    def refresh(self, alerts: Sequence[Alert]) -> None:
        """Say once more what is open: the newest sent alert of every open incident that this channel told.

        Raises DeliveryError.
        """


class Notes(Protocol):
    """What channels keep about an incident through restarts, e.g. the id of a message to be changed."""

    def read(self, channel: str, incident_id: str) -> dict[str, Any]:
        """Return what was noted; empty where nothing was."""
        ...

    def write(self, channel: str, incident_id: str, note: dict[str, Any]) -> None:
        """Keep plain JSON values in place of the earlier ones."""

    def acknowledge(self, incident_id: str, by: str, why: str, at_wall_s: float) -> None:
        """Take over that somebody takes care of an incident, as a receiver has told."""
