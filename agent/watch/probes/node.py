"""Asks Node for its heap through an inspector that is open already; it never opens one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.inspector import places
from agent.inspector.client import InspectorError, Session, target_id
from agent.inspector.kept import KeptSessions, warned_of_end
from agent.watch.probes.base import ASK_TIMEOUT_S, ProbeError, RuntimeFigures
from agent.watch.procfs import parse_stat

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.inspector.places import Place
    from agent.model import ProcessKey
    from agent.watch.targets import Target

MAX_PLACES = 3
STAT_BYTES = 4096
MAX_HEAP_BYTES = 2**48
MAX_MESSAGE_BYTES = 65_536
"""What is asked at every poll has an answer of some hundred bytes."""
_INSPECTED = re.compile(r"(^|\s)--inspect(-brk|-wait)?(=|\s|$)")
_LIMIT = "require('v8').getHeapStatistics().heap_size_limit"


class NodeProbe:
    """Asks `Runtime.getHeapUsage` of programs started with --inspect.

    The session stays open from one poll to the next, as Node writes "Debugger attached." to the program's
    standard error at the beginning of each.
    """

    def __init__(self, proc_root: Path = Path("/proc"), timeout_s: float = ASK_TIMEOUT_S) -> None:
        self._root = proc_root
        self._timeout_s = timeout_s
        self._kept = KeptSessions()
        self._limits: dict[ProcessKey, int] = {}

    def suits(self, target: Target) -> bool:
        """Whether its command line opens the inspector."""
        process = target.process
        return process.runtime == "node" and _INSPECTED.search(process.command) is not None

    def where(self, target: Target) -> str:  # noqa: ARG002 - the port's; its port is found when it is asked
        """Return whom it asks."""
        return "its inspector"

    def ask(self, target: Target, others: AbstractSet[int]) -> RuntimeFigures:  # noqa: ARG002 - the port's
        """Return the heap in use. Raises ProbeError."""
        key = target.process.key
        try:
            session = self._kept.take(key) or self._connect(key)
            try:
                with session.limited(self._timeout_s):
                    used = _bytes(session.call("Runtime.getHeapUsage").get("usedSize"))
            except InspectorError:
                session.close()
                raise
        except InspectorError as error:
            raise ProbeError(str(error)) from None
        self._kept.keep(key, session)
        return RuntimeFigures(used, None, self._limits.get(key), garbage=True)

    def forget(self, key: ProcessKey) -> None:
        """Close the session with a process."""
        self._kept.drop(key)
        self._limits.pop(key, None)

    def _connect(self, key: ProcessKey) -> Session:
        """Open a session with the first place that answers. Raises InspectorError, ProbeError."""
        why = InspectorError("it was started with --inspect, and listens nowhere")
        for place in self._places(key)[:MAX_PLACES]:
            try:
                session, limit_bytes = _begin(place, self._timeout_s / MAX_PLACES)
            except InspectorError as error:
                why = error
            else:
                if limit_bytes:
                    self._limits[key] = limit_bytes
                return session
        raise why

    def _places(self, key: ProcessKey) -> tuple[Place, ...]:
        """Return where the inspector of that very process may be. Raises ProbeError."""
        try:
            fd = os.open(self._root / str(key.pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise ProbeError("the process has exited") from None
        try:
            if parse_stat(_stat(fd)).start_ticks != key.start_ticks:
                raise ProbeError("the process has exited, its pid is used again")
            if not places.same_network(fd):
                raise ProbeError("it has a network namespace of its own")
            return places.places(fd)
        except PermissionError:
            raise ProbeError("its files may not be read: that takes its user or CAP_SYS_PTRACE") from None
        except (OSError, ValueError) as error:
            raise ProbeError(f"its files cannot be read: {error}") from None
        finally:
            os.close(fd)


def _begin(place: Place, timeout_s: float) -> tuple[Session, int]:
    """Open a session, and return the limit of the heap with it. Raises InspectorError."""
    session = Session(place, target_id(place, timeout_s), MAX_MESSAGE_BYTES)
    try:
        with session.limited(timeout_s):
            session.connect(timeout_s)
            warned_of_end(session)
            return session, _bytes(session.evaluate(_LIMIT))
    except BaseException:
        session.close()
        raise


def _bytes(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < MAX_HEAP_BYTES:
        raise InspectorError("its inspector does not answer with a size")
    return value


def _stat(process_fd: int) -> bytes:
    fd = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process_fd)
    try:
        return os.read(fd, STAT_BYTES)
    finally:
        os.close(fd)
