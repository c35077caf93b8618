"""Runs somebody else's program: within a time, with bounded output, with an environment of its own."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from agent.evidence.kernel.procfs import ProcessGoneError, has_signal
from agent.evidence.source import SourceError
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.evidence.kernel.procfs import HeldProcess

KILL_WAIT_S = 1.0
"""A killed tool that hangs in the kernel is left behind after this."""
NICENESS = 10
"""Who is looked at runs first where both want the same core (setpriority(2)): a tool gets a tenth of it."""
STOP_LOOKS = 3
STOP_LOOK_S = 0.005
"""A stop that has begun is complete before so many looks in such distances are over."""

_ENVIRONMENT = {"LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
"""The bound on what is written would cut off the compiled modules that a tool in Python leaves behind."""


class Outcome(NamedTuple):
    """How a tool ended and what it wrote; output is at most one byte longer than what was allowed."""

    code: int
    output: bytes
    errors: str


def run(
    name: str,
    command: Sequence[str],
    *,
    timeout_s: float,
    max_bytes: int,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Outcome:
    """Run a tool to its end; it writes to memory files of bounded size, as a pipe could fill or stay open.

    `pass_fds` are open in the tool under the same numbers.

    Raises SourceError when it does not start or takes too long; with all that it has started it is killed.
    """
    with _memory_file() as output, _memory_file() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - the caller's tool, its arguments are no text of others
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={"PATH": os.defpath, **_ENVIRONMENT, **(environment or {})},
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            raise SourceError(f"{name}: {command[0]} does not start ({error.strerror})") from None
        code = _wait(name, process, timeout_s, max_bytes)
        told = _content(errors, max_bytes).decode("utf-8", "replace")
        return Outcome(code, _content(output, max_bytes), told)


@contextmanager
def left_running(held: HeldProcess) -> Iterator[None]:
    """Let the process run on if the tool that is used within has left it stopped.

    One that was stopped before stays so (github.com/benfred/py-spy/issues/390). Raises ProcessGoneError.
    """
    stopped_before = held.check().stopped
    try:
        yield
    finally:
        with suppress(ProcessGoneError, ProcessLookupError, PermissionError):
            if not stopped_before:
                _let_run(held)


def _let_run(held: HeldProcess) -> None:
    """Let a process run on that stands still or is about to: a stop takes effect a little later."""
    pause = threading.Event()
    for _ in range(STOP_LOOKS):
        if held.check().stopped or _stop_is_pending(held):
            os.kill(held.key.pid, signal.SIGCONT)
            return
        pause.wait(STOP_LOOK_S)


def _stop_is_pending(held: HeldProcess) -> bool:
    """Whether a SIGSTOP waits for the process (proc_pid_status(5)); SIGCONT takes it back."""
    status = held.read("status")
    return any(has_signal(status, mask, signal.SIGSTOP) for mask in ("SigPnd", "ShdPnd"))


def _wait(name: str, process: subprocess.Popen[bytes], timeout_s: float, max_bytes: int) -> int:
    with suppress(ProcessLookupError, PermissionError):
        nice = os.getpriority(os.PRIO_PROCESS, process.pid)
        os.setpriority(os.PRIO_PROCESS, process.pid, max(nice, NICENESS))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (max_bytes + 1, max_bytes + 1))
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_WAIT_S)
        took = format_duration(timeout_s)
        raise SourceError(f"{name}: stopped after {took} without an answer") from None


def _memory_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("leakwatch-tool", os.MFD_CLOEXEC), "rb")


def _content(file: BinaryIO, max_bytes: int) -> bytes:
    file.seek(0)
    return file.read(max_bytes + 1)
