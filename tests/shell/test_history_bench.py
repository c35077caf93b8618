"""The bench of the history measures what it says, in small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bench import history
from bench.replay import SHAPES, samples_per_s

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("idle", [True, False])
def test_a_month_is_written_and_read_back(tmp_path: Path, *, idle: bool) -> None:
    month = history.measure(4, tmp_path, idle=idle)

    assert 1000 < month.file_bytes < 5_000_000
    assert month.samples > 8 * month.blocks
    assert month.restore_s > 0
    assert "file after 30 days" in "\n".join(month.lines())


def test_what_rests_is_left_out_of_fine_rows() -> None:
    watched = [history.made_up.watched()]
    fine = history.rows(watched, history.lives(1, idle=True), coarse=False)

    first, second = next(fine), next(fine)
    assert (first.floors == first.floors).sum() == len(history.IDLE)
    assert not (second.floors == second.floors).any()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_recordings_of_every_shape_are_judged(shape: object) -> None:
    assert samples_per_s(shape, series=20, samples=200) > 0  # type: ignore[arg-type]
