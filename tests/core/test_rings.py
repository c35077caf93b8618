from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.history.rings import STILL_BLOCKS, Rings

POLL_S = 10.0
VALUES = st.lists(st.just(float("nan")) | st.integers(0, 2**20).map(float), min_size=1, max_size=150)


def fed(values: list[float], *, levels: int = 5, blocks: int = 8, start_t_s: float = 0.0) -> Rings:
    rings = Rings(POLL_S, levels=levels, blocks=blocks, capacity=1)
    slots = np.array([rings.open()])
    for i, value in enumerate(values):
        rings.add(start_t_s + i * POLL_S, slots, np.array([value]))
    return rings


@settings(max_examples=30, deadline=None)
@given(VALUES, st.integers(0, 40))
def test_windows_are_the_minima_and_maxima_of_each_whole_block(values: list[float], shift: int) -> None:
    values = [0.5, 1.5, *values]  # it moves from the start
    rings = fed(values, start_t_s=shift * POLL_S)
    for level in range(rings.levels):
        window = rings.window(level)
        length = 2**level
        newest = (shift + len(values) - 1) // length
        for at, block in enumerate(range(newest - rings.blocks + 1, newest)):
            first, last = block * length - shift, (block + 1) * length - shift
            seen = [v for v in values[max(0, first) : max(0, last)] if not np.isnan(v)]
            expected = (min(seen), max(seen)) if seen else (np.nan, np.nan)

            found = (window.floors[0, at], window.peaks[0, at])

            np.testing.assert_equal(found, expected)
        assert window.end_t_s == newest * length * POLL_S


STILL = st.lists(
    st.tuples(st.sampled_from([1.0, 2.0, float("nan")]), st.integers(1, 12), st.integers(0, 14)),
    min_size=1,
    max_size=8,
)
"""Stretches of one value: value, polls, polls left out before it."""


@settings(max_examples=200, deadline=None)
@given(STILL, st.integers(0, 40))
def test_a_series_that_hardly_moves_has_the_windows_of_one_that_was_always_moving(
    stretches: list[tuple[float, int, int]], shift: int
) -> None:
    """But for short gaps between equal values, before it has moved: they are no gaps."""
    rings = Rings(POLL_S, levels=4, blocks=8, capacity=1)
    slot, clock = rings.open(), rings.open()
    polled: dict[int, float] = {}
    at, rests = shift, True
    for value, polls, left_out in stretches:
        for k in range(left_out + polls):
            told = [slot] if k >= left_out else []
            rings.add(at * POLL_S, np.array([clock, *told]), np.array([0.0, *(value for _ in told)]))
            if told and not np.isnan(value):
                last = max(polled, default=at)
                rests &= polled.get(last, value) == value and at - last <= STILL_BLOCKS + 1
                polled |= dict.fromkeys(range(last, at) if rests else (), value) | {at: value}
            at += 1
    for level in range(rings.levels):
        window, length = rings.window(level, np.array([slot])), 2**level
        newest = (at - 1) // length
        expected = []
        for block in range(newest - rings.blocks + 1, newest):
            seen = [v for k, v in polled.items() if k // length == block]
            expected.append((min(seen), max(seen)) if seen else (np.nan, np.nan))
        np.testing.assert_equal(np.array([window.floors[0], window.peaks[0]]).T, expected)


def test_what_never_moves_has_no_column() -> None:
    rings = Rings(POLL_S, levels=3, blocks=8)
    still, moving, unseen = (rings.open() for _ in range(3))
    for i in range(20):
        rings.add(i * POLL_S, np.array([still, moving, unseen]), np.array([5.0, 5.0 + (i > 9), np.nan]))

    assert rings.moving(np.array([still, moving, unseen])).tolist() == [False, True, False]
    assert rings.window(0, np.array([still])).floors.tolist() == [[5.0] * 7]
    assert np.isnan(rings.window(0, np.array([unseen])).floors).all()
    rings.close(moving)
    assert not rings.moving(np.array([rings.open()])).any()


def test_a_still_block_that_lasted_is_seen_all_along() -> None:
    rings = Rings(POLL_S, levels=3, blocks=16)
    slot = np.array([rings.open()])
    for t_s, value in ((0.0, 5.0), (40.0, 5.0), (80.0, 6.0), (90.0, 6.0)):
        rings.add_block(t_s, slot, np.array([value]), np.array([value]), 40.0 if value == 5.0 else 10.0)

    assert rings.window(0, slot).floors[0, -9:].tolist() == [5.0] * 8 + [6.0]


@settings(max_examples=30, deadline=None)
@given(VALUES)
def test_the_past_of_a_slot_is_its_windows(values: list[float]) -> None:
    rings = fed(values)

    past = rings.past(np.array([0]))

    for level in range(rings.levels):
        window = rings.window(level, np.array([0]))
        np.testing.assert_equal(past.floors[0, level], window.floors[0])
        np.testing.assert_equal(past.peaks[0, level], window.peaks[0])
        assert past.ends_s[level, -1] == window.end_t_s
        assert (past.ends_s[level] - past.starts_s[level] == window.block_s).all()


def test_the_block_that_is_not_over_is_not_in_the_window() -> None:
    rings = fed([5.0, 4.0, 3.0])

    assert rings.window(0).floors[0, -2:].tolist() == [5.0, 4.0]
    assert rings.window(1).floors[0, -1] == 4.0


def test_add_tells_the_levels_that_completed_a_block() -> None:
    rings = Rings(POLL_S, levels=3)
    slots = np.array([rings.open()])

    completed = [rings.add(i * POLL_S, slots, np.array([1.0])) for i in range(5)]

    assert completed == [[], [0], [0, 1], [0], [0, 1, 2]]


def test_levels_are_completed_less_than_twice_a_poll_however_long_it_runs() -> None:
    rings = Rings(POLL_S)
    slots = np.array([rings.open()])
    halves = [
        sum(len(rings.add((start + i) * POLL_S, slots, np.array([1.0]))) for i in range(1024))
        for start in (0, 1024)
    ]

    assert max(halves) <= 2 * 1024


def test_memory_does_not_grow_with_time() -> None:
    rings = Rings(POLL_S)
    slots = np.array([rings.open()])
    values = np.array([1.0])
    for i in range(800):
        rings.add(i * 1000.0, slots, values + i)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for i in range(800, 1600):
        rings.add(i * 1000.0, slots, values + i)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 4096


def test_a_suspended_machine_leaves_a_gap_and_keeps_what_was_before() -> None:
    rings = Rings(POLL_S)
    slots = np.array([rings.open()])
    rings.add(0.0, slots, np.array([7.0]))
    rings.add(28_800.0, slots, np.array([9.0]))
    rings.add(40_960.0, slots, np.array([9.0]))

    assert np.isnan(rings.window(0).floors).all()
    np.testing.assert_equal(rings.window(10).floors[0, -4:], [7.0, np.nan, 9.0, np.nan])


def test_a_clock_that_stepped_back_counts_into_the_newest_block() -> None:
    rings = fed([5.0, 6.0, 7.0])

    assert rings.add(0.0, np.array([0]), np.array([1.0])) == []
    rings.add(30.0, np.array([0]), np.array([8.0]))

    assert rings.window(0).floors[0, -3:].tolist() == [5.0, 6.0, 1.0]


def test_a_slot_that_is_opened_again_remembers_nothing() -> None:
    rings = fed([5.0, 6.0, 7.0, 8.0])
    rings.close(0)

    assert rings.open() == 0
    rings.add(40.0, np.array([0]), np.array([9.0]))
    rings.add(50.0, np.array([0]), np.array([9.0]))
    for level in range(rings.levels):
        seen = rings.window(level).floors
        assert set(seen[np.isfinite(seen)].tolist()) <= {9.0}


def test_more_series_than_fit_double_the_room_and_keep_the_old_ones() -> None:
    rings = Rings(POLL_S, capacity=1)
    first = rings.open()
    rings.add(0.0, np.array([first]), np.array([3.0]))
    others = [rings.open() for _ in range(4)]
    rings.add(10.0, np.array([first, *others]), np.arange(5.0))

    assert (rings.capacity, len({first, *others})) == (8, 5)
    assert rings.window(0, np.array([first, others[0]])).floors[:, -1][0] == 3.0
    assert np.isnan(rings.window(0).floors[others[0], -1])


@settings(max_examples=20, deadline=None)
@given(VALUES, st.integers(1, 5))
def test_series_fed_apart_or_together_are_the_same(values: list[float], other: int) -> None:
    together, apart = (Rings(POLL_S, levels=4, blocks=8) for _ in range(2))
    pairs = [(r.open(), r.open()) for r in (together, apart)]
    for i, value in enumerate(values):
        both = np.array([value, value * other])
        together.add(i * POLL_S, np.array(pairs[0]), both)
        for k in (0, 1):
            apart.add(i * POLL_S, np.array([pairs[1][k]]), both[k : k + 1])

    for level in range(4):
        np.testing.assert_equal(together.window(level).floors, apart.window(level).floors)
        np.testing.assert_equal(together.window(level).peaks, apart.window(level).peaks)


@settings(max_examples=30, deadline=None)
@given(VALUES.filter(lambda v: not all(np.isnan(v))))
def test_stored_blocks_make_the_same_coarser_blocks(values: list[float]) -> None:
    polled = fed(values)
    restored = Rings(POLL_S, levels=5, blocks=8, capacity=1)
    slots = np.array([restored.open()])
    for begin in range(0, len(values), 4):
        some = np.array(values[begin : begin + 4])
        low, high = np.fmin.reduce(some), np.fmax.reduce(some)
        restored.add_block(begin * POLL_S, slots, np.array([low]), np.array([high]))
    end_t_s = (len(values) + 16) * POLL_S
    for rings in (polled, restored):
        rings.add(end_t_s, slots, np.array([np.nan]))

    for level in (2, 3, 4):
        np.testing.assert_equal(restored.window(level).floors, polled.window(level).floors)
        np.testing.assert_equal(restored.window(level).peaks, polled.window(level).peaks)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=16, max_size=120), st.integers(0, 8), st.integers(0, 4))
def test_stored_blocks_of_their_own_levels_make_the_same_rings(
    values: list[int], coarse: int, fine: int
) -> None:
    rows = np.array([values, [7] * len(values)], dtype=float)
    rows[0, rows[0] < 5] = 3.0  # it rests now and then
    polled, restored = (Rings(POLL_S, levels=7, blocks=8, capacity=2) for _ in range(2))
    slots = np.array([polled.open(), polled.open()])
    assert slots.tolist() == [restored.open(), restored.open()]
    for at in range(rows.shape[1]):
        polled.add(at * POLL_S, slots, rows[:, at])

    at = 0
    for level, blocks in ((3, coarse), (1, fine)):
        for _ in range(blocks):
            some = rows[:, at : at + 2**level]
            if some.shape[1] == 2**level and at % 2**level == 0:
                restored.add_block(
                    at * POLL_S, slots, some.min(axis=1), some.max(axis=1), POLL_S * 2**level, level
                )
                at += 2**level
    for begin in range(at, rows.shape[1]):
        restored.add(begin * POLL_S, slots, rows[:, begin])
    end_t_s = (rows.shape[1] + 64) * POLL_S
    for rings in (polled, restored):
        rings.add(end_t_s, slots, np.array([np.nan, np.nan]))

    for level in (3, 4, 5, 6):
        np.testing.assert_equal(restored.window(level).floors, polled.window(level).floors)
        np.testing.assert_equal(restored.window(level).peaks, polled.window(level).peaks)
    for level in (0, 1, 2):  # what they still reach was not seen any more by either
        assert not np.isfinite(restored.window(level).floors).any()


def test_a_length_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        Rings(0.0)
