from __future__ import annotations

import re

import numpy as np
from bench.soak import Outcome, Own, report

MB = 1e6


def outcome(mb_per_hour: float, hours: int = 24) -> Outcome:
    noise = np.random.default_rng(1).normal(0.0, 0.05, 6 * hours)
    used = [50 + mb_per_hour * block / 6 + noise[block] for block in range(6 * hours)]
    return Outcome([Own(int(one * MB), int((one + 20) * MB), 30) for one in used], watched=500, told=9)


def test_flat_memory_is_sound() -> None:
    assert outcome(0.0).alarms == []
    assert "verdict on leakwatch      sound" in report(outcome(0.0))


def test_growth_of_a_megabyte_an_hour_is_a_leak() -> None:
    assert outcome(1.0).alarms
    assert "warning after" in report(outcome(1.0))


def test_growth_below_what_is_a_leak_is_told_too() -> None:
    told = report(outcome(0.1))

    assert "verdict on leakwatch      sound" in told
    assert re.search(r"growth in the last half +(9\d|10\d) kB/h", told)


def test_a_run_of_an_hour_is_told_too() -> None:
    assert "RSS at the end            70" in report(outcome(0.0, hours=1))
