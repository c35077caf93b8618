"""A leak under a daily load that swings further: found within a week; never told of without a leak."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from made_up import STEADY, watched

from agent.config import default_config
from agent.daemon.judge import Judge
from agent.model import State

if TYPE_CHECKING:
    from agent.model import ProcessKey, Verdict

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86400.0
MB = 1e6
PHASES = (0.0, 0.25, 0.5, 0.75)
"""Of the day on which a process starts: in the morning, when its load is highest, in the evening, lowest."""
POLL_S = 5 * MINUTE_S
"""A poll a minute gives the same verdicts within hours of it, and takes five times as long to try."""


def told(mb_per_hour: float, *, days: float, poll_s: float) -> dict[ProcessKey, tuple[float, Verdict]]:
    """Return when a person is first told of each process, whose load swings it between 300 and 500 MB."""
    judge = Judge(replace(default_config(), poll_interval_s=poll_s))
    processes = [watched(pid) for pid, _ in enumerate(PHASES, start=7)]
    for one in processes:
        judge.open(one.key, 0.0)
    t_s = np.arange(0.0, days * DAY_S, poll_s)
    load = (1 + np.sin(2 * np.pi * (t_s / DAY_S + np.array(PHASES)[:, None]))) / 2
    noise = np.random.default_rng(1).normal(0.0, MB, load.shape)
    heap = 300 * MB + 200 * MB * load + mb_per_hour * MB * t_s / HOUR_S + noise
    cpu_s = np.cumsum((0.05 + 0.2 * load) * poll_s, axis=1)
    found: dict[ProcessKey, tuple[float, Verdict]] = {}
    for now_s, held, used_s in zip(t_s.tolist(), heap.T.tolist(), cpu_s.T.tolist(), strict=True):
        for one, bytes_held, seconds in zip(processes, held, used_s, strict=True):
            one.sample = replace(STEADY, heap_bytes=int(bytes_held), cpu_s=seconds)
        judge.add(processes, now_s)
        for one in processes:
            for verdict in judge.verdicts(one, now_s):
                if verdict.state >= State.WARNING:
                    found.setdefault(one.key, (now_s, verdict))
        if len(found) == len(processes):
            break
    return found


def test_1_mb_an_hour_under_a_load_of_200_mb_is_a_leak_within_a_week() -> None:
    found = told(1.0, days=7, poll_s=POLL_S)

    assert len(found) == len(PHASES)
    for told_s, verdict in found.values():
        assert told_s >= DAY_S
        assert verdict.rate is not None
        assert 0.8 * MB <= verdict.rate.value <= 1.2 * MB


def test_the_same_load_without_a_leak_is_never_told_in_30_days() -> None:
    assert told(0.0, days=30, poll_s=8 * POLL_S) == {}
