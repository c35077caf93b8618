"""`leakwatch route SERVICE`: where an alert would go, and what each route makes of it."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from agent.alerts.notes import MemoryNotes
from agent.alerts.options import KINDS, SEVERITIES
from agent.bootstrap import build_channels
from agent.cli import chosen
from agent.clock import SystemClock
from agent.config import ConfigError
from agent.diagnosis.routes import ask, made_up
from agent.model import Event, State
from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.diagnosis.routes import Answer, RouteAnswer
    from agent.model import Alert

NOBODY = 1
MISTAKE = 2
_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@click.command("route")
@click.argument("service")
@click.option("--config", "config_file", metavar="FILE", help="Whose routes; default: the installed file.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="warning", show_default=True)
@click.option("--kind", type=click.Choice(KINDS), default="heap", show_default=True)
@click.option("--event", type=click.Choice([str(e) for e in Event]), default="leak", show_default=True)
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Beside those of its entry.")
@click.option("--at", "at", metavar="TIME", help='"23:30" of today or "2026-07-01T23:30", local time.')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(  # noqa: PLR0913 - one for each option
    service: str,
    *,
    config_file: str | None,
    severity: str,
    kind: str,
    event: str,
    labels: tuple[str, ...],
    at: str | None,
    as_json: bool,
) -> None:
    """Tell where an alert of SERVICE would go now or at some time, and what each route makes of it.

    Nothing is sent. The routes are judged by the same code as in the daemon. An incident that is known
    already goes on to the channels that were told of it, whatever the routes say then.

    \b
    Exit codes: 0 some channel would be told, 1 nobody would, 2 a mistake in the call or the file.
    """  # noqa: D301 - click's mark for lines that stay as they are
    try:
        config = chosen.config(chosen.config_file(config_file), os.environ)
    except ConfigError as error:
        raise _mistake(str(error)) from None
    clock = SystemClock()
    wall_s = _wall_s(at, clock.now().wall_s)
    alert = made_up(service, State[severity.upper()], kind, Event(event), wall_s)
    answer = ask(config, build_channels(config, clock, MemoryNotes()), alert, _read_labels(labels))
    click.echo(json.dumps(_plain(answer), indent=2) if as_json else "\n".join(_lines(answer)))
    raise SystemExit(0 if answer.channels else NOBODY)


def _mistake(sentence: str) -> SystemExit:
    click.echo(sentence, err=True)
    return SystemExit(MISTAKE)


def _read_labels(pairs: tuple[str, ...]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    if any(not equals or not key for key, equals, _ in split):
        raise _mistake("--label: expected KEY=VALUE, e.g. team=backend")
    return {key: value for key, _, value in split}


def _wall_s(at: str | None, now_s: float) -> float:
    """Return the moment that is meant: now, a time of today, or a date and time, by the local clock."""
    if at is None:
        return now_s
    today = datetime.fromtimestamp(now_s).astimezone()
    clock_time = _CLOCK_TIME.fullmatch(at)
    if clock_time:
        hour, minute = int(clock_time[1]), int(clock_time[2])
        return today.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp()
    try:
        return datetime.fromisoformat(at).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise _mistake('--at: expected a time such as "23:30" or "2026-07-01T23:30"') from None


def _lines(answer: Answer) -> Iterator[str]:
    alert = answer.alert
    at = datetime.fromtimestamp(alert.at_wall_s).astimezone().strftime("%a %Y-%m-%d %H:%M %Z")
    what = f"{alert.severity} {alert.event} ({alert.kind or alert.subject})"
    yield one_line(f"{alert.service}: {what} at {at}{_labels(alert)}")
    if not answer.entry:
        yield '  no entry under "watch" has this name: only routes speak for it'
    if answer.own is not None:
        yield f"  its watch entry names its channels, no route is asked: {', '.join(answer.own) or 'none'}"
    elif not answer.routes:
        yield "  there are no routes: every channel is told"
    for number, route in enumerate(answer.routes if answer.own is None else (), 1):
        yield f"  route {number} to {', '.join(route.channels)}: {_verdict(route, alert)}"
    yield f"told: {', '.join(answer.channels) or 'nobody'}"
    for name, until in answer.channels.items():
        if until:
            yield f"  {name} waits for the end of quiet hours: {until}"
    for name, why in answer.not_told.items():
        yield one_line(f"  {name} is not told: {why}")


def _labels(alert: Alert) -> str:
    return "".join(f" {key}={value}" for key, value in alert.labels.items())


def _verdict(route: RouteAnswer, alert: Alert) -> str:
    if route.why_not:
        return one_line("does not fit: " + "; ".join(route.why_not))
    if not route.quiet:
        return "fits"
    waits = "which critical alerts do not heed" if alert.severity is State.CRITICAL else "warnings wait"
    return f"fits; quiet until {route.quiet}, {waits}"


def _plain(answer: Answer) -> dict[str, Any]:
    alert = answer.alert
    return {
        "service": alert.service,
        "severity": str(alert.severity),
        "event": str(alert.event),
        "subject": str(alert.subject),
        "kind": alert.kind,
        "labels": alert.labels,
        "at": datetime.fromtimestamp(alert.at_wall_s).astimezone().isoformat(),
        "entry": answer.entry,
        "entry_channels": answer.own,
        "routes": [
            {
                "channels": r.channels,
                "fits": not r.why_not,
                "why_not": r.why_not,
                "quiet_until": r.quiet or None,
            }
            for r in answer.routes
        ],
        "told": [{"channel": name, "waits_until": until or None} for name, until in answer.channels.items()],
        "not_told": answer.not_told,
    }
