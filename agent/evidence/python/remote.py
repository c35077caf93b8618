"""Remote execution as CPython offers it from 3.14 on (PEP 768), by writing what `sys.remote_exec` writes.

The interpreter publishes at which offsets it keeps what (docs.python.org/3/howto/remote_debugging.html). We
write a script's path and a flag into its main thread's state, and it runs the script when that thread next
comes by. We do so ourselves, instead of starting the process's own interpreter as `sys.remote_exec` asks for:
an executable that others chose is never run with our rights.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from agent.evidence.python.memory import Memory, Region

COOKIE = b"xdebugpy"
"""How the offsets begin (Include/internal/pycore_debug_offsets.h)."""
SUPPORT_AT = {(3, 14): 712, (3, 15): 840}
"""Where in them the six numbers of `debugger_support` lie, by version: the structure grows."""
LEAST_VERSION = (3, 14)
PLEASE_STOP = 1 << 5
"""_PY_EVAL_PLEASE_STOP_BIT of the lowest byte of eval_breaker (pycore_ceval.h)."""
PATH_SIZE = 512

_INTERPRETERS_AT = 40
_MAIN_THREAD_AT = 80
_HEAD_SIZE = 88
_MAX_SCANNED_BYTES = 16_000_000


class Interpreter(NamedTuple):
    """What the published offsets tell of a running interpreter."""

    version: tuple[int, int]
    enabled: bool
    """Whether remote execution is compiled in and not switched off."""
    thread: int
    """The address of the main thread's state."""
    eval_breaker: int
    pending: int
    path: int


def find(mem: Memory, regions: tuple[Region, ...]) -> Interpreter | None:
    """Return the interpreter; None where the process holds none of 3.14 or later.

    Raises SourceError for a version that is too new for us, OSError, ValueError.
    """
    for region in _candidates(regions):
        at = _search(mem, region)
        if at is not None:
            found = _interpreter(mem, at)
            if found is not None:
                return found
    return None


def ask(mem: Memory, interpreter: Interpreter, script: str) -> None:
    """Let the main thread run a script when it next comes by. Raises OSError, ValueError."""
    path = script.encode("ascii") + b"\0"
    if len(path) > PATH_SIZE:
        raise ValueError("the script's path is too long")
    mem.write(interpreter.path, path)
    mem.write(interpreter.pending, struct.pack("<i", 1))
    # Another thread may set a bit of it in the same microsecond: sys.remote_exec has that race too.
    flags = mem.read(interpreter.eval_breaker, 1)[0]
    mem.write(interpreter.eval_breaker, bytes([flags | PLEASE_STOP]))


def withdraw(mem: Memory, interpreter: Interpreter) -> None:
    """Take back what was asked for and has not begun."""
    with suppress(OSError, ValueError):
        mem.write(interpreter.pending, struct.pack("<i", 0))


def _candidates(regions: tuple[Region, ...]) -> list[Region]:
    """Return the initialised data of files, in which the interpreter's runtime lies."""
    return [one for one in regions if one.rights.startswith("rw-p") and one.path.startswith("/")]


def _search(mem: Memory, region: Region) -> int | None:
    size = region.end - region.start
    if size > _MAX_SCANNED_BYTES:
        return None
    with suppress(OSError):
        content = mem.read(region.start, size)
        at = content.find(COOKIE)
        while at >= 0:
            if at % 8 == 0 and at + _HEAD_SIZE < size:
                return region.start + at
            at = content.find(COOKIE, at + 1)
    return None


def _interpreter(mem: Memory, at: int) -> Interpreter | None:
    """Read what lies at a cookie; None for what is older, or only looks like it."""
    number = mem.number(at + 8)
    version = (number >> 24 & 0xFF, number >> 16 & 0xFF)
    if number >> 32 or version < LEAST_VERSION:
        return None
    if version not in SUPPORT_AT:
        raise SourceError(f"Python {version[0]}.{version[1]} is newer than this leakwatch")
    names = mem.read(at + SUPPORT_AT[version], 48)
    eval_breaker, support, enabled, pending, path, path_size = struct.unpack("<6Q", names)
    if path_size != PATH_SIZE or max(eval_breaker, support, enabled, pending, path) > _MAX_SCANNED_BYTES:
        return None
    state = mem.number(at + mem.number(at + _INTERPRETERS_AT))
    thread = mem.number(state + mem.number(at + _MAIN_THREAD_AT))
    allowed = mem.read(state + enabled, 4) != bytes(4)
    base = thread + support
    return Interpreter(version, allowed, thread, thread + eval_breaker, base + pending, base + path)
