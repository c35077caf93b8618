"""Asks a Python process for a full collection, in the way its objects are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.collection import Collected
from agent.evidence.kernel.procfs import parse_status
from agent.evidence.python import inject
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.model import Process


class PythonCollector:
    """`gc.collect()` inside the process."""

    name = "gc.collect"

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Python process that our lines may run in."""
        return process.runtime == "python" and consent.inject

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why nothing can be run in it."""
        return inject.why_not(held)

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        """Collect; the heap in use is its anonymous memory.

        CPython keeps most of what becomes free, so what was taken back is told by its allocated blocks where
        they have become fewer by a larger share. Raises SourceError, OSError, ValueError, ProcessGoneError.
        """
        before = _anonymous_bytes(held)
        lines = inject.run(self.name, held, "collect", timeout_s)
        if not lines or lines[0][0] != "collected":
            raise SourceError(f"{self.name}: an answer that is none")
        blocks_before, blocks_after = (max(1, int(word[:15])) for word in lines[0][1:3])
        left = min(1.0, blocks_after / blocks_before)
        return Collected(before, min(_anonymous_bytes(held), round(before * left)))


def _anonymous_bytes(held: HeldProcess) -> int:
    status = parse_status(held.read("status"))
    return int(status["RssAnon_bytes"]) + int(status.get("VmSwap_bytes", 0))
