"""`leakwatch status`: whether the daemon runs, and what it has told last."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NoReturn

import click

from agent import status_file
from agent.cli import chosen
from agent.cli.tables import table, when
from agent.clock import SystemClock
from agent.config import ConfigError
from agent.statedir import SYSTEM_DIRECTORY, StateError
from agent.status_file import DaemonStatus, StatusFileError, condition
from agent.text import one_line
from agent.units import format_bytes, format_chance, format_duration, format_rate
from agent.web.health import MISSED_INTERVALS, Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.model import Instant
    from agent.status_file import IncidentLine, WatchedProcess
    from agent.web.health import ChannelHealth

HEALTHY = 0
TROUBLED = 1
UNKNOWN = 2
NOT_RUNNING = 3
"""As `systemctl status` has it."""
MAX_PROCESSES_SHOWN = 10
_INCIDENT_HEAD = (
    "INCIDENT", "SERVICE", "SUBJECT", "KIND", "EVENT", "SEVERITY", "SURE", "SINCE", "EVIDENCE", "NOTE",
)  # fmt: skip
COLOURS = {Status.HEALTHY: "green", Status.DEGRADED: "yellow", Status.CRITICAL: "red"}


@click.command("status")
@click.option("--config", "config_file", type=click.Path(), help="File that names the state directory.")
@click.option("--state-dir", type=click.Path(), help="Where the daemon keeps its state.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(config_file: str | None, state_dir: str | None, *, as_json: bool) -> None:
    """Tell whether leakwatch runs, what it watches, its open incidents, and what its channels could not send.

    Without options the file /etc/leakwatch/leakwatch.yaml is asked for the state directory, if there is
    one; otherwise it is /var/lib/leakwatch for root and ~/.local/state/leakwatch for everybody else.

    \b
    Exit codes: 0 running and healthy,
                1 running, with open incidents, alerts that were refused, or no tick in time,
                2 it cannot be told (no such file, or no permission),
                3 not running.
    """  # noqa: D301 - click's mark for lines that stay as they are
    directory, pid = _find(config_file, state_dir, as_json=as_json)
    if pid is None:
        _say({"running": False, "state_dir": str(directory)}, _not_running(directory), as_json=as_json)
        raise SystemExit(NOT_RUNNING)
    try:
        told = status_file.read(directory)
    except StatusFileError as error:
        _end(f"leakwatch is running (pid {pid or 'unknown'}), but {error}", as_json=as_json)
    if pid and told.pid != pid:
        why = f"leakwatch is running (pid {pid}) and has told nothing yet: what lies in {directory} is older"
        _end(why, as_json=as_json)
    now = SystemClock().now()
    word = condition(told, now)
    values = {"running": True, "status": str(word), "state_dir": str(directory)}
    told_values = status_file.to_plain(told) if as_json else {}
    _say(values | told_values, "\n".join(_lines(told, word, directory, now)), as_json=as_json)
    raise SystemExit(HEALTHY if word is Status.HEALTHY else TROUBLED)


def _find(config_file: str | None, state_dir: str | None, *, as_json: bool) -> tuple[Path, int | None]:
    """Return the state directory and the pid of who uses it."""
    try:
        file = chosen.config_file(config_file)
        directory = chosen.state_directory(state_dir, file, os.environ)
        return directory, status_file.holder(directory)
    except ConfigError as error:
        _end(f"{error}\ngive --state-dir to do without the file", as_json=as_json)
    except StateError as error:
        _end(str(error), as_json=as_json)


def _end(why: str, *, as_json: bool) -> NoReturn:
    """Say why nothing can be told, and leave."""
    if as_json:
        click.echo(json.dumps({"running": None, "why": why}))
    click.echo(why, err=True)
    raise SystemExit(UNKNOWN)


def _say(values: dict[str, Any], text: str, *, as_json: bool) -> None:
    click.echo(json.dumps(values, indent=2) if as_json else text)


def _not_running(directory: Path) -> str:
    text = f"leakwatch is not running (nobody uses {directory})"
    if directory != SYSTEM_DIRECTORY and SYSTEM_DIRECTORY.exists():
        text += f"\nthe system's own keeps its state in {SYSTEM_DIRECTORY}: ask with --state-dir, as root"
    return text


def _lines(told: DaemonStatus, word: Status, directory: Path, now: Instant) -> Iterator[str]:
    view = told.view
    since = when(now.wall_at(view.started_t_s))
    up = format_duration(now.t_s - view.started_t_s)
    running = f"leakwatch {view.version} is running (pid {told.pid}) since {since} ({up}): "
    yield running + click.style(str(word), fg=COLOURS[word])
    yield f"  {_ticks(told, now)}"
    yield f"  configuration {told.config_path or 'built in (no file)'}, state in {directory}"
    yield ""
    yield from _watching(told)
    yield ""
    yield from _incidents(told, now)
    yield ""
    yield from _channels(told)


def _ticks(told: DaemonStatus, now: Instant) -> str:
    view, every = told.view, f"every {format_duration(told.view.interval_s)}"
    silent_s = now.t_s - told.written_t_s
    if silent_s > status_file.WRITE_EVERY_S + MISSED_INTERVALS * view.interval_s:
        return f"it has told nothing for {format_duration(silent_s)}: it hangs, or cannot write its state"
    if view.last_tick_t_s is None:
        return f"no tick completed yet ({every})"
    ago = format_duration(now.t_s - view.last_tick_t_s)
    return f"last tick {ago} ago, {every}, took {1000 * view.tick_s:.0f}ms; {view.ticks} so far"


def _watching(told: DaemonStatus) -> Iterator[str]:
    services = {process.service for process in told.watching} | {one.name for one in told.view.services}
    everybody = len(told.watching) + told.unlisted
    text = f"watching {_count(everybody, 'process', 'es')} of {_count(len(services), 'service', 's')}"
    if told.dropped:
        text += f"; {told.dropped} more left out (discover.max_processes)"
    if told.denied:
        text += f"; {told.denied} may not be read at all"
    yield text
    worst = sorted(told.watching, key=lambda p: (-p.state, -(p.rate_bytes_per_hour or 0.0), -p.heap_bytes))
    rows = [_process(process) for process in worst[:MAX_PROCESSES_SHOWN]]
    yield from table(("SERVICE", "PID", "NAME", "HEAP", "LIMIT", "RATE", "SURE", "STATE"), rows)
    if everybody > MAX_PROCESSES_SHOWN:
        yield f"  and {everybody - MAX_PROCESSES_SHOWN} more"
    for process in worst:
        if process.disproof:
            yield f"  {one_line(process.service)} {process.pid}: {one_line(process.disproof)}"


def _process(process: WatchedProcess) -> tuple[str, ...]:
    limit, rate = process.limit_bytes, process.rate_bytes_per_hour
    share = f"{100.0 * process.heap_bytes / limit:.0f}% of {format_bytes(limit)}" if limit else "-"
    return (
        process.service,
        str(process.pid),
        process.name,
        format_bytes(process.heap_bytes),
        share,
        "-" if rate is None else format_rate(rate),
        _sure(process.probability),
        str(process.state),
    )


def _incidents(told: DaemonStatus, now: Instant) -> Iterator[str]:
    yield f"incidents open: {len(told.incidents) or 'none'}"
    rows = [_incident(incident, now) for incident in told.incidents]
    yield from table(_INCIDENT_HEAD, rows)
    for silence in told.view.silences:
        left = format_duration(max(0.0, silence.until_wall_s - now.wall_s))
        until = f"until {when(silence.until_wall_s)} ({left} left)"
        yield f"silenced: {one_line(silence.service)} {until} by {one_line(silence.by)}"


def _incident(incident: IncidentLine, now: Instant) -> tuple[str, ...]:
    lasted = format_duration(now.wall_s - incident.since_wall_s)
    since = f"{when(incident.since_wall_s)} ({lasted})"
    severity, event = str(incident.state), str(incident.event)
    return (
        incident.incident_id,
        incident.service,
        str(incident.subject),
        incident.kind or "-",
        event,
        severity,
        _sure(incident.probability),
        since,
        incident.evidence or "-",
        incident.standing,
    )


def _sure(probability: float | None) -> str:
    return "-" if probability is None else format_chance(probability)


def _channels(told: DaemonStatus) -> Iterator[str]:
    channels = told.view.channels
    yield "channels:" if channels else "channels: none, alerts are only logged"
    for channel in channels:
        yield f"  {channel.name}: {_channel(channel)}"
        for parked in told.parked:
            if parked.channel == channel.name:
                yield f"    parked {parked.incident_id}: {one_line(parked.error)}"
    for parked in told.parked:
        if parked.channel not in {channel.name for channel in channels}:
            yield f"  {parked.channel}: parked {parked.incident_id}: {one_line(parked.error)}"


def _channel(channel: ChannelHealth) -> str:
    words = [f"{channel.delivered} delivered"]
    words += [f"{channel.pending} pending"] if channel.pending else []
    words += [f"{channel.parked} parked"] if channel.parked else []
    text = ", ".join(words)
    return f"{text}; last error: {one_line(channel.last_error)}" if channel.last_error else text


def _count(number: int, word: str, plural: str) -> str:
    return f"{number} {word}{'' if number == 1 else plural}"
