"""What a bot keeps about the message of one incident, so that it can change it and go on with its thread."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """What Slack calls a message."""

    channel_id: str
    ts: str


@dataclass(frozen=True, slots=True)
class SlackThread:
    """One message with its thread; plain JSON values."""

    to: str
    """The channel of the configuration when it was posted."""
    channel_id: str = ""
    """The channel's ID, as Slack answered it."""
    ts: str = ""
    """The message's name; empty before it is posted."""
    told: int = 0
    """The number of the newest transition that is told in the thread."""
    drawn: int = 0
    """The number of the newest transition whose picture was begun."""
    begun: str = ""
    """What is being posted, "message" or "reply"; while it stands there, its fate is not known."""
    begun_wall_s: float = 0.0

    def to_note(self) -> dict[str, Any]:
        """Return what is kept; `from_note` reads it back."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: dict[str, Any], to: str) -> SlackThread:
        """Read it; a new one where nothing usable was kept, or where messages go elsewhere now."""
        try:
            thread = cls(**note)
        except TypeError:
            return cls(to)
        return thread if thread.to == to else cls(to)
