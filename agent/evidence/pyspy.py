"""py-spy as a tool: found, run within a time, its refusals turned into reasons for people."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from agent.evidence.procfs import ProcessGoneError
from agent.text import one_line
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from agent.evidence.procfs import HeldProcess

NAME = "py-spy"
MAX_DUMP_BYTES = 16_000_000
"""A thousand threads, fifty calls deep, are about 15 MB of its JSON."""
MAX_ATTEMPTS = 3
"""A target that runs on while it is read gives an inconsistent picture now and then."""
MAX_REASON_CHARS = 200
KILL_WAIT_S = 1.0
"""A killed tool that hangs in the kernel is left behind after this."""


class PySpyError(Exception):
    """Why there is no dump, in a sentence for people."""


class Dump(NamedTuple):
    """What py-spy has printed."""

    raw: bytes
    threads: Any
    """The same as JSON values; `stacks.read` understands them."""


class _Outcome(NamedTuple):
    code: int
    output: bytes
    errors: str


def find(beside: Path | None = None, search: str | None = None) -> Path | None:
    """Return py-spy's executable: the one installed with this interpreter, else the first on the PATH."""
    folder = Path(sys.executable).parent if beside is None else beside
    found = shutil.which(NAME, path=str(folder)) or shutil.which(NAME, path=search)
    return None if found is None else Path(found)


def dump(held: HeldProcess, tool: Path | None, *, timeout_s: float, with_locals: bool) -> Dump:
    """Return what `py-spy dump --json` says about a process that goes on running meanwhile.

    Raises PySpyError with the reason, ProcessGoneError when the process has ended.
    """
    if tool is None:
        raise PySpyError("py-spy: not installed (pip install py-spy)")
    command = [str(tool), "dump", "--json", "--nonblocking", "--pid", str(held.key.pid)]
    command += ["--locals"] if with_locals else []
    stopped_before = held.check().stopped
    try:
        return _dump(command, held.key.pid, timeout_s)
    finally:
        _resume(held, stopped_before=stopped_before)


def reason(errors: str, pid: int) -> str:
    """Return the sentence for what py-spy wrote to standard error."""
    text = errors.lower()
    for words, sentence in _REASONS:
        if any(word in text for word in words):
            return "py-spy: " + sentence.format(pid=pid)
    first = next((line for line in errors.splitlines() if line.strip()), "it failed without a word")
    return "py-spy: " + one_line(first.removeprefix("Error: "), MAX_REASON_CHARS)


_REASONS = (
    (
        ("permission denied", "operation not permitted"),
        (
            "no permission to read process {pid}: needs CAP_SYS_PTRACE, or its user where ptrace_scope is 0 "
            "(and CAP_DAC_READ_SEARCH where its interpreter lies in a private folder)"
        ),
    ),
    (
        ("unsupported version of python",),
        "process {pid} runs a Python version that this py-spy does not know (pip install -U py-spy)",
    ),
    (
        ("failed to find python version", "failed to find a python interpreter", "no python processes found"),
        "process {pid} is not a Python process, or its version is newer than this py-spy",
    ),
    (
        ("check that the process is running", "check if it is running", "no such process"),
        "process {pid} has ended",
    ),
)


def _dump(command: list[str], pid: int, timeout_s: float) -> Dump:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        outcome = _run(command, timeout_s)
        if outcome.code == 0:
            return _parse(outcome.output)
        known = any(word in outcome.errors.lower() for words, _ in _REASONS for word in words)
        if known or attempt == MAX_ATTEMPTS:
            break
    raise PySpyError(reason(outcome.errors, pid))


def _parse(output: bytes) -> Dump:
    if len(output) > MAX_DUMP_BYTES:
        raise PySpyError(f"py-spy: the dump is larger than {format_bytes(MAX_DUMP_BYTES)}")
    try:
        return Dump(output, json.loads(output))
    except (ValueError, RecursionError):
        raise PySpyError("py-spy: its output is not the JSON that it should be") from None


def _run(command: list[str], timeout_s: float) -> _Outcome:
    """Run a tool to its end; it writes to memory files of bounded size, as a pipe could fill or stay open."""
    with _memory_file() as output, _memory_file() as errors:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own tool, its arguments are numbers
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env={"PATH": os.defpath, "LC_ALL": "C", "RUST_BACKTRACE": "0"},
                start_new_session=True,
            )
        except OSError as error:
            raise PySpyError(f"py-spy: {command[0]} does not start ({error.strerror})") from None
        code = _wait(process, timeout_s)
        return _Outcome(code, _content(output), _content(errors).decode("utf-8", "replace"))


def _wait(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    with suppress(ProcessLookupError, PermissionError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MAX_DUMP_BYTES + 1, MAX_DUMP_BYTES + 1))
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_WAIT_S)
        raise PySpyError(f"py-spy: stopped after {format_duration(timeout_s)} without an answer") from None


def _memory_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("leakwatch-tool", os.MFD_CLOEXEC), "rb")


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(MAX_DUMP_BYTES + 1)


def _resume(held: HeldProcess, *, stopped_before: bool) -> None:
    """Let the process run on if the tool has left it stopped (github.com/benfred/py-spy/issues/390)."""
    if stopped_before:
        return
    with suppress(ProcessGoneError, ProcessLookupError, PermissionError):
        if held.check().stopped:
            os.kill(held.key.pid, signal.SIGCONT)
