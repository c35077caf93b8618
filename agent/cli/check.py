"""`leakwatch check [FILE]`: every mistake of a configuration file, or what is in force with it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from agent.config import DEFAULT_PATH, ConfigError, effective, effective_values, load

if TYPE_CHECKING:
    from agent.config import Config, Problem

MISTAKES = 2


@click.command("check")
@click.argument("file", default=DEFAULT_PATH, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: str, *, as_json: bool) -> None:
    """Check a configuration file and print what is in force with it, defaults included.

    References such as ${NAME} are filled in from the environment of this command. Secrets are never
    printed. Channels that are off are told on standard error, each with the reason.

    \b
    Exit codes: 0 the file can be used, 2 it has mistakes (each on a line: file:line, key, what was expected).
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        config = load(file, os.environ)
    except ConfigError as error:
        _print_mistakes(error.problems, as_json=as_json)
        raise SystemExit(MISTAKES) from None
    for name, reason in config.off.items():
        click.echo(f"channel {name} is off: {reason}", err=True)
    click.echo(_json(config) if as_json else effective(config).rstrip("\n"))


def _print_mistakes(problems: tuple[Problem, ...], *, as_json: bool) -> None:
    for problem in problems:
        click.echo(str(problem), err=True)
    if as_json:
        click.echo(_object(ok=False, problems=[asdict(problem) for problem in problems]))


def _json(config: Config) -> str:
    return _object(ok=True, off=config.off, config=effective_values(config))


def _object(**values: Any) -> str:
    return json.dumps({"ok": False, "problems": [], "off": {}, "config": None} | values, indent=2)
