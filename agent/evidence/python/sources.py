"""Python stacks as a source of evidence: which line how many threads are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.evidence.python import pyspy, stacks
from agent.evidence.rights import PTRACE, denied, try_memory
from agent.evidence.source import Cost, Tier
from agent.evidence.taking import CODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

_RUNTIMES = ("python", "unknown")
"""Of an unknown runtime py-spy at least says why it cannot be read."""


class PythonStacks:
    """What `py-spy dump --nonblocking` tells."""

    name = pyspy.NAME
    cost = Cost(Tier.CHEAP)

    def __init__(self, find_tool: Callable[[], Path | None] = pyspy.find) -> None:
        self._find_tool = find_tool

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's; this needs none
        """Whether it may be a Python process."""
        return process.runtime in _RUNTIMES

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why no dump could be taken."""
        if self._find_tool() is None:
            return "not installed (pip install py-spy)"
        return denied(lambda: try_memory(held), PTRACE)

    def take(self, taking: Taking) -> None:
        """Take a dump, and tell the innermost lines of the application."""
        options = taking.options
        dump = pyspy.dump(
            taking.held, self._find_tool(), timeout_s=options.timeout_s, with_locals=options.locals
        )
        threads = stacks.read(dump.threads)
        taking.write_raw("pyspy.txt", stacks.readable(threads).encode("utf-8", "backslashreplace"))
        taking.write_raw("pyspy.json", dump.raw)
        for line in stacks.summarise(threads):
            taking.tell(CODE, line)
