"""What the detector must find, how soon, and what it must never call a leak: polls of 10 s, made-up time."""

from __future__ import annotations

import numpy as np
import pytest
from series import (
    BASE,
    BIRTH_T_S,
    HOUR_S,
    MB,
    MINUTE_S,
    NOTHING,
    ar1,
    explained,
    filling,
    polls,
    ramp,
    saturating,
    sawtooth,
    shaken,
    step,
    tell,
    unseen,
    white,
)

from agent.detect import rules
from agent.detect.leak import LeakDetector
from agent.detect.options import DetectOptions, Thresholds
from agent.detect.series import Series
from agent.history.rings import Rings
from agent.model import State

NO_LIMITS = Thresholds(enabled=False)


def test_20_mb_an_hour_after_two_steady_hours_is_a_leak_the_sooner_the_straighter() -> None:
    age_s = polls(4.2)
    leak = BASE + ramp(age_s, 20, onset_s=2 * HOUR_S)
    told = tell(
        [
            leak,
            unseen(leak, age_s, from_s=1 * HOUR_S, to_s=1 * HOUR_S + 20 * MINUTE_S),
            unseen(leak, age_s, from_s=2.5 * HOUR_S, to_s=2.5 * HOUR_S + 20 * MINUTE_S),
            *shaken(leak)[1:],
            leak + ar1(len(age_s), 1 * MB, seed=4),
            leak + sawtooth(age_s, 40 * MB, 90.0, jitter=0.3, seed=5),
        ],
        finest=3,
        limits=NO_LIMITS,
    )
    delay_s = np.array(told.first_s(told.detector, State.WARNING)) - 2 * HOUR_S

    assert (delay_s > 10 * MINUTE_S).all(), delay_s
    assert (delay_s[:3] <= 25 * MINUTE_S).all(), delay_s
    assert (delay_s[3:5] <= 55 * MINUTE_S).all(), delay_s
    assert (delay_s[5:] <= 2.1 * HOUR_S).all(), delay_s
    assert set(told.worst) == {State.WARNING}


def test_a_leak_below_a_large_sawtooth_is_found_within_two_hours() -> None:
    age_s = polls(4.2)
    leak = BASE + ramp(age_s, 20, onset_s=2 * HOUR_S)
    told = tell(
        [
            leak + sawtooth(age_s, 80 * MB, 240.0),
            leak + sawtooth(age_s, 80 * MB, 240.0, jitter=0.2, seed=1),
        ],
        finest=3,
        limits=NO_LIMITS,
    )
    delay_s = np.array(told.first_s(told.detector, State.WARNING)) - 2 * HOUR_S

    assert ((delay_s > 0) & (delay_s <= 2.1 * HOUR_S)).all(), delay_s


def test_a_sawtooth_is_never_a_leak() -> None:
    age_s = polls(3.0)
    rows = [
        BASE + sawtooth(age_s, 80 * MB, period_s, jitter=jitter, seed=seed) + white(len(age_s), sd, seed=seed)
        for period_s in (90.0, 240.0, 420.0)
        for jitter, seed, sd in ((0.0, 0, 0.0), (0.1, 1, 0.3 * MB), (0.3, 2, 0.3 * MB))
    ]
    told = tell(rows, finest=2, limits=NO_LIMITS)

    assert told.detector.max() <= State.SUSPECT


def test_a_cache_that_fills_at_the_start_or_ever_more_slowly_is_never_a_leak() -> None:
    age_s = polls(6.0)
    rows = [
        *shaken(BASE + filling(age_s, 60 * MB), seeds=(1,)),
        *shaken(BASE + filling(age_s, 60 * MB, onset_s=2 * HOUR_S, over_s=10 * MINUTE_S)),
        BASE + saturating(age_s, 40 * MB, onset_s=2 * HOUR_S),
        BASE + saturating(age_s, 20 * MB, onset_s=4 * HOUR_S),
    ]
    told = tell(rows, finest=2, limits=NO_LIMITS)

    assert max(told.worst) <= State.SUSPECT


def test_a_cache_that_fills_evenly_after_hours_of_quiet_is_told_until_it_is_full() -> None:
    """What nobody can know while it goes on: a leak of 60 MB an hour is told within 15 to 20 minutes, too."""
    age_s = polls(6.0)
    told = tell([BASE + filling(age_s, 60 * MB, onset_s=2 * HOUR_S)], finest=2, limits=NO_LIMITS)
    warned = age_s[told.detector[0] >= State.WARNING]

    assert 2.2 * HOUR_S <= warned[0] <= 2.35 * HOUR_S
    assert warned[-1] <= 3.5 * HOUR_S


def test_what_grows_from_the_start_is_no_leak_before_five_and_a_half_hours() -> None:
    age_s = polls(6.7, poll_s=30.0)
    rows = [
        BASE + ramp(age_s, 10) + white(len(age_s), 0.3 * MB, seed=1),
        BASE + filling(age_s, 50 * MB, over_s=5 * HOUR_S) + white(len(age_s), 0.3 * MB, seed=1),
    ]
    told = tell(rows, poll_s=30.0, finest=2, limits=NO_LIMITS)
    leak_s, cache_s = told.first_s(told.detector, State.WARNING)

    assert 5.5 * HOUR_S <= leak_s <= 6.5 * HOUR_S
    assert cache_s == np.inf


def test_steps_declines_and_slowing_growth_are_never_leaks() -> None:
    age_s = polls(6.0)
    rows = [
        BASE + step(age_s, 80 * MB, at_s=2.5 * HOUR_S),
        BASE + sum(step(age_s, 20 * MB, at_s=hour * HOUR_S) for hour in (1.5, 2.5, 3.5)),
        BASE - ramp(age_s, 10) + ar1(len(age_s), 1 * MB, seed=1),
        BASE + 20 * MB * np.log1p(age_s / 600.0),
        BASE + ar1(len(age_s), 5 * MB, 0.995, seed=2),
        np.full(len(age_s), BASE),
    ]
    told = tell(rows, finest=3)

    assert told.detector.max() <= State.SUSPECT
    assert told.detector.max(axis=1).tolist()[:3] == [NOTHING] * 3
    assert told.fast.max() <= State.SUSPECT


def test_leaking_threads_are_found_and_a_pool_that_fills_is_not() -> None:
    age_s = polls(4.2)
    rng = np.random.default_rng(3)
    busy = 40.0 + rng.integers(-2, 3, len(age_s))
    leaked = np.floor(ramp(age_s, 10, onset_s=2 * HOUR_S) / MB)
    pool = np.minimum(64.0, 40.0 + np.floor(ramp(age_s, 60) / MB))
    told = tell([40.0 + leaked, busy + leaked, busy, pool], counts=True, finest=2)
    first_s = told.first_s(told.detector, State.WARNING)

    assert max(first_s[:2]) <= 4.0 * HOUR_S
    assert first_s[2:] == [np.inf, np.inf]


def test_a_rise_that_rests_as_soon_as_it_looks_like_a_leak_is_told_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    age_s, onset_s = polls(6.0), 4 * HOUR_S
    noise = white(len(age_s), 0.3 * MB, seed=4)
    endless = BASE + ramp(age_s, 40, onset_s=onset_s) + noise
    held = tell([endless])
    with monkeypatch.context() as at_once:
        at_once.setattr(rules, "HELD_AFTER_QUIET", 1e-6)
        hasty = tell([endless])
        seen_s = hasty.first_s(hasty.detector, State.WARNING)[0]
        resting = BASE + ramp(np.minimum(age_s, seen_s), 40, onset_s=onset_s) + noise
        assert tell([resting]).worst == [State.WARNING]

    assert tell([resting]).worst == [State.SUSPECT]
    assert seen_s < held.first_s(held.detector, State.WARNING)[0] < onset_s + 1.3 * (seen_s - onset_s)


@pytest.mark.parametrize(
    "suspended_at_s", [1.5 * HOUR_S, 2.5 * HOUR_S], ids=["before the onset", "in the rise"]
)
def test_eight_hours_of_suspension_raise_nothing_and_lose_no_leak(suspended_at_s: float) -> None:
    age_s = polls(4.5)
    t_s = BIRTH_T_S + age_s + np.where(age_s >= suspended_at_s, 8 * HOUR_S, 0.0)
    rows = [
        BASE + ramp(age_s, 20, onset_s=2 * HOUR_S),
        BASE + sawtooth(age_s, 80 * MB, 240.0),
        np.full(len(age_s), BASE),
        BASE + saturating(age_s, 40 * MB, onset_s=2 * HOUR_S),
    ]
    told = tell(rows, t_s=t_s, finest=3)
    first_s = told.first_s(told.detector, State.WARNING)

    assert first_s[0] <= (8 + 4.5) * HOUR_S
    assert max(told.worst[1:]) <= State.SUSPECT


def test_a_clock_that_steps_back_breaks_nothing() -> None:
    age_s = polls(0.8)
    t_s = BIRTH_T_S + age_s - np.where(age_s >= 0.5 * HOUR_S, 3 * HOUR_S, 0.0)
    rows = shaken(BASE + ramp(age_s, 60, onset_s=0.2 * HOUR_S), seeds=(1,))

    assert max(tell(rows, t_s=t_s, finest=0).worst) <= State.SUSPECT


def test_a_life_is_judged_at_its_finest_scale_too() -> None:
    """Six quiet hours make twenty minutes of growth enough; only the two finest levels see so few."""
    age_s = polls(7.3)
    told = tell([BASE + ramp(age_s, 90, onset_s=6.8 * HOUR_S)], finest=0, limits=NO_LIMITS)
    delay_s = told.first_s(told.detector, State.WARNING)[0] - 6.8 * HOUR_S

    assert 10 * MINUTE_S <= delay_s <= 25 * MINUTE_S


def leaking() -> tuple[LeakDetector, Rings, list[Series], float]:
    """Feed a leak and a flat series at one poll a minute, as far as the leak is told."""
    rings = Rings(MINUTE_S)
    slots = np.array([rings.open(), rings.open()])
    series = [Series(int(slot), BIRTH_T_S) for slot in slots]
    detector = LeakDetector(rings, DetectOptions())
    age_s = np.arange(240) * MINUTE_S
    leak = BASE + ramp(age_s, 20, onset_s=2 * HOUR_S) + white(240, 0.1 * MB, seed=1)
    for age, amount in zip(age_s, leak, strict=True):
        detector.judge(rings.add(BIRTH_T_S + age, slots, np.array([amount, BASE])), series, BIRTH_T_S + age)
    return detector, rings, series, BIRTH_T_S + float(age_s[-1])


def test_a_finding_tells_rate_onset_and_growth() -> None:
    detector, _, series, t_s = leaking()
    found = detector.finding(series[0].slot, t_s)

    assert found is not None
    assert found.state is State.WARNING
    assert found.rate.low <= 20e6 <= found.rate.high
    assert found.rate.value == pytest.approx(20e6, rel=0.03)
    assert found.onset_t_s == pytest.approx(BIRTH_T_S + 2 * HOUR_S, abs=10 * MINUTE_S)
    assert found.growth == pytest.approx(40e6, rel=0.1)
    assert detector.finding(series[1].slot, t_s) is None


def test_findings_lapse_when_nobody_looks_any_more() -> None:
    detector, _, series, t_s = leaking()

    assert detector.finding(series[0].slot, t_s + 2 * HOUR_S * 24) is None


def test_looking_again_at_one_series_keeps_what_is_known_of_the_others() -> None:
    detector, rings, series, t_s = leaking()
    before = detector.finding(series[0].slot, t_s)
    detector.judge(range(rings.levels), series[1:], t_s)

    assert detector.finding(series[0].slot, t_s) == before


def test_what_is_forgotten_is_not_found() -> None:
    detector, _, series, t_s = leaking()
    detector.forget(series[0].slot)
    detector.forget(99)

    assert detector.finding(series[0].slot, t_s) is None


def test_a_closed_slot_lends_nothing_to_the_next_life() -> None:
    detector, rings, series, t_s = leaking()
    slot = series[0].slot
    rings.close(slot)
    detector.forget(slot)
    again = rings.open()
    reborn = Series(again, t_s)
    for i in range(1, 60):
        now_s = t_s + i * MINUTE_S
        detector.judge(rings.add(now_s, np.array([again]), np.array([BASE])), [reborn], now_s)

    assert again == slot
    assert detector.finding(slot, t_s + 59 * MINUTE_S) is None


def test_a_detector_that_is_off_finds_nothing_and_options_can_change() -> None:
    detector, rings, series, t_s = leaking()
    detector.reconfigure(DetectOptions(min_rate_bytes_per_hour=3e7))
    detector.judge(range(rings.levels), series, t_s)
    too_slow = detector.finding(series[0].slot, t_s)
    detector.reconfigure(DetectOptions())
    detector.judge(range(rings.levels), series, t_s)
    found = detector.finding(series[0].slot, t_s)
    off = LeakDetector(rings, DetectOptions(enabled=False))
    off.judge(range(rings.levels), series, t_s)

    assert too_slow is None
    assert found is not None
    assert off.finding(series[0].slot, t_s) is None


def test_growth_that_is_small_beside_the_base_is_less_urgent() -> None:
    age_s = polls(4.0)
    leak = ramp(age_s, 10, onset_s=2 * HOUR_S)
    told = tell([BASE + leak, 8 * BASE + leak], finest=3, limits=NO_LIMITS)
    small_s, large_s = told.first_s(told.detector, State.WARNING)

    assert small_s < large_s


def test_a_small_leak_is_explained_to_the_letter() -> None:
    """The golden case: change it together with the rule that changed it."""
    age_s = np.arange(300) * MINUTE_S
    wave = 0.4 * MB * np.sin(np.arange(300) * 0.7)
    (found,) = explained([BASE + ramp(age_s, 24, onset_s=2.5 * HOUR_S) + wave])

    assert found is not None
    assert (found.state, found.block_s, found.quiet_s) == (State.WARNING, 120.0, 6960.0)
    assert [round(v / 1e4) for v in found.rate] == [2395, 1999, 2781]
    assert found.onset_t_s - BIRTH_T_S == 8920.0
    assert [(r.name, r.passed, r.text) for r in found.reasons] == [
        ("lasting", True, "has grown for 2h30m after 1h56m of quiet (16m are enough)"),
        ("above-noise", True, "stands out of the noise: slope is 570.9 times its error (4 needed)"),
        ("new-high", True, "floor 158MB passes the earlier peak 100MB"),
        ("keeps", True, "gives nothing back: fell by at most 0B while it grew 58.8MB"),
        ("goes-on", True, "goes on: lately at 100 % of its mean speed"),
        ("no-jump", True, "grows steadily: the three largest steps carry 7 % of it"),
        ("not-slowing", True, "is no slower than it was"),
    ]


def test_a_filled_cache_is_explained_to_the_letter() -> None:
    """The golden case of failed considerations."""
    age_s = np.arange(300) * MINUTE_S
    wave = 0.4 * MB * np.sin(np.arange(300) * 0.7)
    (found,) = explained([BASE + saturating(age_s, 60 * MB, over_s=2 * HOUR_S) + wave], levels=1)

    assert found is not None
    assert found.state is State.SOUND
    assert [(r.name, r.passed, r.text) for r in found.reasons] == [
        ("lasting", False, "too young: has grown for 2h7m without a quiet time before it, 30h20m are needed"),
        ("above-noise", True, "stands out of the noise: slope is 5.8 times its error (4 needed)"),
        ("new-high", True, "floor is at 160MB, never seen before"),
        ("keeps", False, "comes back down: fell by at most 756kB while it grew 1.83MB"),
        ("goes-on", False, "has levelled off: lately at 53 % of its mean speed"),
        ("no-jump", True, "grows steadily: the three largest steps carry 50 % of it"),
        ("not-slowing", True, "is no slower than it was"),
    ]
