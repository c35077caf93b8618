"""Properties of the detector, and those that its rules give up.

Given up, on purpose:

* Adding a constant does change how urgent growth is: what doubles the process soon needs to last less long
  (`test_growth_that_is_small_beside_the_base_is_less_urgent`). What is found is the same, as tested here.
* So does a factor, where it takes the growth out of or below what anybody would be woken for, or the base
  below what counts as doubling. Within these borders, as tested here, it changes rate and growth and no more.
* Adding a trend keeps a leak a leak only where it begins no earlier than the leak: a trend from the start of
  the life takes away the quiet time before the leak, and such growth must last longer.
* Time may be shifted by whole blocks of the coarsest level only: blocks begin at multiples of their length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series import BASE, BIRTH_T_S, HOUR_S, MB, MINUTE_S, ar1, explained, polls, ramp

from agent.detect import rules
from agent.detect.leak import SUSPECT_P, WARNING_P, LeakDetector
from agent.detect.lineage import Lent
from agent.detect.options import DetectOptions, Thresholds
from agent.detect.series import Series
from agent.detect.thresholds import fast_growth, near_limit
from agent.history.rings import Rings
from agent.model import State

if TYPE_CHECKING:
    from agent.detect.leak import Finding

DAY_S = 86400.0
POLL_S = 2 * MINUTE_S
LEVELS = 7
SHIFT_S = POLL_S * 2 ** (LEVELS - 1)
"""The longest block where there are so many levels."""
SEEDS = st.integers(0, 2**16)
FEW = settings(max_examples=6, deadline=None)


def ages(hours: float) -> np.ndarray:
    return polls(hours, POLL_S)


def looks(
    rows: list[np.ndarray], birth_t_s: float = BIRTH_T_S, limits: list[float] | None = None
) -> list[Finding | None]:
    return explained(rows, poll_s=POLL_S, levels=LEVELS, birth_t_s=birth_t_s, limits=limits)


def leaks(seed: int, hours: float = 5.0) -> list[np.ndarray]:
    """A plain leak, one in noise, one that starts with the life, none: each after its own quiet time."""
    rng = np.random.default_rng(seed)
    age_s = ages(hours)
    onset_s = float(rng.uniform(1.5, 2.5)) * HOUR_S
    noise = [ar1(len(age_s), 0.5 * MB, seed=seed + k) for k in range(3)]
    return [
        BASE + ramp(age_s, 20, onset_s=onset_s) + 0.1 * noise[0],
        BASE + ramp(age_s, 40, onset_s=onset_s) + noise[1],
        BASE + ramp(age_s, 30) + noise[2],
        BASE + noise[0],
    ]


def told(found: Finding | None) -> tuple[State, float, float, float, tuple[str, ...]] | None:
    if found is None:
        return None
    return found.state, found.rate.value, found.growth, found.quiet_s, tuple(r.text for r in found.reasons)


@FEW
@given(SEEDS, st.integers(1, 50))
def test_shifting_time_changes_nothing(seed: int, blocks: int) -> None:
    rows = leaks(seed)
    here, there = looks(rows), looks(rows, BIRTH_T_S + blocks * SHIFT_S)

    assert [told(f) for f in there] == [told(f) for f in here]
    assert [f and f.onset_t_s - blocks * SHIFT_S for f in there] == [f and f.onset_t_s for f in here]


@FEW
@given(SEEDS, st.integers(1, 12))
def test_scaling_by_a_power_of_two_scales_the_rate(seed: int, power: int) -> None:
    rows = leaks(seed)[:3]
    for small, large in zip(looks(rows), looks([2.0**power * row for row in rows]), strict=True):
        assert small is not None
        assert large is not None
        assert list(large.rate) == pytest.approx([2.0**power * v for v in small.rate], rel=1e-6)
        assert large.growth == pytest.approx(2.0**power * small.growth)
        assert (large.state, large.onset_t_s, large.quiet_s) == (small.state, small.onset_t_s, small.quiet_s)
        assert large.probability == pytest.approx(small.probability, rel=1e-6)
        assert [r.passed for r in large.reasons] == [r.passed for r in small.reasons]


@FEW
@given(SEEDS, st.integers(-30, 500))
def test_adding_a_constant_changes_nothing_where_the_limit_is_nearer_than_doubling(
    seed: int, megabytes: int
) -> None:
    """The limit is moved, too."""
    rows = [np.round(row / 4096) * 4096 for row in leaks(seed)[:3]]
    limits = [float(row[-1]) + 40 * MB for row in rows]
    shift = megabytes * 2.0**20
    here = looks(rows, limits=limits)
    there = looks([row + shift for row in rows], limits=[limit + shift for limit in limits])
    for plain, moved in zip(here, there, strict=True):
        assert plain is not None
        assert moved is not None
        assert list(moved.rate) == pytest.approx(list(plain.rate), rel=1e-6)
        assert (moved.state, moved.onset_t_s, moved.quiet_s) == (plain.state, plain.onset_t_s, plain.quiet_s)
        assert moved.probability == pytest.approx(plain.probability, rel=1e-6)
        assert [r.passed for r in moved.reasons] == [r.passed for r in plain.reasons]


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(0, 2**24).map(float), min_size=2, max_size=300),
    st.floats(0, 1e9),
    st.booleans(),
)
def test_what_never_rises_is_sound(falls: list[float], start: float, flat: bool) -> None:  # noqa: FBT001 - drawn
    row = np.full(len(falls), start) if flat else start - np.cumsum(falls)
    (found,) = looks([row])

    assert found is None or found.state is State.SOUND


@FEW
@given(SEEDS, st.floats(5, 500), st.floats(0.0, 1.0))
def test_a_ramp_that_is_added_to_a_leak_never_makes_it_less_of_one(
    seed: int, mb_per_hour: float, noise_mb: float
) -> None:
    age_s = ages(8.0)
    onsets_s = (0.0, float(np.random.default_rng(seed).uniform(2.0, 5.5)) * HOUR_S)
    noise = ar1(len(age_s), noise_mb * MB, seed=seed)
    rows = [BASE + ramp(age_s, mb, onset_s=s) + noise for s in onsets_s for mb in (20, 20 + mb_per_hour)]
    states = [found.state if found else State.SOUND for found in looks(rows)]

    assert states[1] >= states[0] >= State.SUSPECT
    assert states[3] >= states[2] >= State.SUSPECT


def test_a_trend_from_the_start_takes_the_quiet_time_of_a_leak() -> None:
    age_s = ages(4.5)
    leak = BASE + ramp(age_s, 20, onset_s=2 * HOUR_S) + ar1(len(age_s), 0.2 * MB, seed=1)
    alone, on_a_trend = looks([leak, leak + ramp(age_s, 200)])

    assert alone is not None
    assert alone.state is State.WARNING
    assert on_a_trend is not None
    assert on_a_trend.state < State.WARNING
    assert not on_a_trend.reasons[0].passed


ANY_AMOUNT = (
    st.just(float("nan"))
    | st.sampled_from([0.0, 1.0, 1e8, 2e8, 1e12, 1e-12])
    | st.floats(-(2.0**62), 2.0**62)
    | st.floats(1e8, 2e8)
)
ANY_RUNS = st.lists(st.tuples(ANY_AMOUNT, st.integers(1, 30)), min_size=1, max_size=15)
LENT = st.none() | st.builds(Lent, st.floats(0, 1e12), st.floats(0, 1e5), st.floats(0, 1e7))
PROMISES = st.floats(DAY_S, 1e9)


def drawn(runs: list[tuple[float, int]], slope: float) -> np.ndarray:
    return np.concatenate([np.full(length, value) + slope * np.arange(length) for value, length in runs])


@settings(max_examples=20, deadline=None)
@given(
    ANY_RUNS,
    st.sampled_from([0.0, -30.0, 600.0, 1e6]),
    st.booleans(),
    LENT,
    st.none() | st.floats(-1e9, 1e12),
)
def test_any_series_can_be_judged(
    runs: list[tuple[float, int]],
    slope: float,
    counts: bool,  # noqa: FBT001 - drawn
    lent: Lent | None,
    limit: float | None,
) -> None:
    """Warnings of numpy are errors here."""
    rings = Rings(MINUTE_S, levels=6)
    slots = np.array([rings.open()])
    one = Series(0, BIRTH_T_S, counts, lent=lent, limit=limit)
    detector = LeakDetector(rings, DetectOptions(min_rate_bytes_per_hour=1.0))
    t_s = BIRTH_T_S
    for value in drawn(runs, slope):
        detector.judge(rings.add(t_s, slots, np.array([value])), [one], t_s)
        fast_growth(rings, [one], [Thresholds(growth_bytes_per_hour=1.0, growth_for_s=300.0)], t_s)
        t_s += MINUTE_S
    near_limit(rings, 0, 1e9, Thresholds())
    for found in (detector.finding(0, t_s), detector.explain(one, t_s)):
        if found is not None:
            assert np.isfinite([*found.rate, found.onset_t_s, found.growth, found.significance]).all()
            assert 0.0 <= found.probability <= 1.0
            assert found.state <= State.WARNING
            assert found.state < State.SUSPECT or found.probability >= SUSPECT_P
            assert found.state < State.WARNING or found.probability >= WARNING_P
            assert found.reasons


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.floats(1, 100), PROMISES, PROMISES)
def test_to_ask_for_rarer_false_alarms_never_makes_a_state_graver(
    seed: int, mb_per_hour: float, one: float, other: float
) -> None:
    age_s = ages(5.0)
    noise = ar1(len(age_s), 2 * MB, 0.98, seed=seed)
    rows = [BASE + ramp(age_s, mb_per_hour, onset_s=s * HOUR_S) + noise for s in (0.0, 2.0, 3.0)]
    rings, judged, t_s = polled(rows)
    often, rarely = sorted((one, other))
    for series in judged:
        found = [
            LeakDetector(rings, options).explain(series, t_s)
            for options in (
                DetectOptions(false_alarm_every_s=often, critical_false_alarm_every_s=often),
                DetectOptions(false_alarm_every_s=often, critical_false_alarm_every_s=rarely),
                DetectOptions(false_alarm_every_s=rarely, critical_false_alarm_every_s=rarely),
            )
        ]
        if None not in found:
            states, sure = [f.state for f in found if f], [f.sure for f in found if f]
            assert states[0] == states[1] >= states[2]
            assert sure[0] >= sure[1] == sure[2]


def polled(rows: list[np.ndarray]) -> tuple[Rings, list[Series], float]:
    """Return rings that have seen all of some series, the series, and when they were last seen."""
    rings = Rings(POLL_S, levels=LEVELS, capacity=len(rows))
    slots = np.array([rings.open() for _ in rows])
    t_s = BIRTH_T_S
    for values in np.stack(rows).T:
        t_s += POLL_S
        rings.add(t_s, slots, values)
    return rings, [Series(int(slot), BIRTH_T_S) for slot in slots], t_s


@settings(max_examples=4, deadline=None)
@given(ANY_RUNS, SEEDS)
def test_a_restart_forgets_the_run(runs: list[tuple[float, int]], seed: int) -> None:
    before, after = drawn(runs, 1e6)[:100], leaks(seed)[1][:100]
    told_of = []
    for earlier in (before, np.full(len(before), np.nan)):
        rings = Rings(POLL_S, levels=LEVELS, capacity=1)
        detector = LeakDetector(rings, DetectOptions())
        t_s = BIRTH_T_S
        for values in (earlier, after):
            slots, birth_t_s = np.array([rings.open()]), t_s
            for value in values:
                completed = rings.add(t_s, slots, np.array([value]))
                detector.judge(completed, [Series(0, birth_t_s)], t_s)
                t_s += POLL_S
            found = detector.finding(0, t_s), detector.explain(Series(0, birth_t_s), t_s)
            detector.forget(0)
            rings.close(0)
        told_of.append(found)

    assert told_of[0] == told_of[1]


@FEW
@given(SEEDS, st.floats(10, 60), st.floats(0.1, 0.4))
def test_a_lineage_lends_a_run_its_quiet_time_beyond_its_plateau_and_none_below(
    seed: int, mb_per_hour: float, warmup_h: float
) -> None:
    """Growth that goes on when earlier runs had come to rest, for an hour above where they did."""
    age_s = ages(2.5)
    onset_s = warmup_h * HOUR_S
    rise = ramp(age_s, mb_per_hour, onset_s=onset_s) + ar1(len(age_s), 0.1 * MB, seed=seed)
    lent = [Lent(plateau, onset_s - 600.0, 20 * HOUR_S) for plateau in (BASE, 5 * BASE)]
    rings, (one, *_), t_s = polled([BASE + rise])
    detector = LeakDetector(rings, DetectOptions())
    none, beyond, below = (detector.explain(replace(one, lent=what), t_s) for what in (None, *lent))

    assert none is not None
    assert beyond is not None
    assert below is not None
    assert none.state < State.WARNING
    assert beyond.state is State.WARNING
    assert below.state < State.WARNING
    assert "new-high" in [r.name for r in below.reasons if not r.passed]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.just(float("nan")) | st.floats(0, 1e10), min_size=1, max_size=20))
def test_too_short_a_life_says_nothing(values: list[float]) -> None:
    found = looks([np.array(values[:8])])

    assert found == [None]


def test_growth_below_the_least_amount_is_not_judged() -> None:
    age_s = ages(5.0)
    rings = Rings(POLL_S)
    slots = np.array([rings.open(), rings.open()])
    series = [Series(int(slot), BIRTH_T_S) for slot in slots]
    detector = LeakDetector(rings, DetectOptions())
    least = ramp(age_s, 1, onset_s=2 * HOUR_S) * rules.MIN_GROWTH_BYTES / (3 * MB)
    for age, amount in zip(age_s, least, strict=True):
        polled = 10 * MB + np.array([0.9 * amount, 1.3 * amount])
        detector.judge(rings.add(BIRTH_T_S + age, slots, polled), series, BIRTH_T_S + age)
    found = [detector.finding(int(slot), BIRTH_T_S + age_s[-1]) for slot in slots]

    assert found[0] is None
    assert found[1] is not None
    assert found[1].state >= State.SUSPECT
