"""The way to a Datadog Agent: an address, a socket that never waits for long, a thread that sends gauges."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

from agent.alerts.dogstatsd import packed
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

EXPECTED_ADDRESS = '"udp://host:port", "unix:///path" or "unixstream:///path"'
MAX_UDP_BYTES = 1432
"""What fits into an Ethernet frame unbroken; the size that Datadog's own clients pack to."""
MAX_UNIX_BYTES = 8192
MAX_PORT = 65535
SEND_TIMEOUT_S = 1.0
"""A socket whose reader is slower has no room for us."""
_UDP = re.compile(r"udp://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s/:\[\]@]+)):(?P<port>\d{1,5})/?")
_UNIX = re.compile(r"(?P<scheme>unix|unixstream)://(?P<path>/\S+)")


class Address(NamedTuple):
    """Where the Agent listens."""

    scheme: str
    """ "udp", "unix" (datagrams) or "unixstream"."""
    place: str
    """A host, or the path of a socket."""
    port: int = 0

    def __str__(self) -> str:
        return f"{self.place}:{self.port}" if self.scheme == "udp" else self.place

    @property
    def most_bytes(self) -> int:
        """How much one datagram should hold."""
        return MAX_UDP_BYTES if self.scheme == "udp" else MAX_UNIX_BYTES


def parse_address(text: str) -> Address:
    """Return the parts of an address. Raises ValueError with what was expected."""
    unix, udp = _UNIX.fullmatch(text), _UDP.fullmatch(text)
    if unix:
        return Address(unix["scheme"], unix["path"])
    if udp and 0 < int(udp["port"]) <= MAX_PORT:
        return Address("udp", udp["v6"] or udp["host"], int(udp["port"]))
    raise ValueError(EXPECTED_ADDRESS)


class Datagrams:
    """One socket to the Agent: opened at the first datagram, and again after a failure."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def send(self, payload: bytes) -> None:
        """Hand one datagram over. Raises OSError, also where the host says at once that nobody listens."""
        try:
            if self._socket is None:
                self._socket = _connected(self._address)
            self._hand_over(self._socket, payload)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _hand_over(self, ours: socket.socket, payload: bytes) -> None:
        if self._address.scheme == "unixstream":
            ours.sendall(struct.pack("<I", len(payload)) + payload)
            return
        ours.send(payload)
        refused = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused:
            raise OSError(refused, os.strerror(refused))


def _connected(address: Address) -> socket.socket:
    """Return a socket that sends to the address. Raises OSError."""
    kind = socket.SOCK_STREAM if address.scheme == "unixstream" else socket.SOCK_DGRAM
    family, target = socket.AF_UNIX, address.place  # type: socket.AddressFamily, object
    if address.scheme == "udp":
        family, _, _, _, target = socket.getaddrinfo(address.place, address.port, type=kind)[0]
    ours = socket.socket(family, kind)
    try:
        ours.settimeout(SEND_TIMEOUT_S)
        ours.connect(target)  # type: ignore[arg-type]  # a path or a pair, as the family wants it
    except OSError:
        ours.close()
        raise
    return ours


_ADVICE = {
    errno.ECONNREFUSED: "is the Datadog Agent running, with DogStatsD on?",
    errno.ENOENT: "there is no such socket, is the Datadog Agent running?",
    errno.EACCES: "the socket may not be written to, is this user in the group dd-agent?",
}


def explain(error: OSError, address: Address) -> str:
    """Return why a datagram was not taken, and what to do about it."""
    if isinstance(error, socket.gaierror):
        return f"{address} does not take datagrams: the name cannot be resolved"
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return f"{address} does not take datagrams: no room within {SEND_TIMEOUT_S:g} s"
    why = (error.strerror or "the connection broke").lower()
    advice = _ADVICE.get(error.errno or 0)
    return f"{address} does not take datagrams: {why}" + (f"; {advice}" if advice else "")


class GaugeSender:
    """Sends batches of lines on a thread of its own, so that no tick waits for a socket or a name.

    Gauges are worth something now or not at all: what cannot be sent is dropped and counted, and a batch
    that is still waiting when the next one comes gives way to it.
    """

    def __init__(self, channel: str, address: Address) -> None:
        self._channel = channel
        self._address = address
        self._socket = Datagrams(address)
        self._changed = threading.Condition()
        self._batch: Sequence[bytes] = ()
        self._stopping = False
        self._why = ""
        self._dropped_since = 0
        self.dropped = 0
        """Lines that were not sent since the start."""
        self._thread = threading.Thread(target=self._work, name=f"gauges-{channel}", daemon=True)
        self._thread.start()

    def offer(self, lines: Sequence[bytes]) -> None:
        """Hand over the newest lines; never waits."""
        with self._changed:
            self._count_dropped(len(self._batch))
            self._batch = lines
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """Send no more; waits at most so long for what is being sent."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (lines := self._take()) is not None:
            self._send(lines)
        self._socket.close()

    def _take(self) -> Sequence[bytes] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._batch or self._stopping)
            taken, self._batch = self._batch, ()
            return None if self._stopping else taken

    def _send(self, lines: Sequence[bytes]) -> None:
        sent = 0
        try:
            for payload in packed(lines, self._address.most_bytes):
                self._socket.send(payload)
                sent += payload.count(b"\n") + 1
        except OSError as error:
            with self._changed:
                self._count_dropped(len(lines) - sent)
            self._say(explain(error, self._address))
        else:
            self._say("")

    def _count_dropped(self, lines: int) -> None:
        self.dropped += lines
        self._dropped_since += lines

    def _say(self, why: str) -> None:
        """Log once that gauges are dropped and why, and once how many were when they pass again."""
        if why == self._why:
            return
        self._why = why
        if why:
            why = f"{why}; will keep trying"
            log_event(logger, "dropped", level=logging.WARNING, channel=self._channel, what="gauges", why=why)
            return
        with self._changed:
            missed, self._dropped_since = self._dropped_since, 0
        log_event(logger, "delivered", channel=self._channel, what="gauges", dropped=missed)
