"""`leakwatch gc PID`: a full collection of one process, and what is left after it."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click

from agent.cli import state
from agent.consent import Consent
from agent.evidence.collection import choose, verdict
from agent.evidence.collectors import all_collectors
from agent.evidence.kernel.procfs import HeldProcess, ProcessGoneError
from agent.evidence.source import SourceError
from agent.text import one_line
from agent.units import format_bytes
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from agent.evidence.collection import Collected, Collector
    from agent.model import Process

NOT_COLLECTED, MISTAKE = 1, 2
ALLOWABLE = ("inspector", "inject")
DEFAULT_TIMEOUT_S = 30.0
_ANY_ADDRESS = "http://127.0.0.1/debug/pprof"
_WAYS: dict[str, tuple[str, Any]] = {
    "inject": ("--allow inject", True),
    "inspector": ("--allow inspector", True),
    "pprof": ("--pprof URL", _ANY_ADDRESS),
}
"""What a runtime may need to be allowed: field of the consent, option of the command, a value that allows."""


@click.command("gc")
@click.argument("pid", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Choice(ALLOWABLE),
    help="What the way to the runtime may do, as `allow` of an entry; several times.",
)
@click.option("--pprof", metavar="URL", help="Where a Go program serves pprof.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=DEFAULT_TIMEOUT_S, help="In seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    pid: int,
    allowed: tuple[str, ...],
    pprof: str | None,
    timeout_s: float,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Ask a process's runtime for a full collection, and say what is left: that is still referred to.

    The process stands still while it collects, a large heap for seconds. JVM, Node, Python and Go can be
    asked, each where it allows it.

    \b
    Exit codes: 0 collected, 1 not collected (it failed, or was not confirmed),
                2 no such process, or its runtime cannot be asked.
    """  # noqa: D301 - click's mark for lines that stay as they are
    process = next((one for one in Discovery().processes() if one.key.pid == pid), None)
    if process is None:
        state.end(f"no such process: {pid}", MISTAKE, as_json=as_json)
    consent = Consent(collect=True, pprof=pprof, **dict.fromkeys(allowed, True))
    try:
        with HeldProcess(process.key) as held:
            collector = _collector(process, held, consent, as_json=as_json)
            if not yes:
                _confirm(process, collector, as_json=as_json)
            found = collector.collect(held, timeout_s)
    except (SourceError, ProcessGoneError, OSError) as error:
        state.end(one_line(str(error)), NOT_COLLECTED, as_json=as_json)
    click.echo(_json(process, collector, found) if as_json else _text(process, collector, found))


def _collector(process: Process, held: HeldProcess, consent: Consent, *, as_json: bool) -> Collector:
    """Return who asks for the collection; ends the command where nobody can."""
    collectors = all_collectors()
    if not any(one.suits(process, consent) for one in collectors):
        state.end(f"{_who(process)}: {_needs(process, consent)}", MISTAKE, as_json=as_json)
    try:
        return choose(collectors, process, held, consent)
    except SourceError as error:
        state.end(f"{_who(process)}: {error}", MISTAKE, as_json=as_json)


def _needs(process: Process, consent: Consent) -> str:
    """Return what would have to be allowed, or that nothing would help."""
    describe = {field.name: field.metadata["option"].describe for field in fields(Consent)}
    for name, (option, value) in _WAYS.items():
        allowed = replace(consent, **{name: value})
        if any(one.suits(process, allowed) for one in all_collectors()):
            return f"needs {option}: {describe[name]}"
    return "nobody can ask this runtime for a collection"


def _confirm(process: Process, collector: Collector, *, as_json: bool) -> None:
    """Ask on a terminal whether to go on; ends the command where the answer is no, or nobody can answer."""
    if as_json or not sys.stdin.isatty():
        state.end("there is nobody to ask: give --yes", NOT_COLLECTED, as_json=as_json)
    click.echo(f"{_who(process)}: a full collection by {collector.name}; the process stands still meanwhile")
    if not click.confirm("go on?"):
        state.end("not collected", NOT_COLLECTED)


def _who(process: Process) -> str:
    return f"{process.name} (pid {process.key.pid}, {process.runtime}, user {process.user})"


def _text(process: Process, collector: Collector, found: Collected) -> str:
    return "\n".join(
        (
            f"{_who(process)}: collected by {collector.name}",
            f"  in use before: {format_bytes(found.before_bytes)}",
            f"  in use after:  {format_bytes(found.after_bytes)}",
            f"  {verdict(found)}",
        )
    )


def _json(process: Process, collector: Collector, found: Collected) -> str:
    who = {"pid": process.key.pid, "name": process.name, "runtime": process.runtime}
    told = {"by": collector.name, **found._asdict(), "verdict": verdict(found)}
    return json.dumps({"process": who} | told)
