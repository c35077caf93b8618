from __future__ import annotations

import numpy as np
import pytest
from bench.corpus import Case, Truth, load
from bench.generated import LEAKS, SOUND, case
from bench.injected import inject
from bench.judge import Alarm, figures, judged, limit_delay

from agent.recording import Recording

MINUTES = np.arange(600) * 60.0


def made(*, onset_s: float | None = None, rate: float = 10_000.0) -> Case:
    noise = np.random.default_rng(1).normal(0, 1e6, len(MINUTES))
    leaked = 0.0 if onset_s is None else rate * np.maximum(0.0, MINUTES - onset_s)
    truth = Truth(onset_s is not None, onset_s, None if onset_s is None else rate, 1.0, "made")
    return Case("made", truth, Recording("made", MINUTES, {"anon": 1e8 + noise + leaked}))


@pytest.mark.parametrize(
    ("onset_s", "alarm_s", "verdict"),
    [
        (None, None, "quiet"),
        (None, 600.0, "false"),
        (7200.0, 9000.0, "found"),
        (7200.0, 600.0, "early"),
        (7200.0, None, "missed"),
    ],
)
def test_an_alarm_is_judged_by_the_truth(onset_s: float | None, alarm_s: float | None, verdict: str) -> None:
    assert judged(made(onset_s=onset_s), Alarm(alarm_s)).verdict == verdict


def test_a_leak_that_nobody_could_tell_within_the_recording_is_not_missed() -> None:
    assert judged(made(onset_s=MINUTES[-60], rate=100.0), Alarm(None)).verdict == "undecidable"


def test_an_alarm_before_the_onset_is_a_false_one_and_a_miss() -> None:
    both = figures([judged(made(onset_s=7200.0), Alarm(600.0)), judged(made(onset_s=7200.0), Alarm(9000.0))])
    assert (both.precision, both.recall) == (0.5, 0.5)


def test_false_alarms_are_counted_over_the_time_without_a_leak() -> None:
    quiet, leak = judged(made(), Alarm(None)), judged(made(onset_s=7200.0), Alarm(9000.0))
    assert quiet.sound_s == MINUTES[-1]
    assert leak.sound_s == 7200.0
    assert figures([judged(made(), Alarm(21_600.0))]).false_per_day == pytest.approx(4.0)


def test_a_rate_is_held_against_the_true_one_and_its_interval() -> None:
    outcome = judged(made(onset_s=0.0), Alarm(9000.0, rate=11_000.0, low=9_000.0, high=12_000.0))
    assert outcome.rate_error == pytest.approx(0.1)
    assert outcome.covered
    assert not judged(made(onset_s=0.0), Alarm(9000.0, 11_000.0, 10_500.0, 12_000.0)).covered
    assert judged(made(), Alarm(9000.0, 11_000.0, 10_500.0, 12_000.0)).rate_error is None


def test_the_bound_is_longer_for_slower_leaks_and_for_those_without_a_baseline() -> None:
    fast, slow = limit_delay(made(onset_s=7200.0)), limit_delay(made(onset_s=7200.0, rate=300.0))
    from_start = limit_delay(made(onset_s=0.0, rate=300.0))
    assert fast == 600.0
    assert slow is not None
    assert from_start is not None
    assert fast < slow < from_start
    assert limit_delay(made()) is None


def test_the_corpus_holds_what_its_origin_says() -> None:
    real, public = load("real"), load("public")
    assert (len(real), sum(one.truth.leaks for one in real)) == (44, 22)
    assert (len(public), sum(one.truth.leaks for one in public)) == (29, 5)
    services, harder, later = load("services"), load("harder"), load("later")
    assert (len(services), sum(one.truth.leaks for one in services)) == (55, 27)
    assert (len(harder), sum(one.truth.leaks for one in harder)) == (46, 17)
    assert (len(later), sum(one.truth.leaks for one in later)) == (57, 29)
    assert all(len(one.recording.t_s) > 30 for one in real + services + harder + later)
    assert not {one.program for one in services + harder + later} & {one.program for one in real + public}


def test_a_ramp_is_added_from_its_onset_on_to_all_that_would_grow() -> None:
    sound = next(one for one in load("real") if one.name == "py-sqlalchemy-pool-bound")
    leaking = inject(sound, 2)
    onset_s, rate = leaking.truth.onset_s, leaking.truth.rate_bytes_per_s
    assert leaking.truth.leaks
    assert onset_s is not None
    assert rate is not None
    for name, values in leaking.recording.columns.items():
        added = values - sound.recording.columns[name]
        grown = rate * (sound.recording.t_s[-1] - onset_s) if name in ("rss", "anon", "uss", "vmdata") else 0
        assert added[0] == 0
        assert added[-1] == pytest.approx(grown, rel=0.01, abs=2)
    assert inject(sound, 2).truth == leaking.truth
    assert inject(sound, 3).truth != leaking.truth


@pytest.mark.parametrize("kind", LEAKS + SOUND)
def test_a_kind_and_a_seed_always_give_the_same_series(kind: str) -> None:
    first, second = case(kind, 7), case(kind, 7)
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(first.values, case(kind, 8).values)
    assert (first.onset is not None) == (kind in LEAKS)
    assert len(case(kind, 7, 900).values) == 900
    assert first.values.min() > 0
