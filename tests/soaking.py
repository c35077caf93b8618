"""Soaks in processes of their own: what other tests left in this one comes and goes as it likes."""

from __future__ import annotations

import mmap
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from bench.soak import Outcome, Plan, soak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEAK_BYTES_A_POLL = 450_000


def alone(run: Callable[[Path], Outcome], folder: Path) -> Outcome:
    """Return what a run of this module comes to in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, folder).result()


def half_a_day(folder: Path) -> Outcome:
    """Watch a few processes that come and go."""
    return soak(folder, Plan(hours=12, processes=10, real=5, poll_s=200))


def leaking(folder: Path) -> Outcome:
    """Leak in the daemon's name."""
    kept: list[mmap.mmap] = []
    plan = Plan(hours=12, processes=2, real=2, poll_s=300)
    return soak(folder, plan, lambda: kept.append(fresh(LEAK_BYTES_A_POLL)))


def fresh(size_bytes: int) -> mmap.mmap:
    """Return memory that was not this process's before: what its allocator holds free would hide a leak."""
    memory = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.write(b"x" * size_bytes)
    return memory
