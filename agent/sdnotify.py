"""Tells systemd how the service is: ready, reloading, alive, stopping (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.text import one_line

if TYPE_CHECKING:
    from collections.abc import MutableMapping

MAX_STATUS_CHARS = 200
SEND_TIMEOUT_S = 1.0
"""The manager's queue is full only when the manager hangs; we must not hang with it."""


class Notifier:
    """Sends one datagram a call to `$NOTIFY_SOCKET`; without it every call does nothing. Never raises.

    Takes the variables out of `environ`, so that no child speaks in our name.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int | None = None) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        interval_us = environ.pop("WATCHDOG_USEC", "")
        watched_pid = environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = _watchdog_s(interval_us, watched_pid, os.getpid() if pid is None else pid)

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often `watchdog` is to be called: half of what systemd waits; None when it does not wait."""
        return None if self._watchdog_s is None else self._watchdog_s / 2

    def ready(self, status: str) -> None:
        """Tell that the start, or a reload, is done."""
        self._send("READY=1", _status(status))

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Tell that we are alive; call it after a completed tick only."""
        if self._watchdog_s is not None:
            self._send("WATCHDOG=1")

    def reloading(self, monotonic_usec: int) -> None:
        """Tell that a reload begins, at this CLOCK_MONOTONIC microsecond; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_usec}")

    def stopping(self) -> None:
        """Tell that the end begins."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(SEND_TIMEOUT_S)
            out.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> str:
    return f"STATUS={one_line(text, MAX_STATUS_CHARS)}"


def _watchdog_s(interval_us: str, watched_pid: str, pid: int) -> float | None:
    """Return seconds between signs of life, None when none are asked of us (sd_watchdog_enabled(3))."""
    if not interval_us.isdigit() or int(interval_us) == 0:
        return None
    return int(interval_us) / 1e6 if watched_pid in ("", str(pid)) else None
