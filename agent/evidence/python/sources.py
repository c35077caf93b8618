"""What a Python process tells, as sources of evidence: where its threads are, and what its objects are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.evidence.python import inject, objects, pyspy, sampling, stacks, threads
from agent.evidence.rights import PTRACE, denied, try_trace
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE, COUNTS
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

MAX_SAMPLED_THREADS = 200
"""With more of them each sample takes long, and who is at work is hidden among those that wait."""
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
        return denied(lambda: try_trace(held), PTRACE)

    def take(self, taking: Taking) -> None:
        """Take a dump, and tell the innermost lines of the application."""
        options = taking.options
        dump = pyspy.dump(
            taking.held, self._find_tool(), timeout_s=options.timeout_s, with_locals=options.locals
        )
        found = stacks.read(dump.threads)
        taking.write_raw("pyspy.txt", stacks.readable(found).encode("utf-8", "backslashreplace"))
        taking.write_raw("pyspy.json", dump.raw)
        before = taking.before("pyspy.json")
        more = () if before is None else threads.grown(threads.read(before.content), found, before.age_s)
        for line in (*more, *stacks.summarise(found), *(() if more else threads.many(found))):
            taking.tell(CODE, line)
        for line in self._hint(taking, len(found)):
            taking.tell(COUNTS, line)

    def _hint(self, taking: Taking, thread_count: int) -> tuple[str, ...]:
        """Return the hint at what is at work; a dump without it is whole, too. Raises ProcessGoneError."""
        tool = self._find_tool()
        if tool is None or thread_count > MAX_SAMPLED_THREADS:
            return ()
        try:
            return sampling.hint(sampling.sample(taking.held, tool, taking.options.timeout_s))
        except SourceError:
            return ()


class PythonObjects:
    """Objects by class, run and counted inside the process: only where the entry allows it."""

    name = "objects"
    cost = Cost(Tier.CHEAP, memory_per_heap=0.1, pause_s_per_gb=0.4, baseline=True)
    """Listing a million objects (about 170 MB of heap) takes 25 ms on 3.11 and later, up to 70 ms before;
    the list is eight bytes for each."""

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it is a Python process that our lines may run in."""
        return process.runtime == "python" and consent.inject

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's; the held one is enough
        """Return why nothing can be run in it."""
        return inject.why_not(held)

    def take(self, taking: Taking) -> None:
        """Count, and tell what grew since the first count."""
        lines = inject.run(self.name, taking.held, "count", taking.options.timeout_s)
        if lines and lines[0][0] == "refused":
            raise SourceError(f"{self.name}: more blocks are allocated than can be counted in a moment")
        now = objects.parse(lines)
        before = taking.before("objects.json")
        earlier = None if before is None else _earlier(before.content)
        since = "" if before is None else f"since {format_duration(before.age_s)} ago\n"
        taking.write_raw(
            "objects.txt", (since + objects.readable(now, earlier)).encode("utf-8", "backslashreplace")
        )
        taking.write("objects.json", now.to_json())
        told = (
            objects.largest(now)
            if before is None or earlier is None
            else objects.growth(earlier, now, before.age_s)
        )
        for line in told:
            taking.tell(CODE, line)


def _earlier(content: bytes) -> objects.Counted | None:
    """Read an earlier count; None for one that was cut off by a full disk, or is of another version."""
    try:
        return objects.Counted.from_json(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
