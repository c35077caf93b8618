"""py-spy as a tool: found, run within a time, its refusals turned into reasons for people."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.evidence.source import SourceError
from agent.evidence.tool import left_running, run
from agent.text import one_line
from agent.units import format_bytes

if TYPE_CHECKING:
    from agent.evidence.kernel.procfs import HeldProcess

NAME = "py-spy"
MAX_DUMP_BYTES = 16_000_000
"""A thousand threads, fifty calls deep, are about 15 MB of its JSON."""
MAX_ATTEMPTS = 3
"""A target that runs on while it is read gives an inconsistent picture now and then."""
MAX_REASON_CHARS = 200


class Dump(NamedTuple):
    """What py-spy has printed."""

    raw: bytes
    threads: Any
    """The same as JSON values; `stacks.read` understands them."""


def find(beside: Path | None = None, search: str | None = None) -> Path | None:
    """Return py-spy's executable: the one installed with this interpreter, else the first on the PATH."""
    from shutil import which  # noqa: PLC0415 - loads every archive format there is

    folder = Path(sys.executable).parent if beside is None else beside
    found = which(NAME, path=str(folder)) or which(NAME, path=search)
    return None if found is None else Path(found)


def dump(held: HeldProcess, tool: Path | None, *, timeout_s: float, with_locals: bool) -> Dump:
    """Return what `py-spy dump --json` says about a process that goes on running meanwhile.

    Raises SourceError with the reason, ProcessGoneError when the process has ended.
    """
    if tool is None:
        raise SourceError("py-spy: not installed (pip install py-spy)")
    command = [str(tool), "dump", "--json", "--nonblocking", "--pid", str(held.key.pid)]
    command += ["--locals"] if with_locals else []
    with left_running(held):
        return _dump(command, held.key.pid, timeout_s)


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
        outcome = run(
            NAME,
            command,
            timeout_s=timeout_s,
            max_bytes=MAX_DUMP_BYTES,
            environment={"RUST_BACKTRACE": "0"},
        )
        if outcome.code == 0:
            return _parse(outcome.output)
        known = any(word in outcome.errors.lower() for words, _ in _REASONS for word in words)
        if known or attempt == MAX_ATTEMPTS:
            break
    raise SourceError(reason(outcome.errors, pid))


def _parse(output: bytes) -> Dump:
    if len(output) > MAX_DUMP_BYTES:
        raise SourceError(f"py-spy: the dump is larger than {format_bytes(MAX_DUMP_BYTES)}")
    try:
        return Dump(output, json.loads(output))
    except (ValueError, RecursionError):
        raise SourceError("py-spy: its output is not the JSON that it should be") from None
