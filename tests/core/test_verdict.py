from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.detect.leak import Finding
from agent.detect.options import DetectOptions
from agent.detect.thresholds import Breach
from agent.detect.verdict import growth_verdict, limit_verdict
from agent.model import Estimate, Event, Reason, State, Subject

if TYPE_CHECKING:
    from agent.model import Verdict

HOUR_S = 3600.0
NOW_S = 100 * HOUR_S
OPTIONS = DetectOptions()


def finding(state: State, *, sure: bool = True, standing: Estimate | None = None) -> Finding:
    return Finding(
        t_s=NOW_S,
        state=state,
        score=2.2,
        probability=0.9,
        sure=sure,
        rate=Estimate(20e6, 18e6, 22e6),
        onset_t_s=NOW_S - 2 * HOUR_S,
        growth=40e6,
        quiet_s=4 * HOUR_S,
        block_s=80.0,
        significance=9.0,
        standing=standing,
        reasons=(Reason("lasting", passed=True, text="has grown for 2h"),),
    )


def breach(state: State, rate: float = 150e6) -> Breach:
    return Breach(
        state,
        Reason("fast-growth", passed=True, text="floor has grown fast"),
        Estimate(rate, 0.9 * rate, 1.1 * rate),
        NOW_S - HOUR_S / 6,
        rate / 6,
    )


def judged(
    found: Finding | None = None,
    over: Breach | None = None,
    *,
    limit: float | None = 10e9,
    age_h: float = 30.0,
    options: DetectOptions = OPTIONS,
) -> Verdict:
    return growth_verdict(
        Subject.HEAP,
        t_s=NOW_S,
        age_s=age_h * HOUR_S,
        current=400e6,
        limit=limit,
        finding=found,
        breach=over,
        options=options,
    )


SOUND, SUSPECT, WARNING, CRITICAL = State.SOUND, State.SUSPECT, State.WARNING, State.CRITICAL


@pytest.mark.parametrize(
    ("found", "over", "state", "event", "rate"),
    [
        (None, None, SOUND, Event.LEAK, None),
        (SOUND, None, SOUND, Event.LEAK, 20e6),
        (SUSPECT, None, SUSPECT, Event.LEAK, 20e6),
        (WARNING, None, WARNING, Event.LEAK, 20e6),
        (None, SUSPECT, SUSPECT, Event.THRESHOLD, 150e6),
        (None, WARNING, WARNING, Event.THRESHOLD, 150e6),
        (None, CRITICAL, CRITICAL, Event.THRESHOLD, 150e6),
        (SOUND, SUSPECT, SUSPECT, Event.THRESHOLD, 150e6),
        (SUSPECT, SUSPECT, SUSPECT, Event.LEAK, 20e6),
        (WARNING, SUSPECT, WARNING, Event.LEAK, 20e6),
        (SUSPECT, WARNING, WARNING, Event.THRESHOLD, 150e6),
        (WARNING, WARNING, WARNING, Event.LEAK, 20e6),
        (WARNING, CRITICAL, CRITICAL, Event.LEAK, 20e6),
    ],
)
def test_finding_and_limit_make_one_verdict(
    found: State | None, over: State | None, state: State, event: Event, rate: float | None
) -> None:
    verdict = judged(
        None if found is None else finding(found),
        None if over is None else breach(over),
    )

    assert (verdict.state, verdict.event) == (state, event)
    assert (verdict.rate and verdict.rate.value) == rate


def test_a_verdict_tells_the_whole_growth() -> None:
    verdict = judged(finding(WARNING), breach(WARNING))

    assert verdict.onset_t_s == NOW_S - 2 * HOUR_S
    assert (verdict.growth, verdict.current, verdict.limit) == (40e6, 400e6, 10e9)
    assert [r.name for r in verdict.reasons] == ["fast-growth", "lasting"]
    assert not verdict.young


def test_a_leak_that_reaches_its_limit_soon_is_critical() -> None:
    urgent = judged(finding(WARNING), limit=439e6)
    later = judged(finding(WARNING), limit=441e6)

    assert (urgent.state, later.state) == (CRITICAL, WARNING)
    assert urgent.reasons[0] == Reason("urgent", passed=True, text="urgent: full in about 1h57m")
    assert urgent.event is Event.LEAK
    assert urgent.exhaustion_hours is not None
    assert urgent.exhaustion_hours.value == pytest.approx(1.95)


def test_what_is_not_sure_is_critical_only_where_a_plain_limit_is_broken_too() -> None:
    unsure = finding(WARNING, sure=False)

    assert judged(unsure, limit=439e6).state is WARNING
    assert judged(unsure, breach(WARNING), limit=439e6).state is CRITICAL


def test_a_verdict_carries_the_probability_of_the_finding() -> None:
    assert judged(finding(SUSPECT)).probability == 0.9
    assert judged(finding(SUSPECT), breach(WARNING)).probability == 0.9
    assert judged(over=breach(WARNING)).probability is None


def test_samples_that_stand_above_the_floor_reach_the_limit_sooner() -> None:
    high = judged(finding(WARNING, standing=Estimate(410e6, 405e6, 415e6)), limit=500e6)
    low = judged(finding(WARNING), limit=500e6)

    assert high.exhaustion_hours is not None
    assert low.exhaustion_hours is not None
    assert high.exhaustion_hours.value < low.exhaustion_hours.value


def test_fast_growth_that_reaches_its_limit_soon_is_critical() -> None:
    verdict = judged(over=breach(WARNING), limit=500e6)

    assert (verdict.state, verdict.event) == (CRITICAL, Event.THRESHOLD)
    assert [r.name for r in verdict.reasons] == ["urgent", "fast-growth"]


def test_a_suspect_is_never_made_critical_by_its_forecast() -> None:
    assert judged(finding(SUSPECT), limit=401e6).state is SUSPECT


def test_how_soon_is_critical_is_an_option() -> None:
    assert (
        judged(finding(WARNING), limit=439e6, options=DetectOptions(critical_within_s=60.0)).state is WARNING
    )


def test_without_a_limit_nothing_is_foretold() -> None:
    verdict = judged(finding(WARNING), limit=None)

    assert (verdict.state, verdict.exhaustion_hours, verdict.percent) == (WARNING, None, None)


def test_a_limit_broken_by_a_young_process_says_that_it_is_young() -> None:
    young, settled = judged(over=breach(WARNING), age_h=0.2), judged(over=breach(WARNING), age_h=1.0)

    assert (young.young, settled.young) == (True, False)
    assert young.reasons[1] == Reason(
        "young", passed=False, text="young: started 12m ago, this may be warm-up"
    )
    assert [r.name for r in settled.reasons] == ["fast-growth"]
    assert [r.name for r in judged(finding(WARNING), age_h=0.2).reasons] == ["lasting"]


@pytest.mark.parametrize("state", [None, WARNING, CRITICAL])
def test_a_plain_limit_alone(state: State | None) -> None:
    over = None if state is None else Breach(state, Reason("near-limit", passed=True, text="at 93 %"))
    verdict = limit_verdict(
        Subject.HEAP_PERCENT, t_s=NOW_S, age_s=60.0, current=930.0, limit=1000.0, breach=over
    )

    assert verdict.state == (state or SOUND)
    assert (verdict.event, verdict.rate, verdict.exhaustion_hours) == (Event.THRESHOLD, None, None)
    assert [r.name for r in verdict.reasons] == ([] if state is None else ["near-limit"])
    assert (verdict.percent, verdict.young) == (93.0, True)
