"""The installed daemon through random schedules of faults: nothing lost, doubled, or out of order.

LEAKWATCH_FAULT_RUNS says how many schedules, LEAKWATCH_FAULT_SEED with which one they begin.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from faulty_daemon import run_schedule

if TYPE_CHECKING:
    from pathlib import Path

RUNS = int(os.environ.get("LEAKWATCH_FAULT_RUNS", "6"))
FIRST = int(os.environ.get("LEAKWATCH_FAULT_SEED", "1"))
SECONDS_EACH = 60


@pytest.mark.timeout(RUNS * SECONDS_EACH)
def test_every_transition_reaches_every_channel_once_and_in_order(tmp_path: Path) -> None:
    totals: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + RUNS):
        outcome = run_schedule(seed, tmp_path / str(seed))
        assert outcome.violations == [], f"LEAKWATCH_FAULT_SEED={seed}: {outcome.story}"
        totals += outcome.counts
    print(f"{RUNS} schedules:", dict(totals))  # noqa: T201 - shown with -s
    assert totals["deliveries"] > RUNS
