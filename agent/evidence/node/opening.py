"""A session with a Node process's inspector: the open one, or one opened by SIGUSR1 and closed again."""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.evidence.node import scripts
from agent.evidence.rights import READ
from agent.evidence.source import SourceError
from agent.inspector import places
from agent.inspector.client import LIST_TIMEOUT_S, InspectorError, Session, session, target_id
from agent.logs import log_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.inspector.places import Place

logger = logging.getLogger(__name__)

OPENS_WITHIN_S = 2.0
"""Node has it open some 20 ms after the signal, as soon as its main thread gets to run."""
CLOSES_WITHIN_S = 2.0
LOOK_EVERY_S = 0.05
MAX_PLACES = 3
CLOSED = "its inspector is not open (node --inspect, or the entry allows `inspector`)"
_NODE = re.compile(r"node(js)?( \(deleted\))?")


def why_closed(held: HeldProcess, *, by_signal: bool) -> str:
    """Return why no session could be opened, found out without sending anything; empty where one could.

    Raises ProcessGoneError.
    """
    try:
        with held.folder(".") as fd:
            if places.places(fd):
                return "" if places.same_network(fd) else _OTHER_NETWORK
            if not by_signal:
                return CLOSED
            return _why_no_signal(held, fd)
    except PermissionError:
        return READ
    except (OSError, ValueError) as error:
        held.check()
        return str(error)


@contextmanager
def inspected(name: str, held: HeldProcess, *, timeout_s: float, by_signal: bool) -> Iterator[Session]:
    """Yield a session that ends within `timeout_s`, and close what had to be opened for it.

    Raises SourceError with the reason, OSError, ProcessGoneError. `name` is the source's.
    """
    try:
        with held.folder(".") as fd:
            where = _open_places(fd)
            opened = not where and by_signal
            if opened:
                where = _open(held, fd)
            place = _first(name, where)
            try:
                with session(place, timeout_s) as one:
                    opened = by_signal and bool(one.evaluate(scripts.opened(now=opened)))
                    yield one
                    if opened:
                        _close(one, held, fd)
                        opened = False
            finally:
                if opened:  # the session has broken
                    with suppress(InspectorError), session(place, CLOSES_WITHIN_S) as one:
                        _close(one, held, fd)
    except InspectorError as error:
        held.check()
        raise SourceError(f"{name}: {error}") from None


_OTHER_NETWORK = "its inspector listens in a network namespace that is not ours"


def _open_places(fd: int) -> tuple[Place, ...]:
    found = places.places(fd)
    if found and not places.same_network(fd):
        raise InspectorError(_OTHER_NETWORK)
    return found


def _first(name: str, where: tuple[Place, ...]) -> Place:
    """Return the place that answers as Node's inspector does. Raises SourceError, InspectorError."""
    if not where:
        raise SourceError(f"{name}: {CLOSED}")
    if len(where) == 1:
        return where[0]
    for place in where[:MAX_PLACES]:
        with suppress(InspectorError):
            target_id(place, LIST_TIMEOUT_S)
            return place
    raise InspectorError(f"none of the {len(where)} places where it listens answers as Node's inspector")


def _close(one: Session, held: HeldProcess, fd: int) -> None:
    """Close the inspector, unless others use it: Node would hold the program until they have gone."""
    if places.connections(fd, one.place.port) > 1:
        log_event(logger, "evidence", pid=held.key.pid, inspector="left open", why="somebody is connected")
        return
    one.evaluate(scripts.CLOSE)
    one.wait_closed()
    log_event(logger, "evidence", pid=held.key.pid, inspector="closed")


def _open(held: HeldProcess, fd: int) -> tuple[Place, ...]:
    """Send SIGUSR1 after proof that Node handles it, and return where it listens then."""
    pidfd = os.pidfd_open(held.key.pid)
    try:
        why = _why_no_signal(held, fd)  # after the descriptor: it is the same process
        if why:
            raise InspectorError(why)
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
    finally:
        os.close(pidfd)
    found = _wait_open(fd)
    if not found:
        raise InspectorError("it was sent SIGUSR1 and has not opened its inspector (another handler?)")
    log_event(logger, "evidence", pid=held.key.pid, inspector="opened", why="SIGUSR1")
    return found


def _wait_open(fd: int) -> tuple[Place, ...]:
    never = threading.Event()
    for _ in range(round(OPENS_WITHIN_S / LOOK_EVERY_S)):
        never.wait(LOOK_EVERY_S)
        found = places.places(fd)
        if found:
            return found
    return ()


def _why_no_signal(held: HeldProcess, fd: int) -> str:
    if not _NODE.fullmatch(os.readlink("exe", dir_fd=fd).rpartition("/")[2]):
        return "its program is not called node: no SIGUSR1 is sent to it"
    if places.hints(fd).signal_off:
        return "it was started with --disable-sigusr1"
    if not places.same_network(fd):
        return _OTHER_NETWORK
    if held.check().stopped:
        return "it is stopped"
    return "" if handles(held.read("status"), signal.SIGUSR1) else "it does not handle SIGUSR1"


def handles(status: bytes, number: int) -> bool:
    """Whether a handler is set for a signal, by SigCgt of /proc/PID/status: otherwise it may kill."""
    caught = re.search(rb"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)
