"""A full collection of a Node process: what HeapProfiler.collectGarbage leaves is still referred to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.collection import Collected
from agent.evidence.node.answers import number
from agent.evidence.node.opening import inspected, why_closed

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.inspector.client import Session
    from agent.model import Process


class NodeCollector:
    """Asks V8 through the inspector: one is for entries that allow it to be opened, one for the others."""

    name = "HeapProfiler.collectGarbage"

    def __init__(self, *, by_signal: bool) -> None:
        self._by_signal = by_signal

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Node process, and an entry of this kind."""
        return process.runtime == "node" and consent.inspector == self._by_signal

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why its inspector could not be spoken to."""
        return why_closed(held, by_signal=self._by_signal)

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        """Collect: about a second for each GB of live objects, during which the program stands still.

        Raises SourceError, OSError, ProcessGoneError.
        """
        with inspected(self.name, held, timeout_s=timeout_s, by_signal=self._by_signal) as session:
            before_bytes = _used_bytes(session)
            session.call("HeapProfiler.collectGarbage")
            return Collected(before_bytes, _used_bytes(session))


def _used_bytes(session: Session) -> int:
    return number(session.call("Runtime.getHeapUsage").get("usedSize"))


def node_collectors() -> tuple[NodeCollector, ...]:
    """Return both."""
    return tuple(NodeCollector(by_signal=by_signal) for by_signal in (False, True))
