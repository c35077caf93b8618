"""The daemon's own memory over simulated hours, with processes that come and go: its detector finds no leak.

`tests/bench/soak.py` is the longer form: it polls as often as the daemon and watches more processes.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from soaking import alone, half_a_day, leaking

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

BLOCKS_AN_HOUR = 6


def test_half_a_day_of_coming_and_going_is_no_leak_of_our_own(tmp_path: Path) -> None:
    outcome = alone(half_a_day, tmp_path)

    assert len(outcome.floors) == 12 * BLOCKS_AN_HOUR
    assert outcome.watched == 15 + 11 * 3
    assert outcome.told >= 1
    assert outcome.alarms == []
    assert outcome.floors[-1].fds <= outcome.floors[BLOCKS_AN_HOUR].fds + 1


def test_a_leak_of_our_own_would_be_found(tmp_path: Path) -> None:
    assert alone(leaking, tmp_path).alarms
