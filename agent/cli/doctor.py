"""`leakwatch doctor`: what would work and what would not, without sending anything."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from agent.cli import chosen
from agent.clock import SystemClock
from agent.config import ConfigError, default_config
from agent.diagnosis import machine, setup
from agent.diagnosis.checks import Check, Grade
from agent.diagnosis.targets import Examiner, targets
from agent.evidence.python import pyspy
from agent.statedir import StateError
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from agent.config import Config
    from agent.model import Process

SOME_FAIL = 1
MISTAKES = 2
COLOURS = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red"}
MARK_CHARS = 5


@click.command("doctor")
@click.option("--config", "config_file", type=click.Path(), help="The configuration to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_file: str | None, *, as_json: bool) -> None:
    """Check everything that watching and alerting need, and send nothing.

    Looks at the configuration and its secrets, the state directory, py-spy and the right to use it, which
    processes each watch entry matches now, what can be read of each, and its limit. Of up to 20 Python
    processes the stacks are really read, which does not stop them. What is told holds for the user who asks.

    Without --config it is /etc/leakwatch/leakwatch.yaml where that exists, else the built-in configuration.

    \b
    Exit codes: 0 all would work (there may be warnings),
                1 something would not work,
                2 the configuration has mistakes.
    """  # noqa: D301 - click's mark for lines that stay as they are
    file = chosen.config_file(config_file)
    try:
        config = chosen.config(file, os.environ)
    except ConfigError as error:
        checks = [*setup.mistakes(error.problems), *_checks_without_file()]
        _print(checks, as_json=as_json)
        raise SystemExit(MISTAKES) from None
    checks = _checks(file, config)
    _print(checks, as_json=as_json)
    raise SystemExit(SOME_FAIL if any(check.grade is Grade.FAIL for check in checks) else 0)


def _checks(file: str | None, config: Config) -> list[Check]:
    now, tool, discovery = SystemClock().now(), pyspy.find(), Discovery()
    selection = discovery.scan(config.watch, config.discover, ())
    state = _state(config)
    running = next((check.facts["pid"] for check in state if check.name == "lock"), None)
    return [
        *setup.configuration(file, config),
        *state,
        setup.web(config, running),
        *machine.machine(now, _own(discovery)),
        *machine.evidence(config, tool),
        *targets(config, selection, Examiner(config, tool, now), os.getpid()),
    ]


def _checks_without_file() -> list[Check]:
    """Return what can be said while the configuration cannot be used."""
    now = SystemClock().now()
    return [*machine.machine(now, _own(Discovery())), *machine.evidence(default_config(), pyspy.find())]


def _state(config: Config) -> list[Check]:
    try:
        directory = chosen.state_directory(config.state_dir, None, os.environ)
    except StateError as error:
        return [Check(setup.STATE, "directory", Grade.FAIL, str(error))]
    return setup.state_directory(directory, config)


def _own(discovery: Discovery) -> Process | None:
    return next((process for process in discovery.processes() if process.key.pid == os.getpid()), None)


def _print(checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        ok = not any(check.grade is Grade.FAIL for check in checks)
        click.echo(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}, indent=2))
        return
    area = ""
    for check in checks:
        if check.area != area:
            area = check.area
            click.secho(area, bold=True)
        mark = click.style(str(check.grade).ljust(MARK_CHARS), fg=COLOURS[check.grade])
        click.echo(f"  {mark}{'  ' * check.depth}{check.text}")
    click.echo(_summary(checks))


def _summary(checks: list[Check]) -> str:
    count = Counter(check.grade for check in checks)
    return f"{count[Grade.OK]} ok, {count[Grade.WARN]} warnings, {count[Grade.FAIL]} failed"
