"""What is written as it comes, from programs that need not come to an end: the disk stays usable."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from fault_disks import MountError, small_disk

from agent.evidence.files import LEAST_FREE_BYTES
from agent.evidence.node.memlab import _writer
from agent.evidence.node.snapshot import CHUNK, _Kept
from agent.evidence.source import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOISE = random.Random(1).randbytes(100_000).hex()  # noqa: S311 - anything that does not compress
PIECE = {"method": CHUNK, "params": {"chunk": NOISE}}
ENDLESS = 1000


@pytest.fixture
def nearly_full(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk on which a little more is free than must stay so."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(tmp_path / "disk", f"{LEAST_FREE_BYTES + 2_000_000}"))
        except MountError:
            pytest.skip("this user cannot mount")
        yield disk.path


def written_of_an_endless_one(folder: Path, most_bytes: int, why: str) -> int:
    """Return how much is written before it is given up."""
    with (folder / "x").open("xb") as file:
        kept = _Kept(file, most_bytes)
        with pytest.raises(SourceError, match=why):  # noqa: PT012 - which of them does not matter
            for _ in range(ENDLESS):
                kept.add(PIECE)
        return file.tell()


def test_a_snapshot_without_end_stops_at_the_disk_budget(tmp_path: Path) -> None:
    why = r"longer than evidence\.disk_budget, 500kB"

    assert written_of_an_endless_one(tmp_path, 500_000, why) < 1_000_000


def test_a_snapshot_without_end_leaves_room_on_the_disk(nearly_full: Path) -> None:
    why = r"heap snapshot: given up after .*, 100MB must stay free"

    assert written_of_an_endless_one(nearly_full, 10**12, why) < 5_000_000


def test_three_snapshots_share_one_budget(tmp_path: Path) -> None:
    with (tmp_path / "x").open("xb") as file:
        _writer(file, 0, 500_000)(PIECE)
        with pytest.raises(SourceError, match=r"memlab: longer than evidence\.disk_budget"):
            _writer(file, 400_000, 500_000)(PIECE)


def test_a_snapshot_of_nothing_is_told(tmp_path: Path) -> None:
    with (tmp_path / "x").open("xb") as file, pytest.raises(SourceError, match="sent nothing"):
        _Kept(file, 10).end()
