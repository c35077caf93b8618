"""The port that every channel fills: which alerts it wants, how one is sent, whether a failure can heal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Alert


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
