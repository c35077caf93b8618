"""Says beforehand which evidence can be taken of which process, and why not."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.python import pyspy
from agent.evidence.rights import PTRACE, denied, try_trace
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.source import Source
    from agent.model import Process

VERSION_TIMEOUT_S = 5.0


class Ready(NamedTuple):
    """One kind of evidence of one process."""

    name: str
    why_not: str
    """Empty where it can be taken."""


def readiness(
    process: Process, sources: Iterable[Source], consent: Consent, *, dump_with: Path | None, timeout_s: float
) -> tuple[Ready, ...]:
    """Return every kind of evidence that a process can give, tried out without keeping anything.

    With `dump_with` that py-spy takes a real dump of a Python process, which goes on running, where our own
    rights allow it; otherwise only the permission is tried.
    """
    try:
        with HeldProcess(process.key) as held:
            found = []
            for source in sources:
                if source.suits(process, consent):
                    why = source.why_not(process, held)
                    dumps = source.name == pyspy.NAME and dump_with is not None
                    if dumps and not why and not denied(partial(try_trace, held), PTRACE):
                        why = _dump(held, dump_with, timeout_s)
                    found.append(Ready(source.name, why))
            return tuple(found)
    except ProcessGoneError as error:
        return (Ready("evidence", str(error)),)


def tool_version(tool: Path) -> str | None:
    """Return the version that py-spy tells of itself; None when it does not run."""
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(  # noqa: S603 - the tool that captures run, without input
            [str(tool), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        )
        return told.stdout.decode("utf-8", "replace").strip().removeprefix(pyspy.NAME).strip() or None
    return None


def _dump(held: HeldProcess, tool: Path | None, timeout_s: float) -> str:
    try:
        pyspy.dump(held, tool, timeout_s=timeout_s, with_locals=False)
    except SourceError as error:
        return str(error).removeprefix(f"{pyspy.NAME}: ")
    return ""
