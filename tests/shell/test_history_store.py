"""What a restart of the agent finds again on disk, and what it survives."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest

from agent.history.rings import Rings
from agent.history.store import COARSE_KEPT_S, FINE_KEPT_S, HistoryStore, HistoryWriter, Row
from agent.model import ProcessKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

API, WORKER = ProcessKey(11, 100, "b00t"), ProcessKey(12, 200, "b00t")
SERIES = 2


def row(t_s: float, *keys: ProcessKey, coarse: bool = False, floor: float = 1e6) -> Row:
    floors = np.array([[floor + i, np.nan] for i in range(len(keys))]).reshape(len(keys), SERIES)
    return Row(coarse, t_s, keys, tuple(5.0 + i for i in range(len(keys))), floors, floors + 10)


def stored(store: HistoryStore, *keys: ProcessKey) -> list[tuple[float, list[int], bool]]:
    rows = [
        (row.t_s, np.flatnonzero(np.isfinite(row.floors).any(axis=1)).tolist(), row.coarse)
        for row in store.rows(keys, SERIES)
    ]
    return [row for row in rows if row[1]]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(r.__dict__["pairs"]["why"]) for r in caplog.records if r.name == "agent.history.store"]


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while file.tell() < 2**20:
            file.write(b"x" * 4096)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on a disk of its own that a few rows fill."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256k", "tmpfs"]
    if subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("no small disk may be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_rows_come_back_as_they_were_with_the_births(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(80.0, API, WORKER))
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as again:
        (found,) = again.rows([WORKER, API], SERIES)

        assert again.births() == {API: 5.0, WORKER: 6.0}
        assert found.t_s == 80.0
        assert found.floors[:, 0].tolist() == [1e6 + 1, 1e6]
        assert np.isnan(found.floors[:, 1]).all()
        assert (found.peaks[:, 0] - found.floors[:, 0]).tolist() == [10.0, 10.0]


@pytest.mark.parametrize(
    "asked_for", [1, 3], ids=["fewer series, by an older agent", "more series, by a newer"]
)
def test_a_store_of_another_number_of_series_is_read(tmp_path: Path, asked_for: int) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(80.0, API))

        (found,) = store.rows([API], asked_for)

    assert found.floors.shape == (1, asked_for)
    assert found.floors[0, 0] == 1e6
    assert np.isnan(found.floors[0, 1:]).all()


def test_who_is_not_asked_for_is_left_out(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(80.0, API))
        store.append(row(160.0, WORKER))

        assert stored(store, WORKER) == [(160.0, [0], False)]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(80.0, API))

        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_another_boot_drops_everything(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(80.0, API))
    with closing(HistoryStore(tmp_path / "h.db", "an0ther")) as again:
        assert (again.births(), stored(again, API)) == ({}, [])


def test_coarse_rows_come_first_and_only_from_before_the_fine_ones(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        for t_s in (0.0, 2560.0, 5120.0):
            store.append(row(t_s, API, coarse=True))
        for t_s in (4000.0, 4080.0):
            store.append(row(t_s, API))

        assert stored(store, API) == [
            (0.0, [0], True),
            (2560.0, [0], True),
            (4000.0, [0], False),
            (4080.0, [0], False),
        ]


def test_old_rows_and_processes_long_unseen_are_dropped(tmp_path: Path) -> None:
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        store.append(row(0.0, API))
        store.append(row(0.0, API, coarse=True))
        store.append(row(FINE_KEPT_S + 1, WORKER))
        fine_gone = stored(store, API)
        store.append(row(COARSE_KEPT_S + 1, WORKER, coarse=True))

        assert fine_gone == [(0.0, [0], True)]
        assert stored(store, API) == []
        assert list(store.births()) == [WORKER]


@pytest.mark.parametrize("damage", ["no database", "a page in the middle"])
def test_a_damaged_file_is_set_aside_with_its_journal_and_a_new_one_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "h.db"
    with closing(HistoryStore(path, "b00t")) as store:
        for at in range(300):
            store.append(row(80.0 * at, API, WORKER))
    content = path.read_bytes()
    middle = 4096 if damage == "a page in the middle" else 0
    path.write_bytes(content[:middle] + b"\xa5" * 8192 + content[middle + 8192 :])
    (tmp_path / "h.db-wal").write_bytes(b"left over")

    with closing(HistoryStore(path, "b00t")) as again:
        again.append(row(99_999.0, API))

        assert stored(again, API) == [(99_999.0, [0], False)]
    assert (tmp_path / "h.db.unusable").exists()
    (why,) = said(caplog)
    assert "set aside as h.db.unusable" in why


def test_a_place_that_cannot_be_opened_is_said_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "not yet"
    with closing(HistoryStore(folder / "h.db", "b00t")) as store:
        writer = HistoryWriter(store)
        writer.start()
        assert (store.births(), stored(store, API)) == ({}, [])
        for at in range(3):
            writer.put(row(80.0 * at, API))
        assert writer.stop(5.0)
        folder.mkdir()
        store.append(row(400.0, API))

        assert stored(store, API) == [(400.0, [0], False)]
    opened, written = said(caplog)
    assert opened.startswith("cannot be opened")
    assert written.startswith("cannot be written")


def test_a_full_disk_is_said_once_and_what_follows_is_stored_right(
    full_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(HistoryStore(full_disk / "h.db", "b00t")) as store:
        store.append(row(0.0, API))
        filler = full_disk / "filler"
        with pytest.raises(OSError, match="No space"):
            fill(filler)
        writer = HistoryWriter(store)
        writer.start()
        many = tuple(ProcessKey(1000 + i, i, "b00t") for i in range(1500))
        for at in range(3):
            writer.put(row(80.0 + at, *many))
        writer.put(row(90.0, WORKER, *many))
        assert writer.stop(5.0)
        filler.unlink()
        store.append(row(160.0, WORKER, API))

        assert stored(store, WORKER) == [(160.0, [0], False)]
        assert [t_s for t_s, _, _ in stored(store, API)] == [0.0, 160.0]
    assert len(said(caplog)) == 1
    assert "full" in said(caplog)[0]


def test_history_of_another_poll_interval_fills_the_rings_all_the_same(tmp_path: Path) -> None:
    before, after = Rings(10.0), Rings(1.0)
    slot, there = before.open(), after.open()
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        for at in range(1000):
            before.add(10.0 * at, np.array([slot]), np.array([float(at)]))
            if at and at % 8 == 0:
                window = before.window(3, np.array([slot]))
                floors = np.array([[window.floors[0, -1], np.nan]])
                store.append(Row(False, window.end_t_s - window.block_s, (API,), (0.0,), floors, floors + 7))  # noqa: FBT003 - the row's own order
        for _, t_s, floors, peaks in store.rows([API], SERIES):
            after.add_block(t_s, np.array([there]), floors[:, 0], peaks[:, 0])

    coarse = after.window(9, np.array([there]))
    assert seen(coarse.floors) == [float(t_s // 10 // 8 * 8) + 8 * (t_s % 80 > 0) for t_s in starts(coarse)]


def seen(floors: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in floors[0] if np.isfinite(value)]


def starts(window: object) -> list[float]:
    end_t_s, block_s, floors = window.end_t_s, window.block_s, window.floors  # type: ignore[attr-defined]
    count = len(seen(floors))
    return [float(end_t_s - (count - at) * block_s) for at in range(count)]


def test_rings_keep_what_they_saw_when_the_interval_changes() -> None:
    rings = Rings(10.0)
    slot = rings.open()
    for at in range(4000):
        rings.add(10.0 * at, np.array([slot]), np.array([float(at)]))

    slower = rings.at_base(60.0)

    window = slower.window(6, np.array([slot]))
    expected = [start / 10.0 for start in starts(window)]
    assert np.allclose(seen(window.floors), expected, atol=window.block_s / 10.0)
    assert len(expected) >= 8
    assert slower.open() != slot


def test_a_writer_that_cannot_keep_up_gives_up_the_oldest_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with closing(HistoryStore(tmp_path / "h.db", "b00t")) as store:
        writer = HistoryWriter(store)
        for at in range(100):
            writer.put(row(80.0 * at, API))
        writer.start()
        assert writer.stop(5.0)

        kept = [t_s for t_s, _, _ in stored(store, API)]
        assert kept[-59:] == [80.0 * at for at in range(41, 100)]
        assert len(kept) <= 60
    assert said(caplog) == ["the disk is too slow; some history is given up"]


@pytest.mark.parametrize("data", [b"", b"no row", bytes(200)])
@pytest.mark.parametrize("kept_bytes", [0, 10])
def test_a_damaged_row_is_left_out_and_the_others_are_read(
    tmp_path: Path, data: bytes, kept_bytes: int
) -> None:
    path = tmp_path / "h.db"
    with closing(HistoryStore(path, "b00t")) as store:
        store.append(row(80.0, API, WORKER))
        store.append(row(160.0, API, WORKER))
    with closing(sqlite3.connect(path)) as connection, connection:
        damage = "UPDATE spans SET data = CAST(substr(data, 1, ?) || ? AS BLOB) WHERE t_s = 80"
        connection.execute(damage, (kept_bytes, data))
    with closing(HistoryStore(path, "b00t")) as again:
        assert stored(again, API, WORKER) == [(160.0, [0, 1], False)]
