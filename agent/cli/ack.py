"""`leakwatch ack INCIDENT`: somebody takes care of it; the daemon hears it at its next poll."""

from __future__ import annotations

import getpass
import os

import click

from agent.alerts import archive, ledger
from agent.cli import state
from agent.clock import SystemClock
from agent.incident_parts import Acknowledgement
from agent.text import MAX_NAME_CHARS, one_line

NOT_OPEN = 1
MAX_IDS_SHOWN = 10


@click.command("ack")
@click.argument("incident_id", metavar="INCIDENT")
@click.option("--by", help="Who takes care of it. Default: the user who calls.")
@click.option("--why", default="", help="What is known or done about it.")
@state.options
def command(
    incident_id: str, by: str | None, why: str, config_file: str | None, state_dir: str | None
) -> None:
    """Acknowledge an open incident, by its ID or its beginning; a storm's ID takes all of its incidents.

    Its channels are told who takes care of it. Reminders and updates stop, until it becomes worse. Its end
    is told as ever. The daemon hears it at its next poll; one that is not running does so when it starts.

    \b
    Exit codes: 0 acknowledged, 1 no open incident has this ID,
                2 several have it, or the state cannot be used.
    """  # noqa: D301 - click's mark for lines that stay as they are
    directory, now = state.directory(config_file, state_dir), SystemClock().now()
    given = Acknowledgement(asked_by(by), one_line(why), now.wall_s)
    with state.visiting(directory, writes=True) as visit:
        found = visit.read(lambda c: archive.ids_like(c, incident_id, open_only=True))
        if not found or not incident_id:
            state.end(f"no open incident {one_line(incident_id)}: see `leakwatch incidents`", NOT_OPEN)
        if len(found) > 1:
            listed = ", ".join(found[:MAX_IDS_SHOWN])
            state.end(f"{one_line(incident_id)} is the beginning of {len(found)} open incidents: {listed}")
        visit.write(lambda c: ledger.store_acknowledgement(c, found[0], given))
    when = "at its next poll" if state.runs(directory) else "when it is started: it does not run now"
    click.echo(f"{found[0]} is acknowledged by {given.by}; leakwatch hears it {when}")


def asked_by(name: str | None) -> str:
    """Return who asks: as told, else who called sudo, else the user."""
    if not name:
        try:
            name = os.environ.get("SUDO_USER") or getpass.getuser()
        except (KeyError, OSError):  # a uid without a name, as in containers
            name = f"uid {os.getuid()}"
    return one_line(name, MAX_NAME_CHARS)
