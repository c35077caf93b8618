"""Asks a HotSpot JVM for what jcmd would ask it: through its attach socket, across users and containers."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.evidence.jvm import hotspot, speaker
from agent.evidence.jvm.hotspot import RefusedError
from agent.evidence.source import SourceError
from agent.evidence.tool import run
from agent.text import lines_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.procfs import HeldProcess

MAX_REASON_CHARS = 200
OWN_SHARE = 0.8
"""Of the time, for the speaker to give up by itself and say why; later it is killed."""
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SPEAKER = str(Path(speaker.__file__).resolve())


def why_not(held: HeldProcess) -> str:
    """Return why a process cannot be attached to, found out without touching it; empty where it can.

    Raises ProcessGoneError.
    """
    try:
        hotspot.check_right(hotspot.prove(held))
        with tmp_folder(held):
            return ""
    except RefusedError as refusal:
        return str(refusal)
    except OSError as error:
        held.check()
        return error.strerror or str(error)


def ask(name: str, held: HeldProcess, command: str, *, timeout_s: float, max_bytes: int) -> str:
    """Return what a JVM answers to a diagnostic command ("GC.class_histogram -all"), untrusted.

    Raises SourceError with the reason, beginning with the source's `name`, ProcessGoneError, OSError.
    """
    answer = speak(name, held, "ask", command, timeout_s=timeout_s, max_bytes=max_bytes)
    end = answer.find(b"\n")
    text = str(memoryview(answer)[end + 1 :], "utf-8", "replace")
    if answer[:end] != b"0":
        told = one_line(next(lines_of(text), "no reason given"), MAX_REASON_CHARS)
        raise SourceError(f"{name}: the JVM refused {command.split(maxsplit=1)[0]} ({told})")
    return text


def speak(name: str, held: HeldProcess, verb: str, text: str, *, timeout_s: float, max_bytes: int) -> bytes:
    """Let the speaker do something as the JVM's user and return what it wrote. Raises as `ask` does."""
    try:
        jvm = hotspot.prove(held)
        with held.folder(".") as process_fd, tmp_folder(held) as tmp_fd:
            own_ms = int(timeout_s * OWN_SHARE * 1000)
            run_of = (held.key.pid, held.key.start_ticks, jvm.inner_pid, jvm.uid, jvm.gid)
            numbers = (process_fd, tmp_fd, *run_of, own_ms, max_bytes)
            command = [sys.executable, "-I", "-S", _SPEAKER, verb, text, *map(str, numbers)]
            fds = (process_fd, tmp_fd)
            outcome = run(name, command, timeout_s=timeout_s, max_bytes=max_bytes, pass_fds=fds)
    except RefusedError as refusal:
        raise SourceError(f"{name}: {refusal}") from None
    if outcome.code != 0:
        told = next(filter(None, outcome.errors.splitlines()), "the speaker was killed")
        raise SourceError(f"{name}: {one_line(told, MAX_REASON_CHARS)}")
    return outcome.output


@contextmanager
def tmp_folder(held: HeldProcess) -> Iterator[int]:
    """Open the /tmp of a process's own mount namespace; no link leads out of it.

    Raises RefusedError, OSError.
    """
    with ExitStack() as stack:
        try:
            root = stack.enter_context(held.folder("root"))
            tmp = os.open("tmp", _FOLDER_FLAGS, dir_fd=root)
        except PermissionError:
            raise RefusedError("its files may not be read: that takes CAP_SYS_PTRACE, or its user") from None
        except (FileNotFoundError, NotADirectoryError):
            raise RefusedError(
                "its /tmp, where it would listen, is no folder (links are not followed)"
            ) from None
        stack.callback(os.close, tmp)
        yield tmp
