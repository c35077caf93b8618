"""Proves that a process is a HotSpot JVM that can be attached to, without touching it."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.kernel.procfs import has_signal, parse_mask
from agent.evidence.rights import READ

if TYPE_CHECKING:
    from agent.evidence.kernel.procfs import HeldProcess

MAX_MAPS_LINES = 200_000
"""Three times the usual vm.max_map_count, which bounds the lines of maps."""
NEEDED_SIGNALS = (signal.SIGQUIT, signal.SIGSEGV)
"""HotSpot catches both as long as it lives, unless -Xrs leaves SIGQUIT to its default: to end the process."""
CAP_KILL, CAP_SETGID, CAP_SETUID = 5, 6, 7
"""Their bits in CapEff (linux/capability.h)."""
NEEDS_USER = "needs root, or the JVM's own user: it answers no other"

_HOTSPOT = re.compile(rb"/libjvm\.so( \(deleted\))?$|/hsperfdata_[^/\n]{1,64}/[0-9]+( \(deleted\))?$")
_OPENJ9 = re.compile(rb"/libj9vm[0-9]+\.so")
_NO_ATTACH = b"-XX:+DisableAttachMechanism"


class RefusedError(Exception):
    """Why it cannot be attached to: a sentence without a source's name before it."""


class Hotspot(NamedTuple):
    """What attaching needs to know of a JVM."""

    inner_pid: int
    """Its pid in its own namespace, by which its files are named."""
    uid: int
    gid: int
    """Its effective ones; it answers nobody else."""


def prove(held: HeldProcess) -> Hotspot:
    """Return what attaching to a JVM needs.

    A process that is none is refused: SIGQUIT, which begins an attachment, would end it. So is OpenJ9, which
    would write a core file. Raises RefusedError with the reason, ProcessGoneError, OSError.
    """
    if held.check().stopped:
        raise RefusedError("it is stopped, by a signal or a debugger")
    status = held.read("status")
    try:
        _check_libraries(held)
        options = _options(held)
    except PermissionError:
        raise RefusedError(READ) from None
    check_signals(status)
    if _NO_ATTACH in options:
        raise RefusedError("it runs with -XX:+DisableAttachMechanism")
    uids, gids = _numbers(status, b"Uid"), _numbers(status, b"Gid")
    inner = (_numbers(status, b"NSpid") or (held.key.pid,))[-1]
    return Hotspot(inner, uids[1], gids[1])


def check_signals(status: bytes) -> None:
    """Raise RefusedError unless a process catches what a JVM does, by its /proc/PID/status."""
    if not all(has_signal(status, "SigCgt", number) for number in NEEDED_SIGNALS):
        raise RefusedError("it does not catch SIGQUIT: no JVM, or one that starts up or runs with -Xrs")


def check_right(jvm: Hotspot) -> None:
    """Raise RefusedError where this process can neither be nor become the JVM's user."""
    if (jvm.uid, jvm.gid) == (os.geteuid(), os.getegid()):
        return
    status = Path("/proc/self/status").read_bytes()
    mask = parse_mask(status, "CapEff")
    if not all(mask >> bit & 1 for bit in (CAP_KILL, CAP_SETGID, CAP_SETUID)):
        raise RefusedError(NEEDS_USER)


def _check_libraries(held: HeldProcess) -> None:
    hotspot = False
    with held.lines("maps") as maps:
        for _, line in zip(range(MAX_MAPS_LINES), maps, strict=False):
            if _OPENJ9.search(line):
                raise RefusedError("it is OpenJ9, which is not supported: only HotSpot is")
            hotspot = hotspot or _HOTSPOT.search(line.rstrip(b"\n")) is not None
    if not hotspot:
        raise RefusedError("it is no JVM: it has neither libjvm.so nor an hsperfdata file mapped")


def _options(held: HeldProcess) -> bytes:
    """Return its command and, where it may be read, its environment (JAVA_TOOL_OPTIONS)."""
    command, environment = held.read("cmdline"), b""
    with suppress(PermissionError):  # of mode 0400: the right to trace does not open it
        environment = held.read("environ")
    return command + b"\0" + environment


def _numbers(status: bytes, name: bytes) -> tuple[int, ...]:
    found = re.search(rb"^%s:((?:\s+\d+)+)$" % name, status, re.MULTILINE)
    return tuple(map(int, found[1].split())) if found else ()
