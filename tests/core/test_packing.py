"""Blocks as they lie on the disk."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history.packing import FINEST, pack, unpack

BLOCK = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(0, 255),
    st.floats(0, 2.0**50, width=32),
    st.floats(0, 2.0**50, width=32),
)


def of(blocks: list[tuple[int, int, float, float]]) -> bytes:
    process, series, floors, peaks = zip(*blocks, strict=True) if blocks else ((), (), (), ())
    return pack(
        np.array(process, np.uint32),
        np.array(series, np.uint8),
        np.array(floors, np.float32),
        np.array(peaks, np.float32),
    )


@given(st.lists(BLOCK, unique_by=lambda block: block[:2], max_size=40))
def test_what_is_packed_comes_back(blocks: list[tuple[int, int, float, float]]) -> None:
    process, series, floors, peaks = unpack(of(blocks))

    expected = sorted(blocks, key=lambda block: (block[1], block[0]))
    assert list(zip(process.tolist(), series.tolist(), strict=True)) == [block[:2] for block in expected]
    for told, index in ((floors, 2), (peaks, 3)):
        assert told.tolist() == pytest.approx([block[index] for block in expected], rel=1e-7, abs=FINEST / 2)


def test_whole_bytes_and_what_has_no_value_come_back_exactly() -> None:
    _, _, floors, peaks = unpack(of([(1, 0, 4096.0 * 12345, np.inf), (2, 0, np.nan, 7.0)]))

    np.testing.assert_array_equal(floors, np.array([4096.0 * 12345, np.nan], np.float32))
    np.testing.assert_array_equal(peaks, np.array([np.inf, 7.0], np.float32))


@given(st.binary(max_size=60) | st.binary(max_size=60).map(zlib.compress))
def test_anything_else_is_refused(data: bytes) -> None:
    try:
        blocks = len(unpack(data)[0])
    except ValueError:
        return
    assert len(zlib.decompress(data)) == 13 * blocks


def test_a_row_cut_short_and_a_bomb_are_refused() -> None:
    data = of([(1, 0, 1e6, 2e6), (2, 0, 3e6, 4e6)])
    for kept in range(len(data)):
        with pytest.raises(ValueError, match="torn"):
            unpack(data[:kept])
    with pytest.raises(ValueError, match="torn"):
        unpack(zlib.compress(bytes(130_000_000)))


def test_a_thousand_busy_processes_take_less_than_a_third_of_plain_numbers() -> None:
    draw = np.random.default_rng(7)
    floors = np.round(draw.lognormal(18, 1, 4000) / 4096) * 4096
    rises = np.where(draw.random(4000) < 0.5, 0, np.round(draw.exponential(200, 4000)) * 4096)
    process, series = np.tile(np.arange(1000), 4), np.repeat(np.arange(4), 1000)
    low, high = floors.astype(np.float32), (floors + rises).astype(np.float32)

    assert len(pack(process.astype(np.uint32), series.astype(np.uint8), low, high)) < 13 * 4000 / 3
