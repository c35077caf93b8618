"""One transition of a story as `leakwatch incidents ID` tells it: what, why, figures, deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent.alerts.message import document
from agent.alerts.wording import first_line, items, reasons
from agent.cli.tables import iso, when
from agent.model import State, Transition
from agent.text import one_line
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.alerts.archive import Chapter, Fate
    from agent.model import Alert

_COLOURS = {State.WARNING: "yellow", State.CRITICAL: "red"}
_ARGUED = (Transition.OPENED, Transition.WORSENED)
"""Transitions whose reasons are told; the others say why in their note."""


def chapter_lines(chapter: Chapter) -> Iterator[str]:
    """Yield the lines of one transition."""
    alert = chapter.alert
    over = alert.transition.ends
    word = click.style(str(alert.transition), fg="green" if over else _COLOURS.get(alert.severity), bold=True)
    yield f"{when(alert.at_wall_s, '%Y-%m-%d %H:%M:%S')}  {word}  {first_line(alert)}"
    yield from (f"    {label:<9}{value}" for label, value in _facts(alert))
    if not chapter.fates:
        yield "    told     nobody: silenced, in a storm, or no channel wanted it"
    yield from (f"    {fate.channel}: {_fate(fate)}" for fate in chapter.fates)


def chapter_values(chapter: Chapter) -> dict[str, Any]:
    """Return one transition for JSON: the alert as a webhook gets it (docs/alert.schema.json)."""
    deliveries = [
        {
            "channel": fate.channel,
            "state": fate.state,
            "attempts": fate.attempts,
            "error": fate.last_error or None,
            "recorded": iso(fate.created_wall_s),
            "sent": iso(fate.sent_wall_s),
        }
        for fate in chapter.fates
    ]
    return {"at": iso(chapter.alert.at_wall_s), "alert": document(chapter.alert), "deliveries": deliveries}


def _facts(alert: Alert) -> Iterator[tuple[str, str]]:
    if alert.note:
        yield "why", one_line(alert.note)
    if alert.pids:
        yield "pids", ", ".join(str(pid) for pid in alert.pids)
    if alert.transition in _ARGUED:
        yield from (("reason", text) for text in reasons(alert))
    if alert.evidence and alert.evidence.directory:
        yield "evidence", one_line(alert.evidence.directory)
    yield from (("", item) for item in items(alert))


def _fate(fate: Fate) -> str:
    tries = "1 attempt" if fate.attempts == 1 else f"{fate.attempts} attempts"
    error = f": {one_line(fate.last_error)}" if fate.last_error else ""
    if fate.state == "sent" and fate.sent_wall_s is not None:
        after = format_duration(fate.sent_wall_s - fate.created_wall_s)
        return f"delivered {when(fate.sent_wall_s, '%H:%M:%S')}, {after} later, {tries}"
    if fate.state == "merged":
        return f"told by a later message{error}"
    return f"{fate.state}, {tries}{error}"
