"""Journal: an alert as one entry of systemd's journal, with fields to search by.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/; the fields are those of systemd.journal-fields(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.alerts.base import ChannelOptions, DeliveryError
from agent.alerts.message import document, encoded, plain_text
from agent.model import State
from agent.options import option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.alerts.tools import Tools
    from agent.model import Alert

MESSAGE_ID = "b7a1b2a2e6d94f5c8c1f0a4e7d3592c6"
"""Made for leakwatch: `journalctl MESSAGE_ID=...` shows its alerts and nothing else."""
SEND_TIMEOUT_S = 5.0

_NOTICE, _INFO = 5, 6
_PRIORITIES = {State.CRITICAL: 2, State.WARNING: 4}
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def _socket_problem(value: str) -> str | None:
    return None if value.startswith("/") else "the absolute path of a socket"


@dataclass(frozen=True, slots=True)
class JournalOptions(ChannelOptions):
    """Which journal."""

    socket: str = option(
        "/run/systemd/journal/socket", describe="where journald listens", check=_socket_problem
    )

    def build(self, name: str, tools: Tools) -> JournalChannel:  # noqa: ARG002 - it needs none
        """Return the channel."""
        return JournalChannel(name, self)


class JournalChannel:
    """Writes entries of its own, apart from the agent's log lines."""

    def __init__(self, name: str, options: JournalOptions) -> None:
        self.name = name
        self._socket = options.socket

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: what the journal is told is the routes' matter."""
        return True

    def send(self, alert: Alert) -> None:
        """Hand the entry to journald. Raises DeliveryError, never permanent."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.connect(self._socket)
                _send(sender, serialized(fields(alert)))
        except OSError as error:
            why = "it does not read" if isinstance(error, TimeoutError) else (error.strerror or str(error))
            raise DeliveryError(f"journald at {self._socket} cannot be reached: {why.lower()}") from None


def fields(alert: Alert) -> list[tuple[str, str]]:
    """Return the entry's fields, in order; names may repeat."""
    told = document(alert)
    named = ("incident", "sequence", "transition", "event", "subject", "severity", "service", "host")
    return [
        ("MESSAGE", told["title"]),
        ("MESSAGE_ID", MESSAGE_ID),
        ("PRIORITY", str(_priority(alert))),
        ("SYSLOG_IDENTIFIER", "leakwatch"),
        ("LEAKWATCH_DELIVERY", told["delivery"]),
        *((f"LEAKWATCH_{name.upper()}", str(told[name])) for name in named),
        ("LEAKWATCH_PID", str(alert.pid)),
        *([("LEAKWATCH_DRILL", "yes")] if alert.drill else []),
        ("LEAKWATCH_TEXT", plain_text(alert)),
        ("LEAKWATCH_ALERT", encoded(alert).decode()),
    ]


def serialized(entry: Iterable[tuple[str, str]]) -> bytes:
    """Return the entry as journald reads it: values of several lines carry their length, others end there."""
    return b"".join(_field(name.encode(), value.encode()) for name, value in entry)


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def _priority(alert: Alert) -> int:
    """Return the level of syslog(3)."""
    return _NOTICE if alert.transition.ends else _PRIORITIES.get(alert.severity, _INFO)


def _send(sender: socket.socket, entry: bytes) -> None:
    try:
        sender.send(entry)
    except OSError as error:
        if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
            raise
        _send_as_file(sender, entry)


def _send_as_file(sender: socket.socket, entry: bytes) -> None:
    """Pass a datagram that is too long as a file in memory, sealed so that nobody can change it under way."""
    with os.fdopen(os.memfd_create("leakwatch-alert", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as memory:
        memory.write(entry)
        memory.flush()
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(sender, [], [memory.fileno()])
