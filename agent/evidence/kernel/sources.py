"""What the kernel tells of any process, as sources of evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agent.evidence.kernel import smaps
from agent.evidence.kernel.procfs import read_fds, read_smaps, read_status
from agent.evidence.rights import READ, SEARCH, denied, try_list, try_read
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import COUNTS, PLACE
from agent.units import format_duration

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

MANY = 200
"""So many descriptors or threads are told in the gist."""


class _OfAny:
    """What can be taken of every process."""

    cost = Cost(Tier.CHEAP, baseline=True)

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's
        """Return True: every process has it."""
        return True


class Mappings(_OfAny):
    """Memory by kind of mapping, and what grew since the first look."""

    name = "smaps"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        """Return why it may not be read."""
        return denied(lambda: try_read(held, "smaps"), READ)

    def take(self, taking: Taking) -> None:
        """Sum up smaps and compare it with the first look."""
        try:
            found = read_smaps(taking.held)
        except PermissionError:
            raise SourceError(
                "smaps: no permission (needs CAP_SYS_PTRACE, or the process's user and group)"
            ) from None
        taking.write("smaps.json", found.to_json())
        before = taking.before("smaps.json")
        try:
            earlier = None if before is None else smaps.Smaps.from_json(json.loads(before.content))
        except (ValueError, KeyError, TypeError, AttributeError):
            earlier = None  # cut off by a full disk, or written by another version
        if before is None or earlier is None:
            taking.tell(PLACE, smaps.largest(found))
        else:
            taking.tell(PLACE, f"{smaps.growth(earlier, found)} in {format_duration(before.age_s)}")


class Standing(_OfAny):
    """Status, limits, threads by name and the cgroup's memory."""

    name = "status"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        """Return why it may not be read."""
        return denied(lambda: try_read(held, "status"), READ)

    def take(self, taking: Taking) -> None:
        """Write it down, and tell of very many threads."""
        status = read_status(taking.held)
        taking.write("status.json", status)
        names: dict[str, int] = status["threads"]
        if sum(names.values()) >= MANY:
            taking.tell(COUNTS, f"threads: {_most(names)} of {sum(names.values())}")


class Descriptors(_OfAny):
    """Open descriptors by class, and the files opened most often."""

    name = "fds"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        """Return why they may not be listed."""
        return denied(lambda: try_list(held, "fd"), SEARCH)

    def take(self, taking: Taking) -> None:
        """Count them, and tell of very many."""
        try:
            fds = read_fds(taking.held)
        except PermissionError:
            # /proc/PID/fd is a folder of mode 0500: the right to trace does not open it (proc_pid_fd(5)).
            raise SourceError(
                "fds: no permission (needs CAP_DAC_READ_SEARCH, or the process's user and group)"
            ) from None
        taking.write("fds.json", fds)
        if fds["open"] >= MANY:
            taking.tell(COUNTS, f"descriptors: {_most(fds['classes'])} of {fds['open']}")


def _most(counts: dict[str, int]) -> str:
    name = max(counts, key=lambda name: counts[name])
    return f"{counts[name]} {name}"
