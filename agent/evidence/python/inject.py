"""Has a Python process run our few lines (inside.py) and answer: remote execution, else a new thread."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from agent.evidence.python import exchange, inside, memory, newthread, remote
from agent.evidence.python.remote import Interpreter
from agent.evidence.rights import WRITE, denied, try_writing
from agent.evidence.source import SourceError
from agent.units import format_duration

if TYPE_CHECKING:
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.python.exchange import Exchange
    from agent.evidence.python.memory import Memory, Region
    from agent.evidence.python.newthread import Place

REMOTE_SHARE = 0.4
"""Of the time: a main thread that has not come by until then waits in C, so a new thread is tried."""
MAX_LINES = 2000

_OFF = "its remote execution is switched off (PYTHON_DISABLE_REMOTE_DEBUG or -X disable-remote-debug)"
_LEAST_MINOR = 7
_VERSION = re.compile(r"python(\d)\.(\d+)[^/]*$")
_START = "__import__('_thread').start_new_thread(exec, ({source!r}, {{'__name__': 'leakwatch'}}))\n"
_LINE = (
    "try:\n"
    " (lambda posix: (lambda fd: (exec(posix.read(fd, 65536), {{'__name__': 'leakwatch'}}), posix.close(fd)))"
    "(posix.open('{path}', posix.O_RDONLY)))(__import__('posix'))\n"
    "except BaseException:\n pass\n"
)
"""Leaves no name behind in the program's main module, in which it runs."""


def why_not(held: HeldProcess) -> str:
    """Return why nothing could be run in it, without touching it. Raises ProcessGoneError."""
    refused = denied(lambda: try_writing(held), WRITE) or exchange.why_not(held)
    if refused:
        return refused
    try:
        with memory.opened(held, writable=False) as mem:
            _way(held, mem)
    except SourceError as error:
        return str(error)
    except (OSError, ValueError):
        held.check()
        return "its memory cannot be read"
    return ""


def run(name: str, held: HeldProcess, work: str, timeout_s: float) -> list[list[str]]:
    """Return the words of each line that `inside.<work>` has yielded in the process.

    Raises SourceError, its sentences begin with `name`, OSError, ValueError, ProcessGoneError.
    """
    if held.check().stopped:
        raise SourceError(f"{name}: the process is stopped")
    try:
        try_writing(held)
    except PermissionError:
        raise SourceError(f"{name}: {WRITE}") from None
    try:
        with exchange.opened(held) as place, memory.opened(held, writable=True) as mem:
            answer = _answer(held, mem, place, work, timeout_s)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from None
    held.check()
    if answer is None:
        raise SourceError(f"{name}: no answer within {format_duration(timeout_s)}, its threads are busy in C")
    return [line.split("\t") for line in answer.decode("ascii").splitlines()[:-1][:MAX_LINES] if line]


def _way(held: HeldProcess, mem: Memory) -> Interpreter | Place:
    """Return how lines are run in it: remotely where it offers that, else in a new thread.

    Raises SourceError where neither works, OSError, ValueError.
    """
    regions = memory.regions(held)
    interpreter = remote.find(mem, regions)
    if interpreter is not None and interpreter.enabled:
        return interpreter
    refused = _OFF if interpreter is not None else _too_old(regions) or newthread.why_not(held)
    if refused:
        raise SourceError(refused)
    return newthread.find(mem, regions)


def _answer(held: HeldProcess, mem: Memory, place: Exchange, work: str, timeout_s: float) -> bytes | None:
    source = _source(place.answer_path, work)
    way = _way(held, mem)
    if isinstance(way, Interpreter):
        remote.ask(mem, way, place.put("start.py", _START.format(source=source)))
        answer = place.read(timeout_s * REMOTE_SHARE)
        if answer is not None:
            return answer
        remote.withdraw(mem, way)
        if newthread.why_not(held):
            return None
        way = newthread.find(mem, memory.regions(held))
        timeout_s *= 1 - REMOTE_SHARE
    started = newthread.start(held, mem, way, _LINE.format(path=place.put("lines.py", source)))
    answer = place.read(timeout_s)
    if answer is not None:
        newthread.tidy(held, mem, started)
    return answer


def _source(answer_path: str, work: str) -> str:
    """Return the lines to run; nothing of them is left behind, and nothing they raise is seen."""
    lines = Path(inside.__file__).read_text("ascii")
    begin = f"try:\n    run({answer_path!r}, {work})\nexcept BaseException:\n    pass\n"
    return f"{lines}\n{begin}globals().clear()\n"


def _too_old(regions: tuple[Region, ...]) -> str:
    """Return the sentence for a Python that our lines do not run on, as the names of its files tell."""
    for region in regions:
        version = _VERSION.search(region.path)
        if version and "x" in region.rights:
            major, minor = int(version[1]), int(version[2])
            if (major, minor) < (3, _LEAST_MINOR):
                return f"Python {major}.{minor} is too old, it needs 3.{_LEAST_MINOR}"
    return ""
