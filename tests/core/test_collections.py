from __future__ import annotations

import pytest

from agent.daemon.watched import Watched
from agent.detect.options import Thresholds
from agent.detect.thresholds import often_collected
from agent.model import Process, ProcessKey
from agent.watch.targets import Target

PROCESS = Process(ProcessKey(7, 1, "boot"), "java", "java -jar x.jar", "java", "root", 1, "/", 0.0, "jvm")


def collected(*readings: tuple[float, int]) -> float | None:
    watched = Watched(Target("shop", PROCESS, {}, None), 0.0)
    watched.collections = list(readings)
    return watched.collections_per_minute


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ((), None),
        (((0.0, 3),), None),
        (((0.0, 3), (3.0, 4)), None),
        (((0.0, 3), (30.0, 20), (59.0, 40)), None),
        (((0.0, 3), (30.0, 5), (60.0, 23)), 20.0),
        (((0.0, 3), (600.0, 23)), 2.0),
    ],
    ids=["nothing", "one", "one in three seconds", "under a minute", "a minute", "slow polls"],
)
def test_a_rate_of_collections_needs_a_minute(
    readings: tuple[tuple[float, int], ...], expected: float | None
) -> None:
    assert collected(*readings) == expected


def test_more_collections_than_allowed_are_a_breach() -> None:
    assert often_collected(10.0, Thresholds()) is None
    assert often_collected(10.5, Thresholds()) is not None
