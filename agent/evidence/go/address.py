"""Where a process serves pprof, and whether it is this process that serves it."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.consent import Consent
    from agent.evidence.kernel.procfs import HeldProcess
    from agent.model import Process, ProcessKey

MAX_REMEMBERED = 10_000
MAX_DESCRIPTORS = 100_000
_LISTENING = "0A"
"""TCP_LISTEN (include/net/tcp_states.h)."""
_LOCAL_COLUMN, _STATE_COLUMN, _INODE_COLUMN = 1, 3, 9
"""Of /proc/net/tcp (Documentation/networking/proc_net_tcp.rst)."""


class Address(NamedTuple):
    """The base address of pprof, as an entry names it."""

    base: str
    """Without a slash at its end."""
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it means the machine itself, seen from our own network namespace."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


class Addresses:
    """Remembers which address the entry of a process names: the port asks for it before anything else.

    Only `suits` is handed the consent, `why_not` and `collect` are not.
    """

    def __init__(self) -> None:
        self._known: dict[ProcessKey, str] = {}

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether the entry of a process that may be Go names an address."""
        if consent.pprof is None or process.runtime not in ("go", "native", "unknown"):
            return False
        self._known.pop(process.key, None)
        self._known[process.key] = consent.pprof
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return True

    def of(self, key: ProcessKey) -> Address:
        """Return the address of a process. Raises ValueError where there is none, or it is none."""
        if key not in self._known:
            raise ValueError("its entry names no address of pprof")
        return parse(self._known[key])


def parse(url: str) -> Address:
    """Read a base address. Raises ValueError."""
    parts = urlsplit(url.strip().rstrip("/"))
    if parts.scheme != "http" or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("pprof is no address like http://127.0.0.1:6060/debug/pprof")
    return Address(parts.geturl(), parts.hostname, parts.port or 80)


def why_not(held: HeldProcess, address: Address) -> str:
    """Return why an address cannot be this process's; empty where it is, or where nobody can tell.

    Only an address on the loopback can be told, and only of a process in our own network namespace.
    Raises ProcessGoneError.
    """
    held.check()
    if not address.is_loopback or not _same_network(held):
        return ""
    tables = [held.read(f"net/{name}").decode("ascii", "replace") for name in ("tcp", "tcp6")]
    inodes = {inode for table in tables for inode in listening(table.splitlines()[1:], address.port)}
    if not inodes:
        return f"nothing listens on {address}"
    try:
        owns = _holds(held, inodes)
    except PermissionError:
        return ""
    return "" if owns else f"{address} is served by another process"


def listening(rows: Iterable[str], port: int) -> set[int]:
    """Return the inodes of the sockets that listen on a port, by the rows of /proc/net/tcp or tcp6."""
    found = set()
    for row in rows:
        columns = row.split()
        if len(columns) <= _INODE_COLUMN or columns[_STATE_COLUMN] != _LISTENING:
            continue
        if int(columns[_LOCAL_COLUMN].rpartition(":")[2], 16) == port:
            found.add(int(columns[_INODE_COLUMN]))
    return found


def _same_network(held: HeldProcess) -> bool:
    """Whether it lives in our network namespace; so much is assumed where it may not be asked."""
    try:
        with held.folder("ns") as folder:
            return os.readlink("net", dir_fd=folder) == os.readlink("/proc/self/ns/net")  # noqa: PTH115 - a link that is no path
    except PermissionError:
        return True


def _holds(held: HeldProcess, inodes: set[int]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    with held.folder("fd") as folder:
        for number in os.listdir(folder)[:MAX_DESCRIPTORS]:  # noqa: PTH208 - a descriptor, not a path
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(number, dir_fd=folder) in wanted:
                    return True
    return False


class Served:
    """What asks a process at the address that its entry names."""

    def __init__(self) -> None:
        self._addresses = Addresses()

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether its entry names where it serves pprof; nobody is asked unasked."""
        return self._addresses.suits(process, consent)

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why it could not be asked."""
        try:
            return why_not(held, self._addresses.of(process.key))
        except ValueError as error:
            return str(error)
