"""Processes that exist on paper only, judged as the daemon would: `follow(judge, one, hours=3, fds=...)`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.config import default_config
from agent.daemon.judge import Judge
from agent.daemon.watched import Watched
from agent.model import Process, ProcessKey, Sample
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.watch.makeup import Makeup

POLL_S = 60.0
HOUR_S = 3600.0
STEADY = Sample(
    rss_bytes=140_000_000,
    heap_bytes=100_000_000,
    shared_bytes=40_000_000,
    swap_bytes=0,
    threads=8,
    fds=40,
    cpu_s=0.0,
    children=4,
)
"""What a process uses that does nothing remarkable."""


def seen(**figures: Any) -> Sample:
    """Return a sample of the steady process with some figures of its own."""
    return replace(STEADY, **figures)


def judge(makeup: Makeup | None = None) -> Judge:
    """Return a judge that is told of a poll a minute."""
    return Judge(replace(default_config(), poll_interval_s=POLL_S), makeup)


def watched(pid: int = 7) -> Watched:
    """Return a process that began with the clock."""
    key = ProcessKey(pid, 1, "b00t")
    process = Process(key, "api", "api --all", "/usr/bin/api", "www", 1, "/", 0.0, "native")
    return Watched(Target("api", process, {}, None), 0.0)


def follow(
    judged: Judge, one: Watched, *, hours: float, begin_s: float = 0.0, **grows: Callable[[float], Any]
) -> float:
    """Poll for so long; each field of the sample that is given is a function of the hours passed.

    Returns when the last poll was.
    """
    t_s = begin_s
    for i in range(round(hours * HOUR_S / POLL_S)):
        t_s = begin_s + i * POLL_S
        passed_h = i * POLL_S / HOUR_S
        one.sample = seen(**{name: value(passed_h) for name, value in grows.items()})
        judged.add([one], t_s)
    return t_s
