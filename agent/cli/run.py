"""`leakwatch run`: the daemon itself."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from agent import logs, malloc, statedir
from agent.bootstrap import Setting, build, log_start
from agent.clock import SystemClock
from agent.config import DEFAULT_PATH, Config, ConfigError, default_config, load
from agent.model import Instant
from agent.status_file import WRITE_EVERY_S, StatusFileError, read
from agent.web.options import WebError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.daemon.loop import Daemon

MISTAKE = 2
CANNOT_RUN = 3
STDERR_FD = 2


@click.command("run")
@click.option("--config", "config_path", metavar="FILE", help=f"YAML file (as shipped: {DEFAULT_PATH}).")
@click.option("--state-dir", metavar="DIR", help="Instead of the configured one.")
@click.option("--log-format", type=click.Choice(["logfmt", "json"]), help="Instead of the configured one.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Likewise.")
@click.option(
    "--time-scale",
    type=click.FloatRange(1.0, 3600.0),
    default=1.0,
    help="Rehearse: one second counts as so many. Never in production.",
)
def command(
    config_path: str | None,
    state_dir: str | None,
    log_format: str | None,
    log_level: str | None,
    time_scale: float,
) -> None:
    """Watch until stopped by SIGTERM or Ctrl-C; SIGHUP reads the file again.

    Without --config it watches every process that this user may read and that is larger than 50 MB (at most
    500), logs to standard error, keeps its state in the user's state directory, and sends nothing.

    \b
    Exit codes: 0 stopped as asked, 2 mistakes in the configuration (each on a line), 3 cannot run: another
    instance uses the state directory, or it cannot be written, or the web address is taken.
    """  # noqa: D301 - click's mark for lines that stay as they are
    config = _config(config_path)
    _configure_logs(config, log_format, log_level)
    try:
        directory = statedir.choose(state_dir or config.state_dir, os.environ, os.geteuid())
        statedir.create(directory)
        with statedir.InstanceLock(directory):
            clock = SystemClock(time_scale, _rehearsed_until(directory))
            setting = Setting(config, config_path or "", directory, clock, os.environ, time_scale)
            _run(setting)
    except (statedir.StateError, WebError, OSError) as error:
        click.echo(f"leakwatch cannot run: {error}", err=True)
        raise SystemExit(CANNOT_RUN) from None


def _config(path: str | None) -> Config:
    if path is None:
        return default_config()
    try:
        return load(path, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        raise SystemExit(MISTAKE) from None


def _configure_logs(config: Config, log_format: str | None, log_level: str | None) -> None:
    in_journal = "JOURNAL_STREAM" in os.environ and not sys.stderr.isatty()
    logs.configure(
        level=log_level or config.log.level,
        as_json=(log_format or config.log.format) == "json",
        timestamps=not in_journal,
        priorities=logs.journal_reads(STDERR_FD, os.environ),
    )


def _rehearsed_until(directory: Path) -> Instant | None:
    """Return a moment after everything that an earlier rehearsal has stored; None where nothing says it."""
    try:
        told = read(directory)
    except StatusFileError:
        return None
    return Instant(told.written_t_s + WRITE_EVERY_S, told.written_wall_s + WRITE_EVERY_S)


def _run(setting: Setting) -> None:
    malloc.one_arena()
    with ExitStack() as stack:
        asked_to_stop = _handle_signals_while_starting()
        log_start(setting)
        daemon = build(setting, stack)
        _handle_signals(daemon)
        if asked_to_stop:
            daemon.stop()
        daemon.run()
        daemon.shut_down()


def _handle_signals_while_starting() -> list[int]:
    """Return where the signals that ask for a stop meanwhile are noted; the file has only just been read.

    An exception instead could be raised in the middle of an import, which then fails for another reason.
    """
    asked: list[int] = []  # an Event has a lock, which a handler may find taken by what it interrupts
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return asked


def _handle_signals(daemon: Daemon) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.ask_reload())
