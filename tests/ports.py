"""A port for a program that has to be told one, and opens it a little later."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

NEVER_GIVEN = range(20_000, 32_768)
"""Below those that Linux gives to whoever asks for any (`net.ipv4.ip_local_port_range`): nobody takes one of
these between our look and the program's."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    while True:
        port = random.choice(NEVER_GIVEN)  # noqa: S311 - two runs side by side shall rarely meet
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
