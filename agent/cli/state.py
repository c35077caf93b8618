"""Finds the state file that a command is about, or ends the command with a sentence on why not."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from agent import status_file
from agent.alerts.state_schema import StateFileError
from agent.alerts.visit import Visit
from agent.cli import chosen
from agent.config import ConfigError
from agent.statedir import STATE_FILE, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MISTAKE = 2


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name a state directory."""
    by_file = click.option(
        "--config", "config_file", type=click.Path(), help="File that names the directory."
    )
    by_name = click.option("--state-dir", type=click.Path(), help="Where the daemon keeps its state.")
    return by_file(by_name(command))


def directory(config_file: str | None, state_dir: str | None) -> Path:
    """Return the state directory; ends the command where it cannot be told."""
    try:
        file = chosen.config_file(config_file)
        return chosen.state_directory(state_dir, file, os.environ)
    except ConfigError as error:
        end(f"{error}\ngive --state-dir to do without the file")
    except StateError as error:
        end(str(error))


@contextmanager
def visiting(state: Path, *, writes: bool = False, as_json: bool = False) -> Iterator[Visit]:
    """Open the state file of a directory; ends the command where it cannot be used."""
    try:
        with Visit(state / STATE_FILE, writes=writes) as visit:
            yield visit
    except StateFileError as error:
        end(str(error), as_json=as_json)


def runs(state: Path) -> bool:
    """Whether a daemon uses the directory; not known where that may not be asked counts as yes."""
    try:
        return status_file.holder(state) is not None
    except StateError:
        return True


def end(why: str, code: int = MISTAKE, *, as_json: bool = False) -> NoReturn:
    """Say why the command cannot go on, and leave."""
    if as_json:
        click.echo(json.dumps({"why": why}))
    click.echo(why, err=True)
    raise SystemExit(code)
