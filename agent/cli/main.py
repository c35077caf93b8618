"""The group of commands; each is loaded only when it is called."""

from __future__ import annotations

import importlib
import sys

import click

COMMANDS = {
    "run": "Watch, until stopped.",
    "check": "Check a configuration file and print what is in force with it.",
    "route": "Say where an alert of a service would go, and why.",
    "doctor": "Say what would be watched and read, and what would not work, and why.",
    "status": "Say how the running daemon is doing.",
    "incidents": "List incidents, or tell the story of one.",
    "ack": "Take care of an incident: no more reminders of it.",
    "silence": "Tell nobody of a service for a time.",
    "watch": "Follow some processes on the terminal.",
    "dump": "Take evidence of a process now.",
    "diff": "Say what changed between two captures.",
    "report": "Make a page of an incident or a capture.",
    "gc": "Ask a process for a full collection, and say what is left.",
    "replay": "Judge recorded series.",
    "drill": "Rehearse: a real leak, real evidence, a marked alert through every channel.",
    "version": "Print the versions of leakwatch and of what it uses.",
}
"""The module of the same name in this folder holds each as `command`."""

EXIT_CODES = """
\b
Exit codes:
  0  all went well (what a command finds is told in its own help)
  1  it ran, and something is wrong (a leak is open, a capture or a check failed)
  2  a mistake in the call, the configuration or a file that was given
  3  not running (status), or another instance runs (run)
"""


class LazyGroup(click.Group):
    """Knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a newcomer needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None for an unknown one."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"agent.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leakwatch", prog_name="leakwatch")
def group() -> None:
    """Watch processes from outside, find the ones that leak memory, explain it, and tell who is on call."""


def main() -> None:
    """Run the command line; a broken pipe and Ctrl-C end quietly."""
    try:
        group(prog_name="leakwatch")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
