"""The frozen values every room speaks in: processes, samples, verdicts, incidents, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class Instant(NamedTuple):
    """One moment on two clocks."""

    t_s: float
    """Seconds since the machine booted (CLOCK_BOOTTIME): for durations."""
    wall_s: float
    """Seconds since the epoch: for people and for what must survive a reboot."""

    def wall_at(self, t_s: float) -> float:
        """Return the wall time of another boot-clock moment, as seen from this one."""
        return self.wall_s + (t_s - self.t_s)


class ProcessKey(NamedTuple):
    """One life of one process: a pid alone is used again, a pid with its start time is not."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat (proc(5)), clock ticks since boot."""
    boot_id: str
    """First eight characters of /proc/sys/kernel/random/boot_id."""

    def __str__(self) -> str:
        return f"{self.pid}-{self.start_ticks}-{self.boot_id}"

    @classmethod
    def parse(cls, text: str) -> ProcessKey:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        pid, start_ticks, boot_id = text.split("-", 2)
        return cls(int(pid), int(start_ticks), boot_id)


@dataclass(frozen=True, slots=True)
class Process:
    """Who a process is, read once when it is discovered. All text is safe to print on one line."""

    key: ProcessKey
    name: str
    """The kernel's comm."""
    command: str
    """The command line, arguments joined by spaces."""
    exe: str
    """Path of the executable; empty where it may not be read."""
    user: str
    parent_pid: int
    cgroup: str
    """The cgroup path (v2, else the v1 memory controller's), "/" for the root."""
    started_t_s: float
    """When it started, on the boot clock."""
    runtime: str
    """One of "python", "node", "jvm", "go", "native" or "unknown" (not readable)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The memory at which a process is killed or can get no more."""

    limit_bytes: int
    source: str
    """Where it was found, e.g. "memory.max of /system.slice/api.service" or "host MemTotal"."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a poll of one process saw. None is what could not be read."""

    rss_bytes: int
    heap_bytes: int
    """Anonymous memory (resident minus shared in statm), swapped-out pages included."""
    shared_bytes: int
    """File-backed and shared-memory pages."""
    swap_bytes: int
    threads: int
    fds: int | None
    cpu_s: float
    """User and system CPU seconds used so far."""
    children: int | None = None
    """Child processes, those that have ended and were not waited for included; as of the latest search."""


class State(IntEnum):
    """How bad it is; comparable."""

    SOUND = 0
    SUSPECT = 1
    WARNING = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


class Event(StrEnum):
    """Why people are told."""

    LEAK = "leak"
    """The detector's judgement."""
    THRESHOLD = "threshold"
    """A plain limit of the configuration, whatever the detector thinks."""
    STORM = "storm"
    """Very many incidents at once, told as one; `Alert.items` lists them."""
    WATCHER = "watcher"
    """leakwatch itself is in trouble: a stuck tick, a channel that fails, an outbox that is full."""
    CHANGE = "change"
    """A service was restarted or has a new release: nothing is wrong, but it explains what follows."""


class Subject(StrEnum):
    """What an incident is about: one incident a service and subject at a time."""

    HEAP = "heap"
    """Anonymous memory or the runtime's own heap grows."""
    SHARED = "shared"
    """File-backed or shared memory grows."""
    THREADS = "threads"
    FDS = "fds"
    CHILDREN = "children"
    """Child processes, also those that have ended and were not waited for."""
    HEAP_PERCENT = "heap-percent"
    """Memory is close to its limit."""
    COLLECTIONS = "collections"
    """The collector runs too often."""


class Kind(StrEnum):
    """What grows, as far as the series of one process tell it together."""

    HEAP = "heap"
    """Anonymous memory, of a runtime that does not tell how much of it is its own heap."""
    RUNTIME_HEAP = "runtime-heap"
    """The runtime's own heap carries the growth: objects that are still referred to."""
    NATIVE = "native"
    """Anonymous memory grows outside of the runtime's heap."""
    ALLOCATOR = "allocator"
    """The allocator keeps what the program has given back."""
    FILES = "files"
    """File-backed pages."""
    SHARED_MEMORY = "shared-memory"
    """Shared memory: tmpfs, memfd, System V segments."""
    THREADS = "threads"
    """Threads, and the memory of their stacks."""
    DESCRIPTORS = "descriptors"
    CHILDREN = "children"


class Estimate(NamedTuple):
    """A figure with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reason:
    """One consideration of a verdict, with its numbers, passed or failed."""

    name: str
    """A stable word for machines, e.g. "too-young"."""
    passed: bool
    """True when it speaks for a leak."""
    text: str
    """The sentence for people, e.g. "floors rose 9 of 10 blocks"."""


class Disproof(NamedTuple):
    """Proof that the growth of a heap was no leak: a full collection took it back."""

    since_t_s: float
    """When that growth began, on the boot clock."""
    until_t_s: float
    """When it was taken back."""
    text: str
    """The sentence for people."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one evaluation says about one subject of one process.

    Amounts and rates are bytes (an hour) for memory, and plain counts for threads and descriptors.
    """

    t_s: float
    subject: Subject
    state: State
    event: Event
    rate: Estimate | None
    """Growth an hour with its interval; None where nothing can be said."""
    onset_t_s: float | None
    growth: float
    """Grown since the onset."""
    current: float
    limit: float | None
    exhaustion_hours: Estimate | None
    """Hours until `limit`; None where the evidence does not carry a forecast."""
    reasons: Sequence[Reason]
    """Those of a detector are put into words when they are read."""
    young: bool = False
    """The process has not lived long enough for a settled baseline."""
    probability: float | None = None
    """How likely it is that this process leaks, calibrated; None for plain limits alone."""
    kind: str = ""
    """What grows, one of `Kind`; empty where nothing can be said."""
    disproof: Disproof | None = None
    """What has shown that the latest growth was no leak, as long as the detector sees no other."""

    @property
    def percent(self) -> float | None:
        """Current as percent of the limit."""
        return None if not self.limit else 100.0 * self.current / self.limit


class Transition(StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    WORSENED = "worsened"
    UPDATED = "updated"
    """The rate or the time to exhaustion is no longer what was told."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody takes care of it: no more reminders."""
    REMINDED = "reminded"
    RESOLVED = "resolved"
    GONE = "gone"

    @property
    def ends(self) -> bool:
        """Whether the incident is over after it."""
        return self in (Transition.RESOLVED, Transition.GONE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a capture found, as far as an alert tells it."""

    directory: str
    """Where the capture lies on the host; empty when nothing could be taken."""
    gist: tuple[str, ...] = ()
    """The findings in a line each, e.g. "top stack: handlers.remember:88 in 11 of 12 threads"."""
    missing: tuple[str, ...] = ()
    """What could not be taken and why, a sentence each."""
    files: tuple[str, ...] = ()
    """Names of the files in the directory, most telling first."""
    disproof: str = ""
    """Why the heap's growth until then is no leak: a full collection took it back. Empty for no proof."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Everything a channel may tell about one transition of one incident. Plain values only (JSON)."""

    incident_id: str
    """Short and unique, e.g. "7f3a9c21"; the de-duplication key is made of it."""
    sequence: int
    """The number of the transition within its incident, from 1."""
    transition: Transition
    event: Event
    subject: Subject
    severity: State
    service: str
    host: str
    at_wall_s: float
    """When the transition happened."""
    since_wall_s: float
    """When the growth began (the onset), or when the incident opened where there is none."""
    age_s: float = 0.0
    """How old the process is."""
    pid: int = 0
    process: str = ""
    """The process's name."""
    command: str = ""
    rate: Estimate | None = None
    growth: float = 0.0
    current: float = 0.0
    limit: float | None = None
    limit_source: str = ""
    exhaustion_hours: Estimate | None = None
    reasons: tuple[Reason, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    pids: tuple[int, ...] = ()
    """Every process of the service that the incident holds, the leading one first."""
    evidence: Evidence | None = None
    young: bool = False
    drill: bool = False
    """A rehearsal: every channel marks it as a test."""
    note: str = ""
    """Why the transition happened, e.g. "floor flat for 95m"."""
    probability: float | None = None
    """How likely it is that this process leaks, calibrated; None for plain limits alone."""
    kind: str = ""
    """What grows, one of `Kind`; empty where nothing can be said."""
    headline: str = ""
    """The first line of an alert that is not about one process (storm, watcher, change); empty for others."""
    items: tuple[str, ...] = ()
    """What such an alert lists, a line each."""
    course: tuple[tuple[float, float], ...] = ()
    """The growth to draw: wall time and value, the oldest first, at most some hundred points."""
    heap_before: float | None = None
    """What the runtime's own heap held when the growth began, in bytes; None where it does not tell."""
    runbook_url: str = ""
    """Where readers find the guide with its runbook; empty for the path of docs/guide.md."""
    page_url: str = ""
    """A page on the service or the host that readers can open; empty for none."""

    @property
    def dedup_key(self) -> str:
        """Return the key that every channel de-duplicates an incident by."""
        return f"leakwatch-{self.incident_id}"

    @property
    def duration_s(self) -> float:
        """Seconds since the growth began."""
        return max(0.0, self.at_wall_s - self.since_wall_s)

    @property
    def percent(self) -> float | None:
        """Current as percent of the limit."""
        return None if not self.limit else 100.0 * self.current / self.limit

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self) | {
            "transition": str(self.transition),
            "event": str(self.event),
            "subject": str(self.subject),
            "severity": str(self.severity),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Alert:
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        known = dict(data)
        evidence = known.pop("evidence")
        return cls(
            **known
            | {
                "transition": Transition(known["transition"]),
                "event": Event(known["event"]),
                "subject": Subject(known["subject"]),
                "severity": State[known["severity"].upper()],
                "rate": _estimate(known["rate"]),
                "exhaustion_hours": _estimate(known["exhaustion_hours"]),
                "reasons": tuple(Reason(**r) for r in known["reasons"]),
                "pids": tuple(known["pids"]),
                "items": tuple(known.get("items", ())),
                "course": tuple((at, value) for at, value in known.get("course", ())),
            },
            evidence=None if evidence is None else _evidence(evidence),
        )


def _estimate(values: list[float] | None) -> Estimate | None:
    return None if values is None else Estimate(*values)


def _evidence(data: dict[str, Any]) -> Evidence:
    lists = {name: tuple(data[name]) for name in ("gist", "missing", "files")}
    return Evidence(data["directory"], disproof=data.get("disproof", ""), **lists)
