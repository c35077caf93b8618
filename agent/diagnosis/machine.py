"""Checks of the machine: py-spy, the right to look into processes, memory and swap, cgroups, the clocks."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from agent.capture_helper.client import NAME, CaptureHelper, HelperAbsentError, HelperError
from agent.diagnosis.checks import Check, Grade
from agent.evidence.python import pyspy
from agent.evidence.readiness import tool_version
from agent.evidence.rights import NOBODY, TraceRight, trace_right
from agent.units import format_bytes, format_duration
from agent.watch.cgroups import parse_mounts
from agent.watch.host import host_facts

if TYPE_CHECKING:
    from agent.config import Config
    from agent.model import Instant, Process

EVIDENCE = "evidence"
MACHINE = "machine"
PROC_CLOCK_SLACK_S = 2.0
"""Start times are counted in hundredths; anything beyond this is another clock."""
EARLIEST_WALL_S = 1_767_225_600.0
"""1 January 2026, before this program was written."""


def evidence(config: Config, tool: Path | None) -> list[Check]:
    """Return whether captures have their tool and the right to use it."""
    if not config.evidence.enabled:
        return [Check(EVIDENCE, "evidence", Grade.OK, "off (evidence.enabled)")]
    given = trace_right()
    return [tool_found(tool), right(given), *([] if given.capable else [helper(config.evidence.helper)])]


def tool_found(tool: Path | None) -> Check:
    """Return whether py-spy is there and runs."""
    if tool is None:
        text = "py-spy is not installed: no stacks of Python processes (pip install py-spy)"
        return Check(EVIDENCE, pyspy.NAME, Grade.FAIL, text)
    version = tool_version(tool)
    if version is None:
        return Check(EVIDENCE, pyspy.NAME, Grade.FAIL, f"{tool} does not run: no stacks of Python processes")
    return Check(EVIDENCE, pyspy.NAME, Grade.OK, f"py-spy {version} at {tool}", {"version": version})


def right(given: TraceRight) -> Check:
    """Return of which processes evidence may be taken."""
    facts = {"cap_sys_ptrace": given.capable, "ptrace_scope": given.scope}
    if given.scope == NOBODY:
        text = "kernel.yama.ptrace_scope is 3: nobody may look into processes until the next boot"
        return Check(EVIDENCE, "permission", Grade.WARN, text, facts)
    if given.capable:
        text = "CAP_SYS_PTRACE is there: every process may be looked into"
        return Check(EVIDENCE, "permission", Grade.OK, text, facts)
    if given.scope:
        text = (
            f"no CAP_SYS_PTRACE, and kernel.yama.ptrace_scope is {given.scope}: no stacks of any process "
            "(run as the systemd unit does, or as root)"
        )
        return Check(EVIDENCE, "permission", Grade.WARN, text, facts)
    text = "no CAP_SYS_PTRACE: only this user's own processes may be looked into"
    return Check(EVIDENCE, "permission", Grade.OK, text, facts)


def helper(path: str) -> Check:
    """Return whether leakwatch-capture takes what we may not take ourselves."""
    try:
        about = CaptureHelper(path).about()
    except HelperAbsentError as error:
        text = f"no {NAME} to ask ({error}): what our own rights do not reach is missing in captures"
        return Check(EVIDENCE, "helper", Grade.OK, text)
    except HelperError as error:
        return Check(EVIDENCE, "helper", Grade.WARN, f"{NAME} at {path}: {error}")
    served, allowed = ", ".join(about.served), ", ".join(about.allowed) or "nothing else"
    text = f"{NAME} {about.version} takes {served} of every process; it allows {allowed}"
    return Check(EVIDENCE, "helper", Grade.OK, text, asdict(about))


def machine(now: Instant, own: Process | None) -> list[Check]:
    """Return memory and swap, cgroups and clocks; `own` is this process as discovery sees it."""
    mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "backslashreplace")
    return [*memory(), cgroups(mountinfo), clock(now, None if own is None else own.started_t_s)]


def memory() -> list[Check]:
    """Return the machine's memory, and whether it swaps."""
    facts = host_facts()
    text = f"{format_bytes(facts.available_bytes)} of {format_bytes(facts.memory_bytes)} memory available"
    swap = "no swap"
    if facts.swap_bytes:
        swap = f"{format_bytes(facts.swap_used_bytes)} of {format_bytes(facts.swap_bytes)} swap in use"
    if facts.swap_used_bytes:
        swap += ": pages on it count as heap"
    return [
        Check(MACHINE, "memory", Grade.OK, text, {"available_bytes": facts.available_bytes}),
        Check(MACHINE, "swap", Grade.OK, swap, {"used_bytes": facts.swap_used_bytes}),
    ]


def cgroups(mountinfo: str) -> Check:
    """Return which cgroups limits can be read from."""
    mounts = parse_mounts(mountinfo)
    if not mounts:
        text = "no cgroups with memory are mounted: the only limit seen is the machine's memory"
        return Check(MACHINE, "cgroups", Grade.WARN, text, {"versions": []})
    told = ", ".join(f"{'v2' if mount.unified else 'v1 memory'} at {mount.point}" for mount in mounts)
    versions = sorted({2 if mount.unified else 1 for mount in mounts})
    return Check(MACHINE, "cgroups", Grade.OK, f"cgroups {told}", {"versions": versions})


def clock(now: Instant, own_started_t_s: float | None) -> Check:
    """Return whether the clocks can be trusted: ages are taken from one, alerts are dated by the other."""
    if now.wall_s < EARLIEST_WALL_S:
        text = "the date is wrong: alerts would be misdated and certificates refused"
        return Check(MACHINE, "clock", Grade.FAIL, text)
    if own_started_t_s is not None and own_started_t_s > now.t_s + PROC_CLOCK_SLACK_S:
        ahead = format_duration(own_started_t_s - now.t_s)
        text = f"/proc tells start times that lie {ahead} ahead (a time namespace?): ages would be wrong"
        return Check(MACHINE, "clock", Grade.FAIL, text)
    return Check(MACHINE, "clock", Grade.OK, f"clocks agree, up for {format_duration(now.t_s)}")
