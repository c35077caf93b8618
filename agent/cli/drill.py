"""`leakwatch drill`: the fire drill, from a real leak to a marked alert in every channel."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from agent import statedir
from agent.alerts.notes import MemoryNotes
from agent.bootstrap import build_channels
from agent.cli import chosen
from agent.clock import SystemClock
from agent.config import ConfigError
from agent.drill.rehearsal import Plan, rehearse, titles
from agent.drill.steps import Grade, Step
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from agent.config import Config

SOME_FAIL = 1
MISTAKE = 2
COLOURS = {Grade.OK: "green", Grade.NOTE: "yellow", Grade.FAILED: "red"}
RESULT_CHARS = 9
TOOK_CHARS = 5


@click.command("drill")
@click.option("--config", "config_file", metavar="FILE", help="Whose channels and evidence to rehearse.")
@click.option("--state-dir", metavar="DIR", help="Instead of the configured one.")
@click.option("--channel", "names", metavar="NAME", multiple=True, help="Only this one; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_file: str | None, state_dir: str | None, names: tuple[str, ...], *, as_json: bool) -> None:
    """Rehearse: start a child that really leaks, and see whether everybody would have been told.

    The child grows by some 30 MB. It is watched, judged and captured by the same code as everything else,
    with the waiting between two polls skipped. Then an alert marked [DRILL] goes to every channel, also to
    those that want other severities only, and after it the end of the incident. A daemon that runs is not
    disturbed. The evidence lies in "drills" in the state directory; that of the newest three is kept.

    Without --config nothing is sent.

    \b
    Exit codes: 0 everything worked (a channel that is off is no failure, unless --channel names it),
                1 something did not, the reason is in the table,
                2 the configuration has mistakes, or has no such channel.
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        config = chosen.config(config_file, os.environ)
    except ConfigError as error:
        raise _mistake(str(problem) for problem in error.problems) from None
    unknown = [name for name in names if name not in config.channels]
    if unknown:
        known = ", ".join(config.channels) or "none"
        raise _mistake(f'no channel "{name}" is configured (there are: {known})' for name in unknown)
    steps = _steps(config, _directory(config, state_dir), names, has_file=config_file is not None)
    with closing(steps):
        done = list(steps if as_json else _printed(steps, config))
    failed = sum(step.grade is Grade.FAILED for step in done)
    click.echo(_json(done, failed) if as_json else _summary(done, failed))
    raise SystemExit(SOME_FAIL if failed else 0)


def _mistake(sentences: Iterable[str]) -> SystemExit:
    for sentence in sentences:
        click.echo(sentence, err=True)
    return SystemExit(MISTAKE)


def _directory(config: Config, given: str | None) -> Path:
    try:
        return statedir.choose(given or config.state_dir, os.environ, os.geteuid())
    except statedir.StateError as error:
        raise _mistake([str(error)]) from None


def _steps(
    config: Config, directory: Path, names: Sequence[str], *, has_file: bool
) -> Generator[Step, None, None]:
    chosen_channels = {n: options for n, options in config.channels.items() if not names or n in names}
    config = replace(config, channels=chosen_channels)
    yield from _not_told(config, names, has_file=has_file)
    clock = SystemClock()
    plan = Plan(
        channels=build_channels(config, clock, MemoryNotes()),
        host=config.host or socket.gethostname(),
        clock=clock,
        state_dir=directory,
        evidence=config.evidence,
        no_evidence=_no_evidence(config),
    )
    yield from rehearse(plan)


def _not_told(config: Config, names: Sequence[str], *, has_file: bool) -> Iterator[Step]:
    """Yield a row for each channel that is off; one that was asked for by name should not be."""
    if not config.channels:
        why = "the file configures none" if has_file else "no file was given (--config FILE)"
        yield Step("channels", Grade.NOTE, "none", None, f"{why}: nothing is sent")
    for name in config.channels:
        if name in config.off:
            grade = Grade.FAILED if name in names else Grade.NOTE
            yield Step(f"channel {name}", grade, "off", None, one_line(config.off[name]))


def _no_evidence(config: Config) -> str:
    if not config.evidence.enabled:
        return "evidence.enabled is false"
    return "" if config.snapshots else "snapshots is false"


def _printed(steps: Iterator[Step], config: Config) -> Iterator[Step]:
    """Print each step as it happens, in columns that are as wide as the longest name to come."""
    width = max(map(len, titles(config.channels)))
    head = ("STEP".ljust(width), "RESULT".ljust(RESULT_CHARS), "TOOK".ljust(TOOK_CHARS), "REASON")
    click.secho("  ".join(head), bold=True)
    for step in steps:
        took = "-" if step.took_s is None else f"{step.took_s:.1f}s"
        result = click.style(step.result.ljust(RESULT_CHARS), fg=COLOURS[step.grade])
        click.echo("  ".join((step.step.ljust(width), result, took.ljust(TOOK_CHARS), step.reason)))
        yield step


def _summary(done: Sequence[Step], failed: int) -> str:
    took_s = sum(step.took_s or 0.0 for step in done)
    if failed:
        return click.style(f"{failed} of {len(done)} steps failed", fg="red")
    return click.style(f"everything worked, in {took_s:.1f}s", fg="green")


def _json(done: Sequence[Step], failed: int) -> str:
    return json.dumps({"ok": not failed, "steps": [asdict(step) for step in done]}, indent=2)
