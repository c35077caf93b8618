"""What a signal handler may do while the main thread waits, or has just begun to."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from agent.clock import Bell

RUNG = """
import signal
from agent.clock import Bell, SystemClock

bell, clock, rung, woken = Bell(), SystemClock(), [], 0

def ring(*_):
    rung.append(1)
    bell.set()

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
while len(rung) < 1500:
    if clock.wait(bell, 0.0005):
        bell.clear()
        woken += 1
signal.setitimer(signal.ITIMER_REAL, 0)
print(woken)
"""
"""With an Event in the place of the bell it stands still within the first hundreds of signals."""


def test_a_handler_may_ring_at_any_moment_of_a_wait() -> None:
    told = subprocess.check_output([sys.executable, "-c", RUNG], text=True, timeout=60)

    assert int(told) > 0


def test_a_ring_before_the_wait_cuts_it_short_and_only_that_one() -> None:
    bell = Bell()
    bell.set()

    assert bell.is_set()
    assert bell.wait(60.0)
    assert not bell.is_set()
    assert not bell.wait(0.0)


def test_many_rings_are_forgotten_at_once() -> None:
    bell = Bell()
    for _ in range(100):
        bell.set()
    bell.clear()

    assert not bell.wait(0.0)


@pytest.mark.parametrize("timeout_s", [60.0, None])
def test_another_thread_may_ring(timeout_s: float | None) -> None:
    bell = Bell()
    ringing = threading.Timer(0.01, bell.set)
    ringing.start()

    assert bell.wait(timeout_s)
    ringing.join()
