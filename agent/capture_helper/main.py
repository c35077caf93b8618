"""`leakwatch-capture`: the helper's program, started by systemd when somebody connects."""

from __future__ import annotations

import logging
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING

# One thread is enough for what is counted here, and OpenBLAS takes one a core where nobody stops it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click

from agent import __version__, logs
from agent.capture_helper.rules import ALLOWABLE, LOOKING, Rules
from agent.capture_helper.server import Server
from agent.capture_helper.work import Work
from agent.clock import SystemClock
from agent.evidence.sources import all_sources
from agent.logs import log_event
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from agent.model import Process, ProcessKey

logger = logging.getLogger(__name__)

CANNOT_RUN = 3
STDERR_FD = 2
FIRST_PASSED_FD = 3
"""SD_LISTEN_FDS_START (sd_listen_fds(3))."""


@click.command("leakwatch-capture")
@click.option(
    "--user", "users", multiple=True, default=("leakwatch",), help="Served besides root. Repeatable."
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=click.Choice(ALLOWABLE),
    help="What watch entries may ask for; nothing of it otherwise. Repeatable.",
)
@click.option("--serve", "more", multiple=True, help=f"Sources beside {', '.join(LOOKING)}. Repeatable.")
@click.option(
    "--idle", "idle_s", type=click.FloatRange(min=0.1), default=60.0, help="Ends after so many quiet seconds."
)
@click.version_option(__version__, prog_name="leakwatch-capture")
def command(users: tuple[str, ...], allowed: tuple[str, ...], more: tuple[str, ...], idle_s: float) -> None:
    """Take evidence of other users' processes for a leakwatch that may not.

    Serves the socket that systemd hands over (leakwatch-capture.socket): what only reads, for the user of the
    daemon and root. What may be asked beyond that is said here, not by whoever asks.

    \b
    Exit codes: 0 nobody has come for a while, 2 mistakes in the options, 3 no socket was handed over.
    """  # noqa: D301 - click's mark for lines that stay as they are
    sources = all_sources()
    unknown = sorted(set(more) - {source.name for source in sources})
    if unknown:
        names = ", ".join(sorted(source.name for source in sources))
        raise click.BadParameter(f"no source is called {', '.join(unknown)} (there are: {names})")
    timestamps, priorities = "JOURNAL_STREAM" not in os.environ, logs.journal_reads(STDERR_FD, os.environ)
    logs.configure(level="info", as_json=False, timestamps=timestamps, priorities=priorities)
    listener = passed_socket(os.environ)
    if listener is None:
        click.echo("leakwatch-capture cannot run: it is started by leakwatch-capture.socket", err=True)
        sys.exit(CANNOT_RUN)
    rules = Rules(users, (*LOOKING, *more), allowed)
    log_event(
        logger, "started", version=__version__, users=",".join(users), served=",".join(rules.served),
        allowed=",".join(allowed) or "nothing else", pid=os.getpid(),
    )  # fmt: skip
    with listener:
        Server(listener, Work(rules, sources, find_process, SystemClock()), idle_s).run()
    log_event(logger, "stopped", why="nobody has come for a while")


def passed_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """Return the one listening socket that systemd hands over (sd_listen_fds(3)); None where there is none.

    Takes the variables out of `environ`, so that no child takes the socket for its own.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count != "1":
        return None
    if not stat.S_ISSOCK(os.fstat(FIRST_PASSED_FD).st_mode):
        return None
    os.set_inheritable(FIRST_PASSED_FD, False)  # noqa: FBT003 - the function takes nothing else
    return socket.socket(fileno=FIRST_PASSED_FD)


def find_process(key: ProcessKey) -> Process | None:
    """Return a live process as the helper itself sees it; None where it has ended, or is another one now."""
    return Discovery().process(key)
