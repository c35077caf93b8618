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
from agent.consent import Consent
from agent.evidence import turn
from agent.evidence.captures import Captures
from agent.evidence.options import EvidenceOptions
from agent.evidence.source import Tier
from agent.report.page import page
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from agent.model import Evidence, Process

NOTHING_TAKEN = 1
NO_SUCH_PROCESS = 2
ALLOWABLE = ("heavy", "inspector", "inject", "trace")
"""What `Consent` has that evidence can use."""
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
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Choice(ALLOWABLE),
    help="Also what may hold or change the process for a moment, as `allow` of an entry; several times.",
)
@click.option("--pprof", metavar="URL", help="Where a Go program serves pprof.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    pid: int,
    output: Path | None,
    allowed: tuple[str, ...],
    pprof: str | None,
    *,
    with_locals: bool,
    as_json: bool,
) -> None:
    """Take evidence of a process now: what holds its memory by code or type, mappings, descriptors, threads.

    The process goes on running. A second dump of the same process tells what grew since the first. What
    could hold it for long, or needs more memory than there is, is not taken, and why is said.

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
    captures = Captures(folder, options, sources_of(options), report=page, host_lock=turn.SHARED)
    label = f"{process.key.pid}-{process.key.start_ticks}"
    consent = Consent(pprof=pprof, **dict.fromkeys(allowed, True))
    tier = Tier.HEAVY if consent.heavy else Tier.MEDIUM
    evidence = captures.capture(process, label, SystemClock().now(), consent=consent, tier=tier)
    click.echo(_json(process, evidence) if as_json else _text(process, evidence))
    raise SystemExit(0 if evidence.directory else NOTHING_TAKEN)


def _process(pid: int) -> Process | None:
    return next((process for process in Discovery().processes() if process.key.pid == pid), None)


def _default_folder() -> Path:
    state = statedir.choose(None, os.environ, os.geteuid())
    statedir.create(state)
    folder = state / FOLDER
    if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
        owner = statedir.user_name(folder.stat().st_uid)
        raise statedir.StateError(f"{folder} belongs to {owner}: become that user")
    return folder


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
