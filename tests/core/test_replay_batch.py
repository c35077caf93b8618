"""Recordings side by side are judged as each is alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.recording import Recording
from agent.replay import Replay, ReplayOptions, Replays, by_pace, tape
from agent.replay_batch import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.replay_story import Said

MB = 1e6
APART_S = 300.0
LIMITED = ReplayOptions(limit_bytes=500 * MB)


def life(seed: int) -> Recording:
    """Return a life of some hours: quiet, then growth of some speed or none, noise, one long gap or none."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(30, 150))
    t_s = APART_S * float(rng.uniform(0.998, 1.002)) * np.arange(length)
    onset, step = int(rng.integers(0, 60)), float(rng.choice([0.0, 1.0, 5.0])) * MB
    t_s = t_s + rng.choice([0.0, 7000.0]) * (np.arange(length) >= rng.integers(0, length))
    anon = 100 * MB + step * np.maximum(0, np.arange(length) - onset) + rng.normal(0, 0.2 * MB, length)
    anon[rng.random(length) < rng.choice([0.0, 0.1])] = np.nan
    columns = {"anon": anon}
    if rng.random() < 0.5:
        columns["cpu"] = np.cumsum(rng.uniform(0, 10, length))
    if rng.random() < 0.5:
        columns["threads"] = np.floor(40 + np.maximum(0, np.arange(length) - onset) * rng.choice([0, 2]))
    return Recording(f"life-{seed}", t_s, columns)


def alone(recording: Recording, options: ReplayOptions) -> list[Said]:
    return list(Replay(recording, options).run())


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(0, 2**16), min_size=2, max_size=4))
@example([0, 21715])  # a gap during which others go on
def test_side_by_side_each_is_told_as_it_is_alone(seeds: list[int]) -> None:
    lives = [life(seed) for seed in seeds]
    together: list[list[Said]] = [[] for _ in lives]
    for k, said in Replays(lives, LIMITED).run():
        together[k].append(said)

    assert together == [alone(one, LIMITED) for one in lives]


class Asking(Replays):
    """Asks about every recording in every block, whether anything else is found or not."""

    def _concerned(self, seen: Sequence[int], slots: set[int]) -> Sequence[int]:  # noqa: ARG002 - as inherited
        for one in self.replays:
            one._steady = False  # noqa: SLF001 - what is tested is that it may be true
        return seen


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 2**16), min_size=2, max_size=4))
@example([3, 4, 5])
@example([0, 29])  # another rate, which is told as soon as growth has gone on for longer
@example([0, 2])  # what grows is looked for again at other moments
def test_what_was_told_is_not_asked_for_again_without_need(seeds: list[int]) -> None:
    lives = [life(seed) for seed in seeds]

    assert news(Replays(lives, ReplayOptions())) == news(Asking(lives, ReplayOptions()))


def news(replays: Replays) -> list[tuple[int, Said]]:
    """Return what is told but for what grows: that is looked for now and then, at moments of its own."""
    return [
        (k, replace(said, grows="", reasons=tuple(one for one in said.reasons if one.name != "kind")))
        for k, said in replays.run()
    ]


def test_some_of_these_lives_are_told_something() -> None:
    assert sum(bool(alone(life(seed), LIMITED)) for seed in range(6)) >= 2
    assert sum(bool(alone(life(seed), ReplayOptions())) for seed in range(6)) >= 2


def test_a_life_is_judged_after_a_gap_as_if_nobody_else_had_been_watched() -> None:
    t_s = np.arange(96) * APART_S
    anon = 100 * MB + 5 * MB * np.maximum(0.0, np.arange(96) - 60)
    gap = (np.arange(96) < 66) | (np.arange(96) > 80)
    leaking = Recording("leaking", t_s[gap], {"anon": anon[gap]})
    steady = Recording("steady", t_s, {"anon": np.full(96, 50 * MB)})
    together = [said for k, said in Replays([leaking, steady], LIMITED).run() if k == 0]

    assert together == alone(leaking, LIMITED)
    assert together


def paced(apart_s: float, length: int = 20) -> Recording:
    return Recording("paced", np.arange(length) * apart_s, {"rss": np.full(length, MB)})


@pytest.mark.parametrize(
    ("apart_s", "pace_s"),
    [(59.9, 60.0), (60.2, 60.0), (10.4, 10.0), (0.2, 1.0), (1.26, 1.3), (3599.0, 3600.0)],
)
def test_a_pace_is_known_to_two_digits_and_never_under_a_second(apart_s: float, pace_s: float) -> None:
    assert tape(paced(apart_s), ReplayOptions()).pace_s == pace_s


def test_recordings_of_one_pace_go_together_and_the_time_scale_counts() -> None:
    recordings = [paced(60.2), paced(10.0), paced(59.9), paced(60.0, length=1)]

    assert by_pace(recordings, ReplayOptions()) == [[0, 2], [1], [3]]
    assert by_pace(recordings, ReplayOptions(time_scale=0.01)) == [[0, 1, 2, 3]]


def test_the_first_sample_is_left_out_and_blocks_without_samples_are_not_told() -> None:
    t_s = np.array([0.0, 10.0, 40.0, 50.0])
    rows = {"anon": np.array([9.0, 1.0, 2.0, 3.0]), "cpu": np.array([0.0, 1.0, 2.0, 3.0])}
    batch = Batch([tape(Recording("gap", t_s, rows), ReplayOptions())], 10.0)
    told = [(begin_s, seen, turns[0].cohort.slots.tolist()) for begin_s, seen, turns in batch.blocks()]
    ((one,),) = batch.series

    assert told == [(begin_s, [0], [one.slot]) for begin_s in (0.0, 10.0, 40.0, 50.0)]
    assert batch.rings.window(0, np.array([one.slot])).floors[0, -5:].tolist()[1:] == pytest.approx(
        [1.0, np.nan, np.nan, 2.0], nan_ok=True
    )
    assert batch.rings.window(0, np.array([one.load_slot])).floors[0, -1] == 2.0
