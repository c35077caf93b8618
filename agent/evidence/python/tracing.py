"""ptrace on one thread (ptrace(2)): stopped for well under a millisecond, running on however we end.

The thread is seized, not attached to: no signal is sent, and the kernel lets it go when its tracer dies.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

STOP_TRIES = 200
"""Milliseconds that a thread is given to stop; one that hangs in the kernel does not."""

_GETREGS, _SETREGS, _DETACH, _SEIZE, _INTERRUPT = 12, 13, 17, 0x4206, 0x4207
_EVENT_STOP = 128
_WALL = 0x40000000
_REGISTERS = struct.Struct("<27Q")
_NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
"""struct user_regs_struct of x86-64 (sys/user.h)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Stopped:
    """A thread that stands still."""

    def __init__(self, tid: int) -> None:
        self._tid = tid

    def registers(self) -> dict[str, int]:
        """Return its registers by name. Raises OSError."""
        buffer = ctypes.create_string_buffer(_REGISTERS.size)
        _ptrace(_GETREGS, self._tid, ctypes.addressof(buffer))
        return dict(zip(_NAMES, _REGISTERS.unpack(buffer.raw), strict=True))

    def set_registers(self, registers: dict[str, int]) -> None:
        """Set them; it runs on with them. Raises OSError."""
        values = (registers[name] & (1 << 64) - 1 for name in _NAMES)
        buffer = ctypes.create_string_buffer(_REGISTERS.pack(*values), _REGISTERS.size)
        _ptrace(_SETREGS, self._tid, ctypes.addressof(buffer))


def permitted() -> bool:
    """Whether the system call may be used at all: a unit's SystemCallFilter may leave it out."""
    try:
        _ptrace(_GETREGS, os.getpid())
    except PermissionError:
        return False
    except OSError:
        return True  # of course nobody traces itself
    return True


@contextmanager
def stopped(tid: int) -> Iterator[Stopped]:
    """Hold a thread still. Raises OSError where that is not permitted or it does not stop."""
    _ptrace(_SEIZE, tid)
    delivered = 0
    try:
        _ptrace(_INTERRUPT, tid)
        delivered = _wait(tid)
        if delivered:
            raise BlockingIOError("a signal came in between")
        yield Stopped(tid)
    finally:
        with suppress(OSError):
            _ptrace(_DETACH, tid, data=delivered)


def _wait(tid: int) -> int:
    """Wait until it stands still; return the signal that stopped it before we did, which is passed on."""
    pause = threading.Event()
    for _ in range(STOP_TRIES):
        found, status = os.waitpid(tid, os.WNOHANG | _WALL)
        if found and os.WIFSTOPPED(status):
            return 0 if status >> 16 == _EVENT_STOP else os.WSTOPSIG(status)
        if found:
            raise ProcessLookupError("the thread has ended")
        pause.wait(0.001)
    raise BlockingIOError("the thread does not stop")


def _ptrace(request: int, tid: int, address: int = 0, data: int | None = None) -> None:
    second = address if data is None else data
    if _libc.ptrace(request, tid, None, second) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace: {os.strerror(error)}")
