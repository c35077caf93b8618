"""What this process may do to others, tried out without touching them."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.evidence.kernel.procfs import HeldProcess

CAP_SYS_PTRACE = 19
"""Its bit in CapEff (linux/capability.h)."""
NOBODY = 3
"""ptrace_scope at which nobody may attach (Documentation/admin-guide/LSM/Yama.rst)."""
PTRACE = "needs CAP_SYS_PTRACE, or its user where ptrace_scope is 0"
MEMORY = "needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or its user where ptrace_scope is 0"
WRITE = "needs CAP_SYS_PTRACE and CAP_DAC_OVERRIDE, or its user where ptrace_scope is 0"
READ = "needs CAP_SYS_PTRACE, or its user"
SEARCH = "needs CAP_DAC_READ_SEARCH, or its user"


class TraceRight(NamedTuple):
    """What this process may do to others."""

    capable: bool
    """Whether it has CAP_SYS_PTRACE."""
    scope: int | None
    """kernel.yama.ptrace_scope; None without Yama (Documentation/admin-guide/LSM/Yama.rst)."""


def trace_right(status: str | None = None, scope: str | None = None) -> TraceRight:
    """Return the right of this process, by the texts of /proc/self/status and of ptrace_scope."""
    status = _text("/proc/self/status") if status is None else status
    scope = _text("/proc/sys/kernel/yama/ptrace_scope") if scope is None else scope
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    capable = effective is not None and bool(int(effective[1], 16) >> CAP_SYS_PTRACE & 1)
    return TraceRight(capable, int(scope) if scope.strip().isdigit() else None)


def denied(attempt: Callable[[], None], needs: str) -> str:
    """Return why an attempt fails, `needs` where a right is missing; empty where it works."""
    try:
        attempt()
    except PermissionError:
        return needs
    except OSError as error:
        return error.strerror or str(error)
    return ""


def try_read(held: HeldProcess, name: str) -> None:
    """Read the first line of one of its files. Raises OSError."""
    with held.lines(name) as file:
        file.readline()


def try_list(held: HeldProcess, name: str) -> None:
    """List one of its folders. Raises OSError."""
    with held.folder(name) as folder:
        os.listdir(folder)  # noqa: PTH208 - a descriptor, not a path


def try_trace(held: HeldProcess) -> None:
    """Try what process_vm_readv(2) and ptrace(2) need. Raises OSError."""
    given = trace_right()
    if not given.capable:
        try_memory(held)
    elif given.scope == NOBODY:
        raise PermissionError
    else:
        try_read(held, "maps")  # the same right but for Yama; opening "mem" asks for more


def try_memory(held: HeldProcess) -> None:
    """Open its memory: asks for the right to trace it, and to open its user's own files. Raises OSError."""
    with held.lines("mem"):
        pass


def try_writing(held: HeldProcess) -> None:
    """Open its memory for writing, and write nothing: asks for more than reading does. Raises OSError."""
    with held.folder(".") as folder:
        os.close(os.open("mem", os.O_RDWR | os.O_CLOEXEC, dir_fd=folder))


def _text(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("ascii", "replace")
    return ""
