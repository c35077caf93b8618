"""`leakwatch dump PID`: one capture of one process, on demand."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent import statedir
from agent.capture_helper.sources import sources_of
from agent.clock import SystemClock
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from agent.model import Evidence, Process

NOTHING_TAKEN = 1
NO_SUCH_PROCESS = 2
FOLDER = "dumps"
"""Beside the captures of incidents, so that neither takes the other's room."""


@click.command("dump")
@click.argument("pid", type=click.IntRange(min=1))
@click.option("--locals", "with_locals", is_flag=True, help="Also local variables (can hold secrets).")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help='Folder for the files; otherwise "dumps" in the state directory.',
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(pid: int, output: Path | None, *, with_locals: bool, as_json: bool) -> None:
    """Take evidence of a process now: memory by kind of mapping, Python stacks, limits, descriptors.

    The process goes on running. A second dump of the same process tells what grew since the first.

    \b
    Exit codes: 0 something was taken, 1 nothing could be taken, 2 no such process.
    """  # noqa: D301 - click's mark for lines that stay as they are
    process = _process(pid)
    if process is None:
        click.echo(f"no such process: {pid} (kernel threads and zombies have no memory to look at)", err=True)
        raise SystemExit(NO_SUCH_PROCESS)
    try:
        folder = _default_folder() if output is None else output.absolute()
    except statedir.StateError as error:
        click.echo(f"{error}; or give --output", err=True)
        raise SystemExit(NOTHING_TAKEN) from None
    options = replace(EvidenceOptions(), locals=with_locals)
    captures = Captures(folder, options, sources_of(options))
    label = f"{process.key.pid}-{process.key.start_ticks}"
    evidence = captures.capture(process, label, SystemClock().now())
    click.echo(_json(process, evidence) if as_json else _text(process, evidence))
    raise SystemExit(0 if evidence.directory else NOTHING_TAKEN)


def _process(pid: int) -> Process | None:
    return next((process for process in Discovery().processes() if process.key.pid == pid), None)


def _default_folder() -> Path:
    state = statedir.choose(None, os.environ, os.geteuid())
    statedir.create(state)
    return state / FOLDER


def _json(process: Process, evidence: Evidence) -> str:
    who = {"pid": process.key.pid, "name": process.name, "runtime": process.runtime}
    return json.dumps({"process": who} | asdict(evidence))


def _text(process: Process, evidence: Evidence) -> str:
    lines = [f"{process.name} (pid {process.key.pid}, {process.runtime}, user {process.user})"]
    lines += [f"  {line}" for line in evidence.gist]
    lines += [f"  missing: {why}" for why in evidence.missing]
    if evidence.directory:
        lines += [f"files in {evidence.directory}:", f"  {' '.join(evidence.files)}"]
    return "\n".join(lines)
