"""A keeper over a real state file, with channels that note what they would be sent, and a clock that is told.

with KeeperRig(tmp_path) as rig:
    rig.see("api", State.WARNING)      # a tick in which a process of api alarms
    assert rig.told("slack") == ["api opened"]
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fakes import FakeClock
from incident_samples import process, seen

from agent.alerts.archive import Chapter, story
from agent.alerts.outbox import Outbox
from agent.config import Config
from agent.daemon.keeper import IncidentKeeper
from agent.daemon.watched import Departure, Watched
from agent.statedir import STATE_FILE
from agent.watch.options import Match, WatchEntry
from agent.watch.targets import Target

if TYPE_CHECKING:
    from agent.model import Alert, Instant, State

POLL_S = 10.0


@dataclass(frozen=True, slots=True)
class Wants:
    """A channel that takes these severities and every end."""

    name: str
    severities: tuple[str, ...] = ("warning", "critical")

    def wants(self, alert: Alert) -> bool:
        return str(alert.severity) in self.severities

    def send(self, alert: Alert) -> None:
        raise AssertionError(f"{self.name} sends nothing here: {alert}")


@dataclass
class KeeperRig:
    """Ticks of a daemon, as far as incidents see them."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)
    services: tuple[str, ...] = ("api", "worker")
    clock: FakeClock = field(default_factory=FakeClock)
    running: dict[int, Watched] = field(default_factory=dict)
    captures: Any = None
    """Who is asked for evidence; nobody without it."""

    def __enter__(self) -> Self:
        self.channels = {"slack": Wants("slack"), "pagerduty": Wants("pagerduty", ("critical",))}
        self.lines: list[tuple[str, dict[str, Any]]] = []
        self._ear = _Ear(self.lines)
        logger = logging.getLogger("agent")
        self._before = logger.level
        logger.addHandler(self._ear)
        logger.setLevel(logging.INFO)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.outbox.close()
        logger = logging.getLogger("agent")
        logger.removeHandler(self._ear)
        logger.setLevel(self._before)

    def start(self) -> None:
        entries = tuple(WatchEntry(name, Match(command=name)) for name in self.services)
        config = replace(Config(watch=entries, snapshots=self.captures is not None), **self.options)
        self.outbox = Outbox(self.folder / STATE_FILE)
        self.keeper = IncidentKeeper(config, "web-3", self.outbox, self.channels, self.captures, lambda: None)

    def restart(self, down_s: float = 0.0) -> None:
        """Die without a word and start again."""
        self.outbox.close()
        self.clock.advance(down_s)
        self.start()
        self.keeper.depart_missing(self.running.values(), self.clock.now())

    def runs(self, service: str, *pids: int) -> None:
        """Let processes of a service be watched from now on."""
        for pid in pids:
            target = Target(service, process(pid), {}, None)
            self.running[pid] = Watched(target, self.clock.now().t_s)

    def ends(self, pid: int) -> None:
        gone = self.running.pop(pid)
        self.keeper.depart([Departure(gone.key, gone.target.service, "ended")], self.clock.now())

    def tick(self, *verdicts: tuple[int, State], cut: bool = False, **figures: Any) -> Instant:
        """Let one poll pass in which these processes are judged so; `cut` leaves before its end."""
        now = self.clock.advance(POLL_S)
        self.keeper.begin(list(self.running.values()), now)
        for pid, state in verdicts:
            one = seen(state, now.t_s, pid=pid, onset_t_s=now.t_s - 300.0, **figures)
            self.keeper.observe(self.running[pid], one.verdict, now)
        if not cut:
            self.keeper.finish(now)
        return now

    def ticks(self, seconds: float, *verdicts: tuple[int, State]) -> None:
        for _ in range(round(seconds / POLL_S)):
            self.tick(*verdicts)

    def told(self, channel: str) -> list[str]:
        """Return what waits for a channel, in order: service and transition."""
        return [f"{alert.service} {alert.transition}" for alert in self.alerts(channel)]

    def alerts(self, channel: str) -> list[Alert]:
        rows = self.outbox._file.read(  # noqa: SLF001 - all at once, not the first of each incident
            lambda c: c.execute(
                "SELECT id FROM deliveries WHERE channel = ? ORDER BY rowid", (channel,)
            ).fetchall()
        )
        chapters = {i: self.story(i) for i in {key.split("/")[0] for (key,) in rows}}
        keys = [key.split("/")[:2] for (key,) in rows]
        return [next(c.alert for c in chapters[i] if c.alert.sequence == int(n)) for i, n in keys]

    def story(self, incident_id: str) -> list[Chapter]:
        return self.outbox._file.read(lambda c: story(c, incident_id))  # noqa: SLF001 - as commands read it

    def said(self, word: str) -> list[dict[str, Any]]:
        return [pairs for said, pairs in self.lines if said == word]


class _Ear(logging.Handler):
    def __init__(self, lines: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.getMessage(), dict(getattr(record, "pairs", {}))))
