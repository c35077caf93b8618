"""`leakwatch incidents`: what is open, what was, and the story of each, whether the daemon runs or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from agent.alerts import archive, ledger
from agent.alerts.phrases import amount, finite
from agent.cli import state
from agent.cli.chapters import chapter_lines, chapter_values
from agent.cli.tables import iso, table, when
from agent.clock import SystemClock
from agent.model import State
from agent.silences import silence_of
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.alerts.visit import Visit
    from agent.incidents import Incident
    from agent.model import Instant, Verdict
    from agent.silences import Silence
    from agent.storms import Storm

NONE_OPEN, OPEN = 0, 1
_HEAD = ("INCIDENT", "SERVICE", "SUBJECT", "SEVERITY", "OPENED", "LASTED", "HOLDS", "PIDS", "STATE")
_COLOURS = {State.WARNING: "yellow", State.CRITICAL: "red"}
MAX_PIDS = 4


@click.command("incidents")
@click.argument("incident_id", metavar="[ID]", required=False)
@click.option("--all", "with_ended", is_flag=True, help="Also those that are over, as long as they are kept.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@state.options
def command(
    incident_id: str | None,
    config_file: str | None,
    state_dir: str | None,
    *,
    with_ended: bool,
    as_json: bool,
) -> None:
    """List the open incidents; with an ID (its beginning is enough) tell the story of one.

    The story has every transition, why it happened, its figures, and what became of its message to each
    channel. A storm's ID tells that of the storm. It is read beside the running daemon, and without one.

    \b
    Exit codes: 0 nothing is open (with an ID: that incident is over),
                1 something is open,
                2 it cannot be told (no state, no permission, no such incident, several).
    """  # noqa: D301 - click's mark for lines that stay as they are
    directory, now = state.directory(config_file, state_dir), SystemClock().now()
    with state.visiting(directory, as_json=as_json) as visit:
        if incident_id is not None:
            is_open = _tell_one(visit, incident_id, as_json=as_json)
        else:
            is_open = _list(visit, now, with_ended=with_ended, as_json=as_json)
    raise SystemExit(OPEN if is_open else NONE_OPEN)


def _tell_one(visit: Visit, prefix: str, *, as_json: bool) -> bool:
    """Print the story of one; return whether it is open."""
    found = visit.read(lambda c: archive.ids_like(c, prefix))
    if len(found) != 1:
        many = f"{prefix} is the beginning of {len(found)} incidents: {', '.join(found[:10])}"
        state.end(many if found else f"no incident {one_line(prefix)} is kept", as_json=as_json)
    chapters = visit.read(lambda c: archive.story(c, found[0]))
    is_open = bool(visit.read(lambda c: archive.ids_like(c, found[0], open_only=True)))
    if as_json:
        values = [chapter_values(chapter) for chapter in chapters]
        click.echo(json.dumps({"incident": found[0], "open": is_open, "story": values}, indent=2))
    else:
        click.echo(f"{found[0]} is {'open' if is_open else 'over'}")
        for chapter in chapters:
            click.echo("\n".join(("", *chapter_lines(chapter))))
    return is_open


def _list(visit: Visit, now: Instant, *, with_ended: bool, as_json: bool) -> bool:
    """Print the incidents; return whether one is open."""
    incidents = visit.read(lambda c: archive.incidents(c, ended=with_ended))
    storms = visit.read(lambda c: archive.storms(c, ended=with_ended))
    silences = [one for one in visit.read(ledger.silences) if one.left_s(now) > 0]
    if as_json:
        values = {
            "incidents": [_values(one, silences, now) for one in incidents],
            "storms": [_storm_values(one) for one in storms],
            "silences": [silence_values(one, now) for one in silences],
        }
        click.echo(json.dumps(values, indent=2))
    else:
        click.echo("\n".join(_lines(incidents, storms, silences, now)))
    return any(not one.ended for one in incidents)


def _lines(
    incidents: Sequence[Incident], storms: Sequence[Storm], silences: Sequence[Silence], now: Instant
) -> Iterator[str]:
    still_open = [one for one in incidents if not one.ended]
    ended = len(incidents) - len(still_open)
    yield f"incidents open: {len(still_open) or 'none'}" + (f"; {ended} over" if ended else "")
    lines = list(table(_HEAD, [_row(one, silences, now) for one in incidents]))
    yield from lines[:1]
    for one, line in zip(incidents, lines[1:], strict=True):
        colour = "bright_black" if one.ended else _COLOURS.get(one.state)
        yield click.style(line, fg=colour) if colour else line
    for storm in storms:
        over = "over" if storm.ended else "open"
        services = len({entry.service for entry in storm.entries})
        yield (
            f"storm {storm.storm_id}: {len(storm.entries)} incidents of {services} services since "
            f"{when(storm.begun.wall_s)}, {over}" + _taken(storm.acknowledged)
        )
    yield from (silence_line(one, now) for one in silences)


def _row(incident: Incident, silences: Sequence[Silence], now: Instant) -> tuple[str, ...]:
    end_wall_s = incident.told.wall_s if incident.ended else now.wall_s
    pids = [str(member.key.pid) for member in incident.living or incident.members]
    more = f" and {len(pids) - MAX_PIDS} more" if len(pids) > MAX_PIDS else ""
    verdict = incident.lead.verdict
    return (
        incident.incident_id,
        incident.service,
        str(incident.subject),
        str(incident.state),
        when(incident.opened.wall_s),
        format_duration(end_wall_s - incident.opened.wall_s),
        amount(incident.subject, verdict.current),
        ",".join(pids[:MAX_PIDS]) + more,
        standing(incident, silences, now),
    )


def standing(incident: Incident, silences: Sequence[Silence], now: Instant) -> str:
    """Return whether it is open, and why nobody hears of it where that is so."""
    if incident.ended:
        return "resolved" if incident.resolved else "gone"
    silence = silence_of(incident.service, silences, now)
    silenced = silence.told(now) if silence else ""
    return "; ".join(text for text in (incident.standing(), silenced) if text) or "open"


def silence_line(silence: Silence, now: Instant) -> str:
    """Return a silence in a line."""
    left_s = silence.left_s(now)
    why = f": {one_line(silence.why)}" if silence.why else ""
    until = f"{when(now.wall_s + left_s)} ({format_duration(left_s)} left)"
    return f"silenced: {one_line(silence.pattern)} until {until} by {one_line(silence.by)}{why}"


def silence_values(silence: Silence, now: Instant) -> dict[str, Any]:
    """Return a silence for JSON."""
    return {
        "service": silence.pattern,
        "from": iso(silence.begun.wall_s),
        "until": iso(now.wall_s + silence.left_s(now)),
        "by": silence.by,
        "why": silence.why,
    }


def _values(incident: Incident, silences: Sequence[Silence], now: Instant) -> dict[str, Any]:
    verdict, silence = incident.lead.verdict, silence_of(incident.service, silences, now)
    return {
        "incident": incident.incident_id,
        "service": incident.service,
        "subject": incident.subject,
        "event": incident.event,
        "kind": verdict.kind or None,
        "severity": str(incident.state),
        "open": not incident.ended,
        "resolved": incident.resolved,
        "opened": iso(incident.opened.wall_s),
        "since": iso(incident.onset_wall_s),
        "told": iso(incident.told.wall_s),
        "sequence": incident.sequence,
        **_figures(verdict),
        "pids": [member.key.pid for member in incident.living],
        "acknowledged": incident.acknowledged._asdict() if incident.acknowledged else None,
        "silenced_until": iso(now.wall_s + silence.left_s(now)) if silence else None,
        "storm": incident.storm or None,
    }


def _figures(verdict: Verdict) -> dict[str, float | None]:
    """Return what JSON can carry: what is unknown or endless is None."""
    rate, full = verdict.rate, verdict.exhaustion_hours
    return {
        "rate_per_hour": finite(rate and rate.value),
        "growth": finite(verdict.growth),
        "current": finite(verdict.current),
        "limit": finite(verdict.limit),
        "exhaustion_hours": finite(full and full.value),
        "probability": finite(verdict.probability),
    }


def _storm_values(storm: Storm) -> dict[str, Any]:
    return {
        "storm": storm.storm_id,
        "open": not storm.ended,
        "severity": str(storm.severity),
        "began": iso(storm.begun.wall_s),
        "acknowledged": storm.acknowledged or None,
        "incidents": [entry.incident_id for entry in storm.entries],
    }


def _taken(by: str) -> str:
    return f", acknowledged by {one_line(by)}" if by else ""
