"""What all of Node's sources share: a session with the inspector, as the entry allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.node.opening import inspected, why_closed

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.inspector.client import Session
    from agent.model import Process


class Inspected:
    """What all sources through the inspector share.

    Each is there twice: for an entry that allows the inspector to be opened, and for one that does not.
    """

    name = ""

    def __init__(self, *, by_signal: bool) -> None:
        self.by_signal = by_signal

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Node process, and an entry of this kind."""
        return process.runtime == "node" and consent.inspector == self.by_signal

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why its inspector could not be spoken to."""
        return why_closed(held, by_signal=self.by_signal)

    def speak(self, taking: Taking, timeout_s: float) -> AbstractContextManager[Session]:
        """Return a session that ends within that time. Entering raises SourceError, OSError."""
        return inspected(self.name, taking.held, timeout_s=timeout_s, by_signal=self.by_signal)
