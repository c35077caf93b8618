"""Chooses which probe follows which process, and says once when a runtime's figures are missing or back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agent.clock import Clock, SystemClock
from agent.logs import log_event
from agent.watch.probes.background import STALE_POLLS, Background
from agent.watch.probes.base import Asked
from agent.watch.probes.jvm import JvmProbe
from agent.watch.probes.node import NodeProbe
from agent.watch.probes.prometheus import EndpointProbe
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import ProcessKey
    from agent.watch.probes.base import Probe, RuntimeFigures

logger = logging.getLogger(__name__)

FILE_AGAIN_S = 300.0
"""A runtime whose file could not be read is tried again after this: it may still have been starting."""
HSPERFDATA = "hsperfdata"


def all_asked() -> tuple[Asked, ...]:
    """Return what can be asked for figures; of those that suit a process the first one is."""
    return (EndpointProbe(), NodeProbe())


class Read(NamedTuple):
    """The figures of one process as of a poll; None where there are none."""

    key: ProcessKey
    figures: RuntimeFigures | None


@dataclass(slots=True)
class _Followed:
    """One process whose runtime tells something, or should."""

    target: Target
    asked: Asked | None
    by_file: bool = False
    """Whether it is followed by the file that its JVM publishes."""
    file_again_t_s: float = float("-inf")
    silent_polls: int = 0
    """In a row, without figures of a file that is followed."""

    @property
    def is_jvm(self) -> bool:
        return self.target.process.runtime == "jvm"

    @property
    def where(self) -> str:
        return HSPERFDATA if self.asked is None or self.by_file else self.asked.where(self.target)

    def is_for(self, target: Target) -> bool:
        """Whether a later selection wants the same."""
        own, new = self.target, target
        return own.process.runtime == new.process.runtime and (
            own.entry is new.entry or own.entry == new.entry
        )


class _Missing(NamedTuple):
    """Why a process of a service has no figures, and whether it was this one of which people were told."""

    service: str
    why: str
    told: bool


class ChosenProbes:
    """A JVM is followed by its file; where that cannot be read, and all others, by whoever can be asked.

    Not thread-safe: it belongs to the thread that polls, which never waits for an answer. Whoever has no
    figures is judged by its anonymous memory alone; that is logged once, and again when they are back.
    """

    def __init__(
        self, asked: Sequence[Asked] = (), jvm: Probe | None = None, clock: Clock | None = None
    ) -> None:
        self._asked = asked
        self._jvm: Probe = jvm or JvmProbe()
        self._background = Background(clock or SystemClock())
        self._followed: dict[ProcessKey, _Followed] = {}
        self._missing: dict[ProcessKey, _Missing] = {}

    @property
    def pending(self) -> int:
        """How many processes have been asked about and have not answered yet."""
        return self._background.pending

    def follow(self, target: Target) -> bool:
        """Begin to follow a process, or go on as its new entry wants it; False where there is nothing to."""
        key, known = target.process.key, self._followed.get(target.process.key)
        if known is not None and known.is_for(target):
            known.target = target
            return True
        if known is not None:
            self.close(key)
        asked = next((one for one in self._asked if one.suits(target)), None)
        if asked is not None or target.process.runtime == "jvm":
            self._followed[key] = _Followed(target, asked)
        return key in self._followed

    def poll(self, t_s: float) -> list[Read]:
        """Return everybody's figures, and have asked who is to be asked. Never waits."""
        for key, one in self._followed.items():
            if one.is_jvm and not one.by_file and t_s >= one.file_again_t_s:
                one.by_file = self._jvm.open(one.target.process)
                one.file_again_t_s = t_s + FILE_AGAIN_S
            if one.by_file:
                self._background.close(key)
            elif one.asked is not None and key not in self._background:
                self._background.follow(one.target, one.asked)
        self._background.poll()
        read = [Read(key, self._newest(key, one)) for key, one in self._followed.items()]
        for key, figures in read:
            self._tell(self._followed[key], figures)
        return read

    def close(self, key: ProcessKey) -> None:
        """Forget a process; an unknown one is no error."""
        self._jvm.close(key)
        self._background.close(key)
        self._followed.pop(key, None)
        self._missing.pop(key, None)

    def stop(self, timeout_s: float) -> None:
        """End the threads that ask; what is followed is closed one by one."""
        self._background.stop(timeout_s)

    def _newest(self, key: ProcessKey, one: _Followed) -> RuntimeFigures | None:
        return self._jvm.read(key) if one.by_file else self._background.newest(key)

    def _tell(self, one: _Followed, figures: RuntimeFigures | None) -> None:
        """Log once that a process has no figures, of processes of one service with one reason the first."""
        key, service = one.target.process.key, one.target.service
        by_file = one.by_file or one.asked is None
        why = self._jvm.why(key) if by_file else self._background.why(key)
        one.silent_polls = one.silent_polls + 1 if one.by_file and figures is None else 0
        if 0 < one.silent_polls <= STALE_POLLS:
            return  # a file that is written anew, or one that makes no sense every other time
        if figures is not None:
            was = self._missing.pop(key, None)
            if was is not None and was.told:
                _log(one, logging.INFO, "the runtime's figures are there again")
        elif why and key not in self._missing:
            known = any(other.service == service and other.why == why for other in self._missing.values())
            self._missing[key] = _Missing(service, why, told=not known)
            if not known:
                _log(one, logging.WARNING, why, then="its anonymous memory alone is judged")


def _log(one: _Followed, level: int, why: str, then: str | None = None) -> None:
    target = one.target
    pid = target.process.key.pid
    log_event(
        logger, "probe", level=level, service=target.service, pid=pid, source=one.where, why=why, then=then
    )
