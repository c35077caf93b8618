"""One schedule of faults for the installed daemon: real processes, moody receivers, kills at any moment.

outcome = run_schedule(seed, folder)
assert outcome.violations == []
"""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import yaml
from children import LeakyChild
from fault_disks import Disk, MountError, small_disk
from installed import InstalledDaemon
from receiver import Receiver, Request

from agent.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 240
"""Clock seconds in a real one: a poll of 10 s takes place every 42 ms."""
SERVICES = 4
CHANNELS = ("first", "second")
WARN_BYTES, CRITICAL_BYTES = 25_000_000, 60_000_000
SETTLE_S, SAMPLE_S = 60.0, 0.1
SAVED_WITHIN_S = 0.75
"""Open incidents are saved every minute, a quarter of a second here: then the disk is found to have room."""
STOP_BUSY_S = 20.0
"""How long a stop may take beside receivers that hang, on a busy machine."""
LAST_LIFE = 99
"""Nothing fails any more in it, and it is stopped once everything has arrived."""
MOODS = ("take", "503", "429", "reset", "lose the answer", "hang")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One complete request and what the receiver did with it."""

    delivery: str
    """Incident and sequence."""
    key: str
    life: int
    mood: str

    @property
    def incident(self) -> str:
        return self.delivery.rpartition("/")[0]

    @property
    def sequence(self) -> int:
        return int(self.delivery.rpartition("/")[2])


class MoodyReceiver(Receiver):
    """Answers each request as chance has it while `moody`, else takes it."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self.moody = False
        self.life = 0
        self.arrivals: list[Arrival] = []
        self.on_arrival: Callable[[], None] = lambda: None

    def take(self, request: Request) -> Callable[[Any], None]:
        if len(request.body) < int(request.headers.get("Content-Length") or 0):
            return lambda _: None  # its sender was killed in the middle of it
        mood = self._chance.choice(MOODS) if self.moody else "take"
        told = request.headers["X-Leakwatch-Delivery"], request.headers["X-Leakwatch-Dedup-Key"]
        self.arrivals.append(Arrival(*told, self.life, mood))
        self.on_arrival()
        self._set(mood)
        return super().take(request)

    def _set(self, mood: str) -> None:
        match mood:
            case "503":
                self.respond_with(503, times=1)
            case "429":
                self.respond_with(429, {"Retry-After": "60"}, times=1)
            case "reset" | "lose the answer":
                self.reset(times=1)
            case "hang":
                self.hang(times=1)

    @property
    def taken(self) -> list[Arrival]:
        return [one for one in self.arrivals if one.mood == "take"]


@dataclass(slots=True)
class Outcome:
    """What one schedule showed."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    """What was done, for people."""


class Schedule:
    """The parts of one schedule; `run` plays it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.outcome = Outcome(seed)
        self.chance = Random(seed)  # noqa: S311 - moments
        self.folder = folder
        self.token = f"faults-{folder.name}-{seed}"
        self.receivers = [MoodyReceiver(Random(seed + n)) for n in range(len(CHANNELS))]  # noqa: S311 - the same
        self.children: dict[int, LeakyChild] = {}
        self.killed_lives: set[int] = set()
        self.lines: dict[int, list[str]] = {}
        """What each life of the daemon has said."""
        self.disk: Disk | None = None
        self.state_dir = folder / "state"
        self.config = folder / "leakwatch.yaml"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for receiver in self.receivers:
            self._stack.enter_context(receiver)
        with suppress(MountError):
            self.disk = self._stack.enter_context(small_disk(self.folder / "disk", "16m"))
            self.state_dir = self.disk.path / "state"
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.children.values():
            child.kill()
        self._stack.close()

    def run(self) -> Outcome:
        self.write_config()
        for life in range(self.chance.randint(1, 3)):
            self.live(life, self.something_ends_it)
        self.write_config()
        self.live(LAST_LIFE, self.everything_ends)
        judge(self)
        return self.outcome

    def live(self, life: int, end: Callable[[InstalledDaemon], None]) -> None:
        for receiver in self.receivers:
            receiver.life, receiver.moody = life, life != LAST_LIFE and self.chance.random() < 0.6
        arguments = ["--config", self.config, "--state-dir", self.state_dir, "--time-scale", str(SCALE)]
        with InstalledDaemon(arguments, {}) as daemon:
            daemon.wait_for("started ")
            end(daemon)
        self.lines[life] = daemon.lines
        self.outcome.counts["lives"] += 1

    def something_ends_it(self, daemon: InstalledDaemon) -> None:
        acts = (self.begin, self.grow, self.shrink, self.end_one, self.reload, self.fill_disk, self.let_pass)
        for _ in range(self.chance.randint(3, 7)):
            act = self.chance.choice(acts)
            self.outcome.story.append(act.__name__)
            act(daemon)
        life = self.receivers[0].life
        if self.chance.random() < 0.3:
            self.outcome.story.append("SIGTERM")
            self.outcome.counts["SIGTERM"] += 1
            code = daemon.terminate(STOP_BUSY_S)
            self.outcome.violations += [f"exit code {code}: {daemon.lines[-20:]}"] if code else []
            return
        self.killed_lives.add(life)
        self.outcome.counts["SIGKILL"] += 1
        self.kill(daemon)

    def kill(self, daemon: InstalledDaemon) -> None:
        delay_s = self.chance.uniform(0.0, 0.5)
        if self.chance.random() < 0.5:
            self.outcome.story.append(f"SIGKILL after {delay_s:.3f} s")
            daemon.kill_after(delay_s)
            return
        self.outcome.story.append("SIGKILL while a receiver has a request")
        receiver = self.chance.choice(self.receivers)
        receiver.on_arrival = lambda: daemon.signal(signal.SIGKILL)
        self.begin(daemon)
        daemon.kill_after(4 * delay_s)
        receiver.on_arrival = lambda: None

    def everything_ends(self, daemon: InstalledDaemon) -> None:
        for number in list(self.children):
            self.children.pop(number).kill()
        clock = SystemClock()
        end_t_s = clock.now().t_s + SETTLE_S
        while unsettled := self.unsettled():
            if clock.now().t_s > end_t_s:
                self.outcome.violations.append(f"after {SETTLE_S:.0f} s: {unsettled}")
                self.outcome.story += daemon.lines
                break
            threading.Event().wait(SAMPLE_S)
        code = daemon.terminate(STOP_BUSY_S)
        self.outcome.violations += [f"exit code {code}: {daemon.lines[-20:]}"] if code else []

    def unsettled(self) -> str:
        open_ones = self.ask("SELECT count(*) FROM incidents WHERE open")[0][0]
        waiting = self.ask("SELECT count(*) FROM deliveries WHERE state = 'pending'")[0][0]
        return f"{open_ones} open, {waiting} waiting" if open_ones or waiting else ""

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.state_dir}/state.db?mode=ro", 10.0, uri=True)) as state:
            return state.execute(query).fetchall()

    def begin(self, _: InstalledDaemon) -> None:
        free = [number for number in range(SERVICES) if number not in self.children]
        if free:
            number = self.chance.choice(free)
            self.children[number] = LeakyChild(f"{self.token}-{number}")
            self.children[number].grow(WARN_BYTES)

    def grow(self, _: InstalledDaemon) -> None:
        if self.children:
            self.chance.choice(list(self.children.values())).grow(CRITICAL_BYTES)

    def shrink(self, _: InstalledDaemon) -> None:
        if self.children:
            self.chance.choice(list(self.children.values())).free()

    def end_one(self, _: InstalledDaemon) -> None:
        if self.children:
            self.children.pop(self.chance.choice(list(self.children))).kill()

    def reload(self, daemon: InstalledDaemon) -> None:
        """Take the network of one channel away, or give it back."""
        self.write_config(gone=self.chance.choice([None, *CHANNELS]))
        daemon.signal(signal.SIGHUP)

    def fill_disk(self, daemon: InstalledDaemon) -> None:
        if self.disk is None:
            return
        self.disk.fill()
        self.begin(daemon)
        self.let_pass(daemon)
        self.disk.free()
        self.outcome.counts["full disks"] += 1
        threading.Event().wait(SAVED_WITHIN_S)
        clock = SystemClock()
        end_t_s = clock.now().t_s + SETTLE_S
        while len(daemon.all_with("delayed ", "state cannot be written")) > len(daemon.all_with("stored ")):
            assert clock.now().t_s < end_t_s, f"what memory held was not stored: {daemon.lines}"
            threading.Event().wait(SAMPLE_S)

    def let_pass(self, _: InstalledDaemon) -> None:
        threading.Event().wait(self.chance.uniform(0.1, 0.8))

    def write_config(self, gone: str | None = None) -> None:
        limit = _memory_bytes()
        urls = zip(CHANNELS, self.receivers, strict=True)
        values = {
            "discovery_interval": "10s",
            "snapshots": False,
            "detection": {"enabled": False},
            "thresholds": {
                "heap_percent": f"{100 * WARN_BYTES / limit:.6f}%",
                "heap_percent_critical": f"{100 * CRITICAL_BYTES / limit:.6f}%",
                "growth": "1TB/h",
                "growth_critical": "1TB/h",
            },
            "incidents": {"remind_every": "2m", "resolve_after": "1m", "storm_after": 1000},
            "watch": [
                {"service": f"service-{number}", "match": {"command": f"{self.token}-{number}$"}}
                for number in range(SERVICES)
            ],
            "channels": {
                name: {
                    "type": "webhook",
                    "url": "http://127.0.0.1:1/" if name == gone else f"{receiver.url}/",
                    "http": {"timeout": "300ms"},
                }
                for name, receiver in urls
            },
        }
        written = self.folder / "leakwatch.yaml.new"
        written.write_text(yaml.safe_dump(values))
        written.replace(self.config)  # whole or not at all: the daemon may be reading for an earlier reload


def run_schedule(seed: int, folder: Path) -> Outcome:
    """Play one schedule in a folder of its own."""
    folder.mkdir()
    with Schedule(seed, folder) as schedule:
        return schedule.run()


def judge(schedule: Schedule) -> None:
    """Hold what arrived and what is stored to what was promised."""
    outcome = schedule.outcome
    rows = schedule.ask("SELECT channel, incident_id, sequence, state FROM deliveries")
    states = {(channel, f"{incident}/{sequence}"): state for channel, incident, sequence, state in rows}
    told = {
        f"{incident}/{sequence}"
        for incident, sequence in schedule.ask("SELECT incident_id, sequence FROM story")
    }
    for name, receiver in zip(CHANNELS, schedule.receivers, strict=True):
        outcome.counts["requests"] += len(receiver.arrivals)
        outcome.counts["deliveries"] += len(receiver.taken)
        taken = {one.delivery for one in receiver.taken}
        outcome.violations += [f"{name}: {one} was never stored" for one in told if (name, one) not in states]
        outcome.violations += [
            f"{name}: {one} is {state}, taken={one in taken}"
            for (channel, one), state in states.items()
            if channel == name and not (state == "merged" or (state == "sent" and one in taken))
        ]
        _judge_order(name, receiver, outcome)
        _judge_repeats(name, receiver, schedule)
    outcome.counts["transitions"] += len(told)
    outcome.counts["merged"] += sum(state == "merged" for state in states.values())


def _judge_order(name: str, receiver: MoodyReceiver, outcome: Outcome) -> None:
    last: dict[str, int] = {}
    keys: dict[str, str] = {}
    for one in receiver.arrivals:
        if keys.setdefault(one.delivery, one.key) != one.key or not one.key:
            outcome.violations.append(f"{name}: {one.delivery} came with another key")
        if one.mood == "take":
            if one.sequence < last.get(one.incident, 0):
                outcome.violations.append(f"{name}: {one.delivery} came late")
            last[one.incident] = one.sequence


def _judge_repeats(name: str, receiver: MoodyReceiver, schedule: Schedule) -> None:
    """Every repetition is owed to a kill before its answer was noted, or to an answer that came too late.

    A kill can only have come before the last answer of its life was noted.
    """
    first: dict[str, Arrival] = {}
    last_of_life = {one.life: one.delivery for one in receiver.taken}
    for one in receiver.taken:
        before = first.setdefault(one.delivery, one)
        if before is one:
            continue
        schedule.outcome.counts["duplicates"] += 1
        if any(_too_late(line, one, name) for line in schedule.lines[before.life]):
            schedule.outcome.counts["answers too late"] += 1
            continue
        owed = before.life != one.life and before.life in schedule.killed_lives
        if not owed or last_of_life[before.life] != one.delivery:
            schedule.outcome.violations.append(f"{name}: {one.delivery} came again in life {one.life}")


def _too_late(line: str, one: Arrival, channel: str) -> bool:
    """Whether the daemon said that it had no answer in time: on a busy machine one may take longer."""
    about = (f"incident={one.incident} ", f"channel={channel} ", "answer from")
    return " delayed " in line and all(part in line for part in about)


def _memory_bytes() -> int:
    (line,) = (x for x in Path("/proc/meminfo").read_text("ascii").splitlines() if x.startswith("MemTotal"))
    return int(line.split()[1]) * 1024
