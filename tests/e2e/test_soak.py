"""The daemon's own memory over simulated hours, with processes that come and go: its detector finds no leak.

`tests/bench/soak.py` is the longer form: it polls as often as the daemon and watches more processes.
"""

from __future__ import annotations

import mmap
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import pytest
from bench.soak import Outcome, Plan, soak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

BLOCKS_AN_HOUR = 6
LEAK_BYTES_A_POLL = 450_000


def test_half_a_day_of_coming_and_going_is_no_leak_of_our_own(tmp_path: Path) -> None:
    outcome = alone(half_a_day, tmp_path)

    assert len(outcome.floors) == 12 * BLOCKS_AN_HOUR
    assert outcome.watched == 15 + 11 * 3
    assert outcome.told >= 1
    assert outcome.alarms == []
    assert outcome.floors[-1].fds <= outcome.floors[BLOCKS_AN_HOUR].fds + 1


def test_a_leak_of_our_own_would_be_found(tmp_path: Path) -> None:
    assert alone(leaking, tmp_path).alarms


def half_a_day(folder: Path) -> Outcome:
    return soak(folder, Plan(hours=12, processes=10, real=5, poll_s=200))


def leaking(folder: Path) -> Outcome:
    kept: list[mmap.mmap] = []
    plan = Plan(hours=12, processes=2, real=2, poll_s=300)
    return soak(folder, plan, lambda: kept.append(fresh(LEAK_BYTES_A_POLL)))


def alone(run: Callable[[Path], Outcome], folder: Path) -> Outcome:
    """Run in a process of its own: what the tests before it left in this one comes and goes as it likes."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, folder).result()


def fresh(size_bytes: int) -> mmap.mmap:
    """Return memory that was not this process's before: what its allocator holds free would hide a leak."""
    memory = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"x" * size_bytes)
    return memory
