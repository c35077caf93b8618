"""Says beforehand which evidence can be taken of which process, and why not."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence import pyspy
from agent.evidence.procfs import HeldProcess, ProcessGoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.model import Process

CAP_SYS_PTRACE = 19
"""Its bit in CapEff (linux/capability.h)."""
VERSION_TIMEOUT_S = 5.0
_PTRACE = "needs CAP_SYS_PTRACE, or its user where ptrace_scope is 0"
_READ = "needs CAP_SYS_PTRACE, or its user"
_SEARCH = "needs CAP_DAC_READ_SEARCH, or its user"


class Source(NamedTuple):
    """One kind of evidence of one process."""

    name: str
    why_not: str
    """Empty where it can be taken."""


class TraceRight(NamedTuple):
    """What this process may do to others."""

    capable: bool
    """Whether it has CAP_SYS_PTRACE."""
    scope: int | None
    """kernel.yama.ptrace_scope; None without Yama (Documentation/admin-guide/LSM/Yama.rst)."""


def readiness(process: Process, tool: Path | None, timeout_s: float, *, run_tool: bool) -> tuple[Source, ...]:
    """Return every kind of evidence that a process can give, tried out without keeping anything.

    `run_tool` takes a real dump of a Python process, which goes on running; otherwise only the permission
    is tried, by opening its memory (the kernel checks the same right for both, ptrace(2)).
    """
    try:
        with HeldProcess(process.key) as held:
            sources = [
                Source("smaps", _denied(lambda: _read_some(held, "smaps"), _READ)),
                Source("fds", _denied(lambda: _list(held, "fd"), _SEARCH)),
            ]
            if process.runtime == "python":
                sources.insert(0, Source(pyspy.NAME, _stacks(held, tool, timeout_s, run_tool=run_tool)))
            return tuple(sources)
    except ProcessGoneError as error:
        return (Source("evidence", str(error)),)


def trace_right(status: str | None = None, scope: str | None = None) -> TraceRight:
    """Return the right of this process, by the texts of /proc/self/status and of ptrace_scope."""
    status = _text("/proc/self/status") if status is None else status
    scope = _text("/proc/sys/kernel/yama/ptrace_scope") if scope is None else scope
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    capable = effective is not None and bool(int(effective[1], 16) >> CAP_SYS_PTRACE & 1)
    return TraceRight(capable, int(scope) if scope.strip().isdigit() else None)


def tool_version(tool: Path) -> str | None:
    """Return the version that py-spy tells of itself; None when it does not run."""
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(  # noqa: S603 - the tool that captures run, without input
            [str(tool), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        )
        return told.stdout.decode("utf-8", "replace").strip().removeprefix(pyspy.NAME).strip() or None
    return None


def _stacks(held: HeldProcess, tool: Path | None, timeout_s: float, *, run_tool: bool) -> str:
    if tool is not None and not run_tool:
        return _denied(lambda: _open(held, "mem"), _PTRACE)
    try:
        pyspy.dump(held, tool, timeout_s=timeout_s, with_locals=False)
    except pyspy.PySpyError as error:
        return str(error).removeprefix(f"{pyspy.NAME}: ")
    return ""


def _denied(attempt: Callable[[], None], needs: str) -> str:
    try:
        attempt()
    except PermissionError:
        return needs
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _read_some(held: HeldProcess, name: str) -> None:
    with held.lines(name) as file:
        file.readline()


def _open(held: HeldProcess, name: str) -> None:
    with held.lines(name):
        pass


def _list(held: HeldProcess, name: str) -> None:
    with held.folder(name) as folder:
        os.listdir(folder)  # noqa: PTH208 - a descriptor, not a path


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("ascii", "replace")
    return ""
