"""A real daemon for tests: bootstrap's own parts, real processes and receivers, and a clock that is told.

with LeakyChild() as child, DaemonRig(tmp_path, {"api": child.pid}) as rig:
    rig.run(7200)                           # two steady hours in a second
    rig.leak(child, 100e6, 900)             # then a quarter of an hour of 100 MB/h
    (opened,) = rig.said("LEAK")
"""

from __future__ import annotations

import logging
import mmap
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import yaml

from agent.bootstrap import Setting, build
from agent.clock import SystemClock, Waking
from agent.config import load
from agent.daemon.loop import Daemon
from agent.logs import KeyValueFormatter
from agent.model import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from children import LeakyChild
    from receiver import Receiver


POLL_S = 10.0
PAGE_BYTES = mmap.PAGESIZE
SETTLE_TIMEOUT_S = 10.0
FINDER = "leakwatch-discovery"
TOLD = ("LEAK", "LIMIT", "updated", "acknowledged", "reminded", "resolved", "gone")
"""The words of what people are told."""


class HeldClock:
    """Time moves when `advance` says so; who waits on a thread of his own really waits until then."""

    def __init__(self) -> None:
        self.instant = SystemClock().now()
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[float, Waking]] = {}

    def now(self) -> Instant:
        return self.instant

    def advance(self, seconds: float) -> Instant:
        self.instant = Instant(self.instant.t_s + seconds, self.instant.wall_s + seconds)
        with self._changed:
            due = [event for t_s, event in self._waiting.values() if t_s <= self.instant.t_s]
        for event in due:
            event.set()
        return self.instant

    def wait(self, event: Waking, seconds: float) -> bool:
        name, end_t_s = threading.current_thread().name, self.instant.t_s + seconds
        with self._changed:
            self._waiting[name] = (end_t_s, event)
            self._changed.notify_all()
        event.wait()
        with self._changed:
            del self._waiting[name]
            self._changed.notify_all()
        in_time = self.instant.t_s < end_t_s
        if not in_time:
            event.clear()  # `advance` has set it to wake us
        return in_time

    def wake(self, name: str) -> None:
        """Wake one thread before its time, and wait until it rests again."""
        self.rests(name)
        with self._changed:
            _, event = self._waiting[name]
        event.set()
        self.rests(name)

    def rests(self, name: str) -> None:
        """Wait until a thread has nothing to do but to wait."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._rests(name), SETTLE_TIMEOUT_S), f"{name} is busy"

    def _rests(self, name: str) -> bool:
        return name in self._waiting and not self._waiting[name][1].is_set()


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the log."""

    t_s: float
    """Since the rig began, on its own clock."""
    word: str
    pairs: dict[str, Any]
    line: str


class _Ear(logging.Handler):
    def __init__(self, hear: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        self._hear(record)


class DaemonRig:
    """Builds, ticks, stops and builds again; `options` are laid over the configuration file's top level."""

    def __init__(self, folder: Path, services: Mapping[str, int | Mapping[str, Any]], **options: Any) -> None:
        self.clock = HeldClock()
        self.began_t_s = self.clock.instant.t_s
        self.state_dir = folder / "state"
        self.state_dir.mkdir(mode=0o700)
        self.config_path = folder / "leakwatch.yaml"
        self.heard: list[Said] = []
        self.environ: dict[str, str] = {}
        self.poll_s = POLL_S
        self._hearing = threading.Condition()
        self._formatter = KeyValueFormatter(timestamps=False)
        self._stack = ExitStack()
        self.daemon: Daemon | None = None
        self.configure(services, **options)

    def __enter__(self) -> Self:
        logger = logging.getLogger("agent")
        self._before = logger.level
        self._ear = _Ear(self._hear)
        logger.addHandler(self._ear)
        logger.setLevel(logging.INFO)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        logger = logging.getLogger("agent")
        logger.removeHandler(self._ear)
        logger.setLevel(self._before)

    def configure(self, services: Mapping[str, int | Mapping[str, Any]], **options: Any) -> None:
        """Write the configuration file; a number is the pid that a service selects."""
        watch = [
            {"service": name} | ({"match": {"pid": match}} if isinstance(match, int) else dict(match))
            for name, match in services.items()
        ]
        values = {"watch": watch, "host": "web-3", "discovery_interval": "7d"} | options
        self.config_path.write_text(yaml.safe_dump(values, sort_keys=False))

    def start(self) -> None:
        """Build a daemon on the state directory, as a start of the program does."""
        config = load(self.config_path, self.environ)
        self.poll_s = config.poll_interval_s
        setting = Setting(config, str(self.config_path), self.state_dir, self.clock, self.environ)
        self.daemon = build(setting, self._stack)

    def stop(self) -> None:
        """Stop it as SIGTERM does."""
        if self.daemon is not None:
            self.daemon.shut_down()
            self.daemon = None
        self._stack.close()

    def restart(self, down_s: float = 0.0) -> None:
        """Stop it, let time pass, and start it again."""
        self.stop()
        self.clock.advance(down_s)
        self.start()

    def tick(self) -> None:
        """Poll once, now, and wait until what it told was sent or has failed, with its evidence."""
        assert self.daemon is not None
        before = len(self.heard)
        self.daemon.tick(self.clock.now())
        for told in self.heard[before:]:
            if told.word in TOLD:
                self._wait_for_outcome(told)

    def run(self, seconds: float, between: Callable[[float], object] | None = None) -> None:
        """Let time pass, poll by poll; `between` is called before each with the seconds passed."""
        for i in range(1, round(seconds / self.poll_s) + 1):
            if between is not None:
                between(i * self.poll_s)
            self.clock.advance(self.poll_s)
            self.tick()

    def leak(self, child: LeakyChild, bytes_per_hour: float, seconds: float) -> None:
        """Let time pass while the child really grows at this rate."""
        grown = 0

        def grow(passed_s: float) -> None:
            nonlocal grown
            due = int(bytes_per_hour * passed_s / 3600.0 / PAGE_BYTES) * PAGE_BYTES
            if due > grown:
                child.grow(due - grown)
                grown = due

        self.run(seconds, grow)

    def rebuild(self, **parts: Any) -> Daemon:
        """Return a daemon of the same parts but for those given, e.g. a finder that fails."""
        assert self.daemon is not None
        own = self.daemon._parts  # noqa: SLF001 - so that a fault can be put where no input can
        return Daemon(load(self.config_path, {}), replace(own, **parts), lambda: None)

    def search(self) -> None:
        """Let the finder look for processes now, on its own thread."""
        self.clock.wake(FINDER)

    @property
    def passed_s(self) -> float:
        """Seconds since the rig began."""
        return self.clock.instant.t_s - self.began_t_s

    def said(self, *words: str) -> list[Said]:
        """Return the lines that began with one of these words."""
        return [one for one in list(self.heard) if one.word in words]

    def wait_until_said(self, word: str, **pairs: object) -> None:
        """Wait for a line with these pairs, from any thread."""
        with self._hearing:
            arrived = self._hearing.wait_for(lambda: self._was_said(word, pairs), SETTLE_TIMEOUT_S)
        assert arrived, f"{word} {pairs} was not said"

    def _was_said(self, word: str, pairs: Mapping[str, object]) -> bool:
        return any(pairs.items() <= one.pairs.items() for one in self.said(*word.split("|")))

    def _wait_for_outcome(self, told: Said) -> None:
        incident = told.pairs["incident"]
        if told.pairs.get("evidence") == "taking":
            self.wait_until_said("evidence", incident=incident)
        channels = str(told.pairs["channels"])
        for channel in channels.split(",") if channels != "none" else ():
            transition = told.pairs.get("transition", told.word)
            about = {"incident": incident, "transition": transition, "channel": channel}
            self.wait_until_said("delivered|delayed|parked", **about)

    def _hear(self, record: logging.LogRecord) -> None:
        pairs = dict(getattr(record, "pairs", {}))
        line = self._formatter.format(record)
        with self._hearing:
            self.heard.append(Said(self.passed_s, record.getMessage(), pairs, line))
            self._hearing.notify_all()


def slack(receiver: Receiver) -> dict[str, Any]:
    """Return a channel of people that is told to a receiver."""
    return {"slack": {"webhook_url": f"{receiver.url}/services/T0SECRET/xoxHookPathSecret"}}
