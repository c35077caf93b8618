"""`leakwatch silence`: nobody is told of a service for a time; it is kept through restarts."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from agent import status_file
from agent.alerts import ledger
from agent.cli import state
from agent.cli.ack import asked_by
from agent.cli.incidents import silence_line, silence_values
from agent.clock import SystemClock
from agent.silences import MAX_SILENCE_S, Silence
from agent.status_file import StatusFileError
from agent.text import MAX_NAME_CHARS, one_line
from agent.units import format_duration, parse_duration

if TYPE_CHECKING:
    from pathlib import Path

    from agent.model import Instant

NO_SUCH = 1
LEAST_S = 60.0


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds; ends the command with what was expected."""
    del ctx, param
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if not LEAST_S <= seconds <= MAX_SILENCE_S:
        bounds = f"{format_duration(LEAST_S)} to {format_duration(MAX_SILENCE_S)}"
        expected = f'expected a duration such as "90m" or "4h", of {bounds}'
        raise click.BadParameter(f"{expected}, found {one_line(value)}")
    return seconds


@click.command("silence")
@click.argument("service", required=False)
@click.argument("duration", required=False, callback=_seconds)
@click.option("--end", "ends", is_flag=True, help="End the silence of SERVICE now.")
@click.option("--by", help="Who asks for it. Default: the user who calls.")
@click.option("--why", default="", help="Why, for those who wonder.")
@click.option("--json", "as_json", is_flag=True, help="Print the silences as one JSON object.")
@state.options
def command(  # noqa: PLR0913 - what a person may say of a silence
    service: str | None,
    duration: float | None,
    by: str | None,
    why: str,
    config_file: str | None,
    state_dir: str | None,
    *,
    ends: bool,
    as_json: bool,
) -> None:
    """Tell nobody of SERVICE (a name or a shell pattern) for a DURATION such as 4h; list silences without.

    Incidents go on being found, logged and kept. The end of one that was told before is told. When the
    silence is over, what is still open and was never told, or became worse, is told in one message. It is
    kept through restarts, and never lasts longer than asked when the clock is set.

    \b
    Exit codes: 0 done, 1 there is no such silence to end,
                2 a mistake in the call, or the state cannot be used.
    """  # noqa: D301 - click's mark for lines that stay as they are
    directory, now = state.directory(config_file, state_dir), SystemClock().now()
    if service is None:
        _list(directory, now, as_json=as_json)
    elif ends:
        _end(directory, service)
    elif duration is None:
        state.end(f"for how long? e.g. `leakwatch silence {one_line(service)} 4h`, or --end")
    else:
        pattern = _checked(service)
        asked = Silence(pattern, now, now.wall_s + duration, asked_by(by), one_line(why))
        with state.visiting(directory, writes=True) as visit:
            visit.write(lambda c: ledger.store_silence(c, asked))
        click.echo(silence_line(asked, now))
        if unknown := _unknown(directory, pattern):
            click.echo(unknown, err=True)


def _list(directory: Path, now: Instant, *, as_json: bool) -> None:
    with state.visiting(directory, as_json=as_json) as visit:
        holding = [one for one in visit.read(ledger.silences) if one.left_s(now) > 0]
    if as_json:
        click.echo(json.dumps({"silences": [silence_values(one, now) for one in holding]}, indent=2))
    else:
        click.echo("\n".join(silence_line(one, now) for one in holding) or "nothing is silenced")


def _end(directory: Path, service: str) -> None:
    with state.visiting(directory, writes=True) as visit:
        ended = visit.write(lambda c: ledger.delete_silence(c, service))
        known = [one.pattern for one in visit.read(ledger.silences)]
    if not ended:
        listed = f"there are those of {', '.join(known)}" if known else "nothing is silenced"
        state.end(f"no silence of {one_line(service)}; {listed}", NO_SUCH)
    click.echo(f"the silence of {one_line(service)} is over")


def _checked(service: str) -> str:
    """Return the pattern; ends the command for one that is no service's name."""
    if not service.strip() or not service.isprintable() or len(service) > 2 * MAX_NAME_CHARS:
        state.end("expected the name of a service or a shell pattern such as 'api-*'")
    return service


def _unknown(directory: Path, pattern: str) -> str:
    """Return a remark where the daemon watches no such service at present; empty where it does."""
    try:
        told = status_file.read(directory)
    except StatusFileError:
        return ""
    services = {one.service for one in told.watching} | {one.name for one in told.view.services}
    if any(fnmatchcase(service, pattern) for service in services):
        return ""
    return f"note: no service that is watched now fits {one_line(pattern)}"
