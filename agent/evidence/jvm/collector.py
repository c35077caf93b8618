"""Asks a JVM for a full collection, and reads its heap just before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.collection import Collected
from agent.evidence.jvm import attach, memory
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.model import Process

MAX_ANSWER_BYTES = 1_000_000
LOOK_SHARE = 0.15
"""Of the time, for each of the two looks at the heap; the collection has the rest."""


class JvmCollector:
    """GC.run, as System.gc() would do it."""

    name = "GC.run"

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's; this needs none
        """Whether it is a JVM."""
        return process.runtime == "jvm"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why it cannot be attached to."""
        return attach.why_not(held)

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        """Collect: some 2 s for each GB of small live objects, during which all threads stand still.

        Raises SourceError, OSError, ProcessGoneError.
        """
        before_bytes = self._used_bytes(held, LOOK_SHARE * timeout_s)
        told = self._ask(held, "GC.run", (1 - 2 * LOOK_SHARE) * timeout_s)
        if "disabled" in told:  # JDK 8; later ones collect all the same
            raise SourceError(f"{self.name}: it runs with -XX:+DisableExplicitGC")
        return Collected(before_bytes, self._used_bytes(held, LOOK_SHARE * timeout_s))

    def _used_bytes(self, held: HeldProcess, timeout_s: float) -> int:
        return memory.parse_heap(self._ask(held, "GC.heap_info", timeout_s)).used_bytes

    def _ask(self, held: HeldProcess, command: str, timeout_s: float) -> str:
        return attach.ask(self.name, held, command, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)
