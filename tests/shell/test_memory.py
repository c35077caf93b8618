from __future__ import annotations

from typing import TYPE_CHECKING

import made_up
import numpy as np
import pytest

from agent.daemon.judge import SERIES, Judge
from agent.daemon.memory import Memory
from agent.history.store import HistoryStore, HistoryWriter, Row

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S = 3600.0
HEAP, THREADS, CPU = (SERIES.index(name) for name in ("heap", "threads", "cpu"))


class Written(HistoryWriter[Row]):
    """Keeps what the disk gets, and gives it to the disk at once."""

    def __init__(self, store: HistoryStore) -> None:
        super().__init__(store)
        self.kept = store
        self.rows: list[Row] = []

    def put(self, row: Row) -> None:
        self.rows.append(row)
        self.kept.append(row)


def lived(path: Path, hours: float) -> tuple[Judge, list[Row], float]:
    """Return what was judged of a process whose heap grows while its threads rest, and what was written."""
    store = HistoryStore(path, "b00t")
    judge, one = made_up.judge(), made_up.watched()
    writer = Written(store)
    memory = Memory(judge, store, writer)
    judge.open(one.key, one.birth_t_s)
    t_s = 0.0
    for i in range(round(hours * 60)):
        t_s = i * made_up.POLL_S
        one.sample = made_up.seen(heap_bytes=100_000_000 + i * 10_000, cpu_s=float(i))
        memory.keep(judge.add([one], t_s), [one])
    store.close()
    return judge, writer.rows, t_s


def restored(path: Path, t_s: float) -> Judge:
    store = HistoryStore(path, "b00t")
    judge, one = made_up.judge(), made_up.watched()
    memory = Memory(judge, store, HistoryWriter(store))
    judge.open(one.key, one.birth_t_s)
    assert memory.restore([one], t_s) == 1
    store.close()
    return judge


@pytest.mark.parametrize("hours", [2.5, 6.0, 14.0])
def test_what_rests_and_what_moves_are_as_before_a_restart(tmp_path: Path, hours: float) -> None:
    before, _, t_s = lived(tmp_path / "history.db", hours)
    after = restored(tmp_path / "history.db", t_s)
    for level in (0, 2, 5):
        was, found = (by_time(judge, level) for judge in (before, after))
        common = sorted(was.keys() & found.keys())[-20:-1]
        assert len(common) > 1
        for at_s in common:
            np.testing.assert_allclose(found[at_s], was[at_s], rtol=1e-6)


def by_time(judge: Judge, level: int) -> dict[float, np.ndarray]:
    """Return the floors of heap, threads and CPU of every block that was seen, by when it ended."""
    window = judge.rings.window(level, judge.tracked(made_up.watched().key).slots)
    floors = window.floors[[HEAP, THREADS, CPU]]
    ends_s = window.end_t_s - window.block_s * np.arange(floors.shape[1] - 1, -1, -1)
    return {float(end): floors[:, k] for k, end in enumerate(ends_s) if np.isfinite(floors[:, k]).all()}


def test_what_rests_is_written_once_and_then_with_the_coarse_rows_only(tmp_path: Path) -> None:
    _, rows, _ = lived(tmp_path / "history.db", 3.0)

    resting = [np.isfinite(row.floors[0, THREADS]) for row in rows if not row.coarse]
    assert resting == [True] + [False] * (len(resting) - 1)
    assert all(np.isfinite(row.floors[0, [HEAP, CPU]]).all() for row in rows)
    assert all(np.isfinite(row.floors[0, THREADS]) for row in rows if row.coarse)
