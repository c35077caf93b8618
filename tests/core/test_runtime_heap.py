"""A heap that holds garbage between collections is judged by its floors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from made_up import HOUR_S, POLL_S, judge, seen, watched

from agent.model import Kind, State, Subject
from agent.watch.probes.base import RuntimeFigures

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.daemon.judge import Judge
    from agent.daemon.watched import Watched

SAWTOOTH_S = 1_260.0
"""A collection of the whole heap every 21 minutes, between which 60 MB of garbage gather."""


def used(t_s: float, live_bytes: float) -> RuntimeFigures:
    garbage_bytes = 60e6 * (t_s % SAWTOOTH_S) / SAWTOOTH_S
    return RuntimeFigures(int(live_bytes + garbage_bytes), None, None, garbage=True)


def follow(judged: Judge, one: Watched, hours: range, live: Callable[[float], float]) -> float:
    """Poll a process whose heap is filled and emptied, within memory that it keeps."""
    t_s = 0.0
    for i in range(int(hours.start * HOUR_S / POLL_S), int(hours.stop * HOUR_S / POLL_S)):
        t_s = i * POLL_S
        one.sample = seen(heap_bytes=250_000_000)
        one.figures = used(t_s, live(t_s / HOUR_S - hours.start))
        judged.add([one], t_s)
    return t_s


def test_garbage_that_comes_and_goes_is_no_leak() -> None:
    judged, one = judge(), watched()
    judged.open(one.key, one.birth_t_s)

    t_s = follow(judged, one, range(24), lambda _: 80e6)

    assert list(judged.verdicts(one, t_s)) == []


def test_what_stays_beneath_the_garbage_is_found_within_memory_that_does_not_grow() -> None:
    judged, one = judge(), watched()
    judged.open(one.key, one.birth_t_s)

    follow(judged, one, range(12), lambda _: 80e6)
    t_s = follow(judged, one, range(12, 24), lambda hours: 80e6 + 8e6 * hours)

    (verdict,) = judged.verdicts(one, t_s)
    assert (verdict.subject, verdict.kind) == (Subject.HEAP, Kind.RUNTIME_HEAP)
    assert verdict.state >= State.WARNING
    assert verdict.rate is not None
    assert verdict.rate.low < 8e6 < verdict.rate.high * 1.1
