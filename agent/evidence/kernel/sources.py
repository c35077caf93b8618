"""What the kernel tells of any process, as sources of evidence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.evidence.kernel import descriptors, smaps, standing
from agent.evidence.kernel.procfs import read_smaps
from agent.evidence.rights import READ, SEARCH, denied, try_list, try_read
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import COUNTS, PLACE, SETTING
from agent.units import format_duration

if TYPE_CHECKING:
    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process


class _OfAny:
    """What can be taken of every process."""

    cost = Cost(Tier.CHEAP, baseline=True)

    def suits(self, process: Process, consent: Consent) -> bool:  # noqa: ARG002 - the port's
        """Return True: every process has it."""
        return True


class Mappings(_OfAny):
    """Memory by kind of mapping, and what grew since the first look."""

    name = "smaps"
    cost = Cost(Tier.CHEAP, pause_s_per_gb=0.02, baseline=True)
    """One mapping is walked under the lock of all: 26 to 38 ms for one of 1.5 GB (Linux 6.18)."""

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
    """Status, limits, threads and children by name, and the cgroup's memory."""

    name = "status"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        """Return why it may not be read."""
        return denied(lambda: try_read(held, "status"), READ)

    def take(self, taking: Taking) -> None:
        """Write it down, and tell what is more than at the first look, else of very many threads."""
        found = standing.read_standing(taking.held)
        taking.write("status.json", found)
        earlier = _earlier(taking, "status.json", ("threads", "children", "cgroup"))
        if earlier is None:
            _tell(taking, COUNTS, standing.many_threads(found))
            return
        before, age_s = earlier
        lines = list(standing.growth(before, found, age_s))
        for line in lines or [standing.many_threads(found)]:
            _tell(taking, COUNTS, line)
        _tell(taking, SETTING, standing.cgroup_growth(before, found, age_s))


class Descriptors(_OfAny):
    """Open descriptors by class and by what they point to."""

    name = "fds"

    def why_not(self, process: Process, held: HeldProcess) -> str:  # noqa: ARG002 - the port's
        """Return why they may not be listed."""
        return denied(lambda: try_list(held, "fd"), SEARCH)

    def take(self, taking: Taking) -> None:
        """Count them, and tell what is more than at the first look, else of very many."""
        try:
            fds = descriptors.read_fds(taking.held)
        except PermissionError:
            # /proc/PID/fd is a folder of mode 0500: the right to trace does not open it (proc_pid_fd(5)).
            raise SourceError(
                "fds: no permission (needs CAP_DAC_READ_SEARCH, or the process's user and group)"
            ) from None
        taking.write("fds.json", fds)
        earlier = _earlier(taking, "fds.json", ("classes", "targets", "folders"))
        grown = "" if earlier is None else descriptors.growth(earlier[0], fds, earlier[1])
        _tell(taking, COUNTS, grown or descriptors.most(fds))


def _earlier(taking: Taking, name: str, parts: tuple[str, ...]) -> tuple[dict[str, Any], float] | None:
    """Return what an earlier look has kept, and its age; None where there is none with these parts."""
    before = taking.before(name)
    if before is None:
        return None
    try:
        kept = json.loads(before.content)
    except ValueError:
        return None  # cut off by a full disk
    whole = isinstance(kept, dict) and all(isinstance(kept.get(part), dict) for part in parts)
    return (kept, before.age_s) if whole else None


def _tell(taking: Taking, rank: int, line: str) -> None:
    if line:
        taking.tell(rank, line)
