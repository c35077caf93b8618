"""Turns: who is looked at at which block."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agent.detect import rules
from agent.detect.series import Cohort, Series
from agent.detect.turns import LEVELS_IN_TURN, MOST, MOST_FINE, MOST_SUSPECT, Turns
from agent.history.rings import Rings

BASE_S = 10.0
COARSE = 5
"""A level whose blocks are longer than half of the shortest rise of a leak."""


class Watched:
    """Two series that are polled."""

    def __init__(self) -> None:
        self.rings = Rings(BASE_S)
        self.turns = Turns(self.rings)
        self.slots = np.array([self.rings.open(), self.rings.open()])
        self.cohort = Cohort([Series(int(slot), 0.0, counts=bool(slot)) for slot in self.slots])

    def poll(self, at: int) -> None:
        self.rings.add(BASE_S * at, self.slots, np.zeros(2))

    def first_due(self, level: int, slot: int) -> int:
        """Return after how many blocks of the level a series is looked at again."""
        begun = self.rings.newest(level)
        for at in range(1, 80):
            self.poll((begun + at) << level)
            if self.turns.due(level, self.cohort).among([slot]):
                return at
        raise AssertionError("never")


@pytest.fixture
def watched() -> Watched:
    one = Watched()
    one.poll(640)
    return one


@pytest.mark.parametrize("level", range(8))
def test_a_new_series_is_looked_at_at_once(watched: Watched, level: int) -> None:
    assert watched.turns.due(level, watched.cohort) is watched.cohort


@pytest.mark.parametrize("level", range(8))
@pytest.mark.parametrize("blocks", [1, 8, 20, 127])
def test_a_rise_waits_for_an_eighth_of_what_it_has_lasted_within_bounds(
    watched: Watched, level: int, blocks: int
) -> None:
    watched.turns.wait(level, watched.slots, np.array([blocks, blocks]))
    block_s = watched.rings.block_s(level)
    longest_s = max(blocks * block_s, rules.MIN_RISE_S)

    waited = watched.first_due(level, 0)

    assert waited <= (MOST_FINE if block_s < rules.MIN_RISE_S / 8 else MOST)
    assert waited == 1 or waited * block_s <= longest_s / 8 + block_s / 2


@pytest.mark.parametrize("level", range(9))
@pytest.mark.parametrize("begun", range(640, 704, 7))
def test_what_rests_waits_about_as_long_as_the_shortest_rise_of_a_leak(level: int, begun: int) -> None:
    watched = Watched()
    watched.poll(begun << level)
    watched.turns.rest(level, watched.slots)

    waited = watched.first_due(level, 0)

    assert waited == 1 or waited * watched.rings.block_s(level) <= 1.1 * rules.MIN_RISE_S


def test_what_rests_is_looked_at_by_one_level_after_the_other(watched: Watched) -> None:
    looked_s, fine = [], range(LEVELS_IN_TURN)
    for level in fine:
        watched.turns.rest(level, watched.slots)
    for at in range(641, 641 + 300):
        watched.poll(at)
        for level in fine:
            if at % 2**level == 0 and watched.turns.due(level, watched.cohort).series:
                looked_s.append(BASE_S * at)
                watched.turns.rest(level, watched.slots)

    apart_s = [later - sooner for sooner, later in itertools.pairwise(looked_s)]
    assert len(apart_s) > 10
    assert set(apart_s) == {160.0}


def test_only_those_that_wait_are_left_out(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots[:1])

    due = watched.turns.due(0, watched.cohort)

    assert (due.slots.tolist(), due.counts.tolist()) == ([1], [True])
    assert [one.slot for one in due.series] == [1]


@pytest.mark.parametrize("blocks", [8, 31, 64, 100, 127])
def test_a_suspect_waits_for_a_small_part_of_what_it_has_lasted(watched: Watched, blocks: int) -> None:
    watched.turns.rest(0, watched.slots)
    watched.turns.soon(0, watched.slots[1:], np.array([blocks]))

    waited = watched.first_due(0, 1)

    assert waited == 1 or waited <= min(MOST_SUSPECT, blocks / 32)


def test_who_was_looked_at_is_known_until_everybody_is_looked_at_anew(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots[:1])

    assert watched.turns.looked(0, watched.slots).tolist() == [True, False]
    assert watched.turns.looked(COARSE, watched.slots).tolist() == [False, False]
    watched.turns.clear()
    assert watched.turns.looked(0, watched.slots).tolist() == [False, False]


def test_each_level_has_turns_of_its_own(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots)

    assert watched.turns.due(COARSE, watched.cohort) is watched.cohort


def test_who_comes_after_a_closed_series_does_not_wait_for_its_turn(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots)
    watched.turns.forget(0)

    assert watched.turns.due(0, watched.cohort).slots.tolist() == [0]


def test_everybody_is_looked_at_anew_after_a_clearing(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots)
    watched.turns.clear()

    assert watched.turns.due(0, watched.cohort) is watched.cohort


def test_series_that_came_when_the_rings_had_grown_are_due(watched: Watched) -> None:
    watched.turns.rest(0, watched.slots)
    late = [watched.rings.open() for _ in range(100)]
    everybody = Cohort([Series(slot, 0.0) for slot in (0, 1, *late)])

    assert watched.turns.due(0, everybody).slots.tolist() == late
