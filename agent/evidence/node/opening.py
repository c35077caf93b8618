"""A session with a Node process's inspector: the open one, or one opened by SIGUSR1 and closed again."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.evidence.kernel.procfs import has_signal
from agent.evidence.node import scripts
from agent.evidence.rights import READ
from agent.evidence.source import SourceError
from agent.inspector import places
from agent.inspector.client import InspectorError, Session, session, target_id
from agent.logs import log_event
from agent.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.inspector.places import Place

logger = logging.getLogger(__name__)

PART = 0.2
"""Of the time, for finding the inspector, for opening it and for closing it; the session has the rest."""
LOOK_EVERY_S = 0.05
"""Node has it open some 20 ms after the signal, as soon as its main thread gets to run."""
MAX_PLACES = 3
CLOSED = "its inspector is not open (start it with --inspect, or `allow: {inspector: true}`)"
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
    part_s = PART * timeout_s
    try:
        with held.folder(".") as fd:
            opened, found = False, _answering(places.places(fd), part_s, fd)
            if found is None and by_signal:
                opened, found = True, _open(held, fd, part_s)
            if found is None:
                raise SourceError(f"{name}: {CLOSED}")
            try:
                with session(*found, (1 - 3 * PART) * timeout_s) as one:
                    opened = by_signal and bool(one.evaluate(scripts.opened(now=opened)))
                    yield one
                    if opened:
                        _close(one, held, fd)
                        opened = False
            finally:
                if opened:  # the session has broken
                    with suppress(InspectorError), session(*found, part_s) as one:
                        _close(one, held, fd)
    except InspectorError as error:
        held.check()
        raise SourceError(f"{name}: {error}") from None


_OTHER_NETWORK = "its inspector listens in a network namespace that is not ours"
_Found = tuple["Place", str]
"""Where the inspector is, and the id of its program."""


def _answering(where: Collection[Place], timeout_s: float, fd: int) -> _Found | None:
    """Return the first of these places that answers as Node's inspector does; None where none does.

    Raises InspectorError where nothing can be asked from here.
    """
    if where and not places.same_network(fd):
        raise InspectorError(_OTHER_NETWORK)
    for place in list(where)[:MAX_PLACES]:
        with suppress(InspectorError):
            return place, target_id(place, timeout_s / MAX_PLACES)
    return None


def _close(one: Session, held: HeldProcess, fd: int) -> None:
    """Close the inspector, unless others use it: Node would hold the program until they have gone."""
    if places.connections(fd, one.place.port) > 1:
        log_event(logger, "evidence", pid=held.key.pid, inspector="left open", why="somebody is connected")
        return
    one.evaluate(scripts.CLOSE)
    one.wait_closed()
    log_event(logger, "evidence", pid=held.key.pid, inspector="closed")


def _open(held: HeldProcess, fd: int, timeout_s: float) -> _Found:
    """Send SIGUSR1 after proof that Node handles it, and return where the inspector is then."""
    before = places.places(fd)
    pidfd = os.pidfd_open(held.key.pid)
    try:
        why = _why_no_signal(held, fd)  # after the descriptor: it is the same process
        if why:
            raise InspectorError(why)
        signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
    finally:
        os.close(pidfd)
    never = threading.Event()
    for _ in range(math.ceil(timeout_s / LOOK_EVERY_S)):
        never.wait(LOOK_EVERY_S)
        found = _answering(set(places.places(fd)) - set(before), timeout_s, fd)
        if found is not None:
            log_event(logger, "evidence", pid=held.key.pid, inspector="opened", why="SIGUSR1")
            return found
    took = format_duration(timeout_s)
    raise InspectorError(f"it has not opened its inspector within {took} of SIGUSR1; it still may")


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
    return has_signal(status, "SigCgt", number)
