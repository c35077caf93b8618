"""Has a Python process start one more thread for a line of Python: where there is no remote execution.

One of its threads that waits in a system call is held still for well under a millisecond. A few instructions
lie in unused bytes behind its code by then: they start the thread, restore everything, and go on where it
waited. They need nobody after that, so we may be killed at any moment. The new thread waits for the
interpreter's lock as every other one does.
"""

from __future__ import annotations

import os
import platform
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.python import symbols, tracing
from agent.evidence.rights import WRITE, denied, try_writing
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.python.memory import Memory, Region

MAX_THREADS_LOOKED_AT = 500
LOOKS = 50
LOOK_INTERVAL_S = 0.01
WAIT_S = 2.0

_PYTHON = (b"PyGILState_Ensure", b"PyRun_SimpleString", b"PyGILState_Release")
_THREADS = (b"pthread_create", b"pthread_detach")
NAMES = frozenset(_PYTHON + _THREADS)

_WAITS = (
    7, 23, 270, 271,  # poll, select, pselect6, ppoll
    232, 281, 441,    # epoll_wait, epoll_pwait, epoll_pwait2
    43, 288, 45, 47,  # accept, accept4, recvfrom, recvmsg
    0, 35, 230,       # read, nanosleep, clock_nanosleep
    61, 247, 202,     # wait4, waitid, futex
)  # fmt: skip
"""System calls of x86-64 in which a thread waits without holding a lock of the allocator or the loader; those
least likely to be part of something else come first."""
_RESTARTED = frozenset((512, 513, 514, 516))
"""What the kernel leaves in rax when a stop has interrupted a call that it begins anew (linux/errno.h)."""
_SYSCALL = b"\x0f\x05"
_SLACK_BYTES = 1024


class Place(NamedTuple):
    """What is needed to start a thread, found out by reading."""

    functions: dict[bytes, int]
    room: int
    """Unused bytes behind some file's code."""


class Started(NamedTuple):
    """What was done to start a thread, as far as it can be undone."""

    room: int
    size: int
    disturbed: int
    """The thread that has started it."""
    stack: int
    """Where that thread's stack ended while it waited."""
    threads: frozenset[str]
    """Those there were before."""


def why_not(held: HeldProcess) -> str:
    """Return why a thread could not be started, as far as rights go. Raises ProcessGoneError."""
    if platform.machine() != "x86_64":
        return f"needs Python 3.14 on {platform.machine()}"
    refused = denied(lambda: try_writing(held), WRITE)
    if refused or not tracing.permitted():
        return refused or "needs the system call ptrace (SystemCallFilter=@debug)"
    if b"\nTracerPid:\t0\n" not in held.read("status"):
        return "somebody traces it already"
    return ""


def find(mem: Memory, regions: tuple[Region, ...]) -> Place:
    """Return where everything lies. Raises SourceError where something is missing, OSError, ValueError."""
    found = symbols.functions(mem, regions, NAMES)
    missing = sorted(name.decode() for name in NAMES - found.keys())
    if missing:
        raise SourceError(f"{missing[0]} is not to be found in it")
    return Place(found, _room(mem, regions))


def start(held: HeldProcess, mem: Memory, place: Place, line: str) -> Started:
    """Start a thread that runs a line of Python with `PyRun_SimpleString`; returns before it runs.

    `place` has to be found in the same `mem`: another program that is executed meanwhile is never written to.
    Raises SourceError, OSError, ValueError.
    """
    failures: list[Exception] = []
    done: list[Started] = []

    def work() -> None:
        try:
            done.append(_start(held, mem, place, line))
        except (OSError, ValueError, SourceError) as error:
            failures.append(error)

    # On a thread of its own: when it ends the kernel lets everything go that it still holds.
    tracer = threading.Thread(target=work, name="leakwatch-tracer", daemon=True)
    tracer.start()
    tracer.join(WAIT_S)
    if failures:
        raise failures[0]
    if not done:
        raise SourceError("no thread stops")
    return done[0]


def tidy(held: HeldProcess, mem: Memory, started: Started) -> None:
    """After an answer: clear the instructions when surely nobody is in them any more, else leave them."""
    pause = threading.Event()
    for _ in range(LOOKS):
        if _threads(held) <= started.threads and _waits_again(held, started):
            with suppress(OSError, ValueError):
                mem.write(started.room, bytes(started.size))
            return
        pause.wait(LOOK_INTERVAL_S)


def _waits_again(held: HeldProcess, started: Started) -> bool:
    """Whether the thread that was disturbed waits as before: deeper in its stack it would not be done yet."""
    with suppress(OSError, ValueError, IndexError):
        words = held.read(f"task/{started.disturbed}/syscall").split()
        return int(words[0]) in _WAITS and int(words[-2], 16) == started.stack
    return False


def _threads(held: HeldProcess) -> frozenset[str]:
    with held.folder("task") as folder:
        return frozenset(os.listdir(folder))  # noqa: PTH208 - a descriptor, not a path


def _start(held: HeldProcess, mem: Memory, place: Place, line: str) -> Started:
    """Let the thread that waits in the most harmless way do it: threads that work are looked at again."""
    pause = threading.Event()
    for _ in range(LOOKS):
        found = _waiting_threads(held)
        started = _start_by(min(found)[1], held, mem, place, line) if found else None
        if started is not None:
            return started
        pause.wait(LOOK_INTERVAL_S)
    raise SourceError("no thread waits where it may be disturbed")


def _start_by(tid: int, held: HeldProcess, mem: Memory, place: Place, line: str) -> Started | None:
    """Let one thread do it; None where it has gone on or has ended meanwhile, and nothing was done."""
    text = line.encode("ascii") + b"\0"
    threads = _threads(held)
    with suppress(ProcessLookupError), tracing.stopped(tid) as thread:
        held.check()
        registers = thread.registers()
        waits = _resume(mem, registers)
        if waits is None:
            return None
        resume, result = waits
        code = _code(place.functions, resume, text)
        if len(code) > _SLACK_BYTES or any(mem.read(place.room, len(code))):
            raise SourceError("no room for a few instructions")
        mem.write(place.room, code)
        registers |= {"rip": place.room, "rax": result, "orig_rax": -1}
        thread.set_registers(registers)
        return Started(place.room, len(code), tid, registers["rsp"], threads)
    return None


def _resume(mem: Memory, registers: dict[str, int]) -> tuple[int, int] | None:
    """Return where the thread goes on afterwards, and with what in rax; None where it does not wait."""
    at, number = registers["rip"], registers["orig_rax"]
    if mem.read(at - 2, 2) != _SYSCALL or number not in _WAITS:
        return None
    code = (1 << 64) - registers["rax"]
    return (at - 2, number) if code in _RESTARTED else (at, registers["rax"])


def _waiting_threads(held: HeldProcess) -> list[tuple[int, int]]:
    """Return how harmlessly each of its threads waits, and its number."""
    found = []
    with held.folder("task") as folder:
        for name in os.listdir(folder)[:MAX_THREADS_LOOKED_AT]:  # noqa: PTH208 - a descriptor, not a path
            try:
                word = held.read(f"task/{name}/syscall").split()[0]
            except (FileNotFoundError, ProcessLookupError, IndexError):
                continue
            if word.isdigit() and int(word) in _WAITS:
                found.append((_WAITS.index(int(word)), int(name)))
    return found


def _room(mem: Memory, regions: tuple[Region, ...]) -> int:
    """Return where unused bytes begin: zeros between the end of a file's code and the end of its page."""
    for region in regions:
        if region.rights == "r-xp" and region.path.startswith("/"):
            tail = mem.read(region.end - _SLACK_BYTES, _SLACK_BYTES)
            if not any(tail):
                used = mem.read(region.end - 4096, 4096).rstrip(b"\0")
                return region.end - 4096 + (len(used) + 63 & ~15)
    raise SourceError("no room for a few instructions")


def _code(functions: dict[bytes, int], resume: int, text: bytes) -> bytes:
    """Return the instructions (x86-64): start a thread, restore all registers, go on; then the thread's."""
    ensure, run, release = (functions[name] for name in _PYTHON)
    create, detach = (functions[name] for name in _THREADS)
    begin = (
        b"\x48\x8d\x64\x24\x80"  # lea rsp,[rsp-128]: leaves the red zone
        b"\x9c\x50\x51\x52\x53\x55\x56\x57"  # pushfq; push rax, rcx, rdx, rbx, rbp, rsi, rdi
        b"\x41\x50\x41\x51\x41\x52\x41\x53\x41\x54\x41\x55\x41\x56\x41\x57"  # push r8 ... r15
        b"\x48\x89\xe5\xfc"  # mov rbp,rsp; cld
        b"\x48\x81\xec\x20\x02\x00\x00\x48\x83\xe4\xf0"  # sub rsp,544; and rsp,-16
        b"\x48\x0f\xae\x04\x24"  # fxsave64 [rsp]
        b"\x48\x8d\xbc\x24\x00\x02\x00\x00\x31\xf6\x31\xc9"  # lea rdi,[rsp+512]; xor esi,esi; xor ecx,ecx
    )
    middle = (
        _call(create)
        + b"\x85\xc0\x75\x14"  # test eax,eax; jnz behind the next two
        + b"\x48\x8b\xbc\x24\x00\x02\x00\x00"  # mov rdi,[rsp+512]
        + _call(detach)
        + b"\x48\x0f\xae\x0c\x24\x48\x89\xec"  # fxrstor64 [rsp]; mov rsp,rbp
        b"\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x41\x5b\x41\x5a\x41\x59\x41\x58"  # pop r15 ... r8
        b"\x5f\x5e\x5d\x5b\x5a\x59\x58\x9d"  # pop rdi, rsi, rbp, rbx, rdx, rcx, rax; popfq
        b"\x48\x8d\xa4\x24\x80\x00\x00\x00"  # lea rsp,[rsp+128]
        b"\xff\x25\x00\x00\x00\x00" + struct.pack("<Q", resume)  # jmp to where it waited
    )
    thread = (
        b"\x53" + _call(ensure) + b"\x89\xc3"  # push rbx; state = PyGILState_Ensure()
        b"\x48\x8d\x3d"
        + struct.pack("<i", 12 + 2 + 12 + 4)
        + _call(run)  # PyRun_SimpleString(text)
        + b"\x89\xdf"
        + _call(release)  # PyGILState_Release(state)
        + b"\x5b\x31\xc0\xc3"  # pop rbx; return NULL
    )
    return begin + b"\x48\x8d\x15" + struct.pack("<i", len(middle)) + middle + thread + text


def _call(address: int) -> bytes:
    """Return `mov rax,address; call rax`, 12 bytes."""
    return b"\x48\xb8" + struct.pack("<Q", address) + b"\xff\xd0"
