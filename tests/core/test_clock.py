from __future__ import annotations

import threading

from fakes import FakeClock

from agent.clock import SystemClock
from agent.model import Instant


def test_time_goes_forward_on_both_clocks() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()

    assert second.t_s >= first.t_s > 0
    assert second.wall_s > 1_600_000_000


def test_a_rehearsal_starts_at_the_present_and_runs_faster() -> None:
    plain, fast = SystemClock(), SystemClock(scale=1e6)
    before = plain.now()
    threading.Event().wait(0.01)
    hurried = fast.now()

    assert hurried.t_s - before.t_s > 1_000
    assert abs((hurried.wall_s - before.wall_s) - (hurried.t_s - before.t_s)) < 60_000


def test_a_wait_ends_at_once_for_an_event_that_is_set() -> None:
    event = threading.Event()
    event.set()

    assert SystemClock().wait(event, 3600.0) is True


def test_a_wait_of_a_rehearsal_is_as_much_shorter() -> None:
    clock = SystemClock(scale=1e6)
    before = SystemClock().now()

    assert clock.wait(threading.Event(), 3600.0) is False
    assert SystemClock().now().t_s - before.t_s < 30


def test_a_wait_for_less_than_nothing_returns() -> None:
    assert SystemClock().wait(threading.Event(), -5.0) is False


def test_a_moment_of_the_boot_clock_is_told_in_wall_time() -> None:
    assert Instant(1_000.0, 5_000.0).wall_at(400.0) == 4_400.0


def test_the_fake_clock_moves_when_told() -> None:
    clock = FakeClock(10.0, 100.0)
    clock.step_wall(-50.0)

    assert clock.wait(threading.Event(), 5.0) is False
    assert clock.now() == Instant(15.0, 55.0)
