"""Watches one process by the daemon's own parts, at a clock that is a poll further at each look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import incident_rules
from agent.config import default_config
from agent.daemon.judge import Judge
from agent.daemon.watched import WatchedSet
from agent.drill.steps import DrillError
from agent.incidents import Observation
from agent.model import Instant, State, Subject
from agent.watch.cgroups import LimitReader
from agent.watch.probes.chosen import ChosenProbes
from agent.watch.processes import Sampler
from agent.watch.targets import Target

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from agent.incidents import Change, Incident
    from agent.model import Process

SERVICE = "leakwatch-drill"


class FastWatch:
    """Real samples of a real process, with the time between them skipped; closes what it holds open.

    It judges by the built-in options: a drill is the same on every machine, whatever the file says.
    """

    def __init__(self, process: Process, start: Instant) -> None:
        config = default_config()
        self.now = start
        self.poll_s = config.poll_interval_s
        self.incident: Incident | None = None
        self._options = config.incidents
        self._judge = Judge(config)
        self._set = WatchedSet(Sampler(), LimitReader(), ChosenProbes())
        opened, _ = self._set.update([Target(SERVICE, process, {}, None)], start.t_s)
        self._one = opened[0]
        self._judge.open(process.key, self._one.birth_t_s)

    @property
    def heap_bytes(self) -> int:
        """The heap at the latest look; 0 before the first."""
        return self._one.sample.heap_bytes if self._one.sample else 0

    @property
    def state(self) -> State:
        """How bad people would have been told it is by now."""
        return self.incident.state if self.incident else State.SOUND

    def look(self) -> tuple[Change, ...]:
        """Poll once, one interval later; return what people would be told of it. Raises DrillError."""
        self.now = Instant(self.now.t_s + self.poll_s, self.now.wall_s + self.poll_s)
        departures = self._set.poll(self.now.t_s)
        if departures:
            raise DrillError(f"the child is gone: {departures[0].why}")
        self._judge.add([self._one], self.now.t_s)
        about = {Subject.HEAP} if self.incident else ()
        verdicts = self._judge.verdicts(self._one, self.now.t_s, about)
        changes: list[Change] = []
        for verdict in (verdict for verdict in verdicts if verdict.subject is Subject.HEAP):
            source = self._one.limit.source if self._one.limit else ""
            seen = Observation(SERVICE, self._one.target.process, verdict, source)
            self.incident, new = incident_rules.observe(self.incident, seen, self.now, self._options)
            changes += new
        return tuple(changes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set.close_all()
