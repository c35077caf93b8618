"""Growth that a full collection took back: what becomes of its incident, and how what follows is judged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from incident_samples import at, opened, seen
from made_up import HOUR_S, POLL_S, follow, judge, watched
from made_up import seen as polled
from series import BASE, BIRTH_T_S, MB, MINUTE_S, ar1

from agent.daemon.course import heap_before
from agent.daemon.disproofs import TOLD_S, stored
from agent.detect import floors
from agent.detect.leak import LeakDetector
from agent.detect.options import DetectOptions
from agent.detect.series import Series, Uncollected
from agent.history.rings import Rings
from agent.incident_rules import observe
from agent.incidents import Incident, IncidentOptions, Observation, told_as
from agent.model import Alert, Disproof, Event, Evidence, State, Subject, Transition
from agent.watch.probes.base import RuntimeFigures

if TYPE_CHECKING:
    from agent.daemon.judge import Judge
    from agent.daemon.watched import Watched
    from agent.detect.leak import Finding
    from agent.incidents import Change

OPTIONS = IncidentOptions()
TEXT = "a full collection took back 95% of the 60MB grown in 12m: a lazy collector, not a leak"
DISPROOF = Disproof(9_000.0, 10_010.0, TEXT)
POLLED_S = 2 * MINUTE_S
LEVELS = 7


def looked(incident: Incident | None, one: Observation) -> tuple[Incident, tuple[Change, ...]]:
    after, changes = observe(incident, one, at(one.verdict.t_s), OPTIONS)
    assert after is not None
    return after, changes


def disproved(state: State, t_s: float, *, pid: int = 4211, event: Event = Event.LEAK) -> Observation:
    one = seen(state, t_s, pid=pid, event=event)
    return one._replace(verdict=replace(one.verdict, disproof=DISPROOF))


def test_an_incident_is_over_at_once_when_a_collection_took_its_growth_back() -> None:
    incident, _ = opened(state=State.CRITICAL)
    after, (change,) = looked(incident, disproved(State.SOUND, 10_010.0))

    assert after.ended
    assert after.resolved
    assert (change.transition, change.note) == (Transition.RESOLVED, TEXT)


def test_an_incident_goes_on_while_another_process_of_it_alarms() -> None:
    incident, _ = opened()
    incident, _ = looked(incident, seen(State.WARNING, 10_000.0, pid=4212))
    after, changes = looked(incident, disproved(State.SOUND, 10_010.0))
    one = after.member(seen(State.SOUND, 0.0).process.key)

    assert changes == ()
    assert not after.ended
    assert one is not None
    assert one.calm_since_t_s == 10_010.0
    assert looked(after, disproved(State.SOUND, 10_020.0, pid=4212))[0].resolved


def test_what_is_known_of_one_process_does_not_end_what_another_has_only_just_stopped() -> None:
    incident, _ = opened()
    incident, _ = looked(incident, seen(State.WARNING, 10_000.0, pid=4212))
    incident, _ = looked(incident, disproved(State.SOUND, 10_010.0))
    incident, _ = looked(incident, seen(State.SOUND, 10_020.0, pid=4212))
    after, changes = looked(incident, disproved(State.SOUND, 10_030.0))

    assert changes == ()
    assert not after.ended


def test_an_incident_on_a_plain_limit_is_not_ended_by_a_collection() -> None:
    incident, _ = looked(None, seen(State.WARNING, 10_000.0, event=Event.THRESHOLD))
    after, changes = looked(incident, disproved(State.SOUND, 10_010.0))

    assert changes == ()
    assert not after.ended


def test_growth_that_is_no_leak_but_passes_a_plain_limit_is_told_as_that() -> None:
    incident, _ = opened()
    after, changes = looked(incident, disproved(State.WARNING, 10_010.0, event=Event.THRESHOLD))

    assert changes == ()
    assert not after.ended
    assert after.event is Event.THRESHOLD


def test_a_leak_of_another_process_stays_a_leak() -> None:
    incident, _ = opened()
    incident, _ = looked(incident, seen(State.WARNING, 10_000.0, pid=4212))
    after, _ = looked(incident, disproved(State.WARNING, 10_010.0, event=Event.THRESHOLD))

    assert after.event is Event.LEAK


def test_an_incident_keeps_the_disproof_and_reads_one_that_knew_of_none() -> None:
    incident, _ = looked(opened()[0], disproved(State.SOUND, 10_010.0))
    text = json.dumps(incident.to_json())
    older = json.loads(text)
    for member in older["members"]:
        del member["verdict"]["disproof"]

    assert Incident.from_json(json.loads(text)) == incident
    assert list(stored([Incident.from_json(json.loads(text))])) == [(incident.lead.key, DISPROOF)]
    assert list(stored([Incident.from_json(older)])) == []


def test_an_alert_keeps_the_disproof_and_reads_evidence_that_knew_of_none() -> None:
    _, change = opened()
    alert = replace(change.alert("web-3", {}), evidence=Evidence("/c", ("g",), ("m",), ("f",), TEXT))
    values = json.loads(json.dumps(alert.to_json()))

    assert Alert.from_json(values) == alert
    del values["evidence"]["disproof"], values["heap_before"]
    assert Alert.from_json(values).evidence == Evidence("/c", ("g",), ("m",), ("f",))


def rows_until(*amounts: np.ndarray) -> np.ndarray:
    return BASE + np.concatenate(amounts)


def found(values: np.ndarray, uncollected: Uncollected | None) -> Finding | None:
    """Return what the detector finds when it looks at every level of a whole series at its end."""
    rings = Rings(POLLED_S, levels=LEVELS, capacity=1)
    slot = rings.open()
    t_s = BIRTH_T_S
    for value in values.tolist():
        t_s += POLLED_S
        rings.add(t_s, np.array([slot]), np.array([value]))
    detector = LeakDetector(rings, DetectOptions())
    detector.judge(range(LEVELS), [Series(slot, BIRTH_T_S, uncollected=uncollected)], t_s)
    return detector.finding(slot, t_s)


def hours(count: float) -> np.ndarray:
    return np.arange(round(count * HOUR_S / POLLED_S)) * POLLED_S / HOUR_S


def garbage(quiet_h: float, rise_h: float, amount: float) -> tuple[np.ndarray, Uncollected]:
    """Return a quiet time with garbage that piles up after it, and what is known once it was collected."""
    quiet, rise = hours(quiet_h), hours(rise_h)
    since_t_s = BIRTH_T_S + POLLED_S * len(quiet)
    until_t_s = since_t_s + POLLED_S * len(rise)
    rows = np.concatenate([0.0 * quiet, amount * rise / rise_h])
    return rows, Uncollected(since_t_s, until_t_s + POLLED_S, BASE + amount)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(2.0, 8.0),
    st.floats(1.0, 4.0),
    st.floats(20.0, 200.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.2, 6.0)), max_size=3),
    st.integers(0, 2**16),
)
def test_growth_that_was_disproved_never_alarms_again_by_itself(
    quiet_h: float, rise_h: float, megabytes: float, parts: list[tuple[float, float, float]], seed: int
) -> None:
    """However it fills up again below the peak before the collection."""
    before, known = garbage(quiet_h, rise_h, megabytes * MB)
    after = [MB * megabytes * (a + (b - a) * hours(h) / h) for a, b, h in parts]
    values = rows_until(before, *after)
    noise = np.minimum(0.0, ar1(len(values), 0.2 * MB, seed=seed))

    assert found(values + noise, known) is None


@settings(max_examples=15, deadline=None)
@given(st.floats(6.0, 10.0), st.floats(20.0, 60.0), st.integers(0, 2**16))
def test_growth_that_goes_on_beyond_the_peak_before_the_collection_alarms(
    quiet_h: float, megabytes: float, seed: int
) -> None:
    before, known = garbage(quiet_h, 1.0, megabytes * MB)
    values = rows_until(before, 0.0 * hours(0.5), 2.0 * megabytes * MB * hours(4.0) / 4.0)
    noise = ar1(len(values), 0.1 * MB, seed=seed)
    one = found(values + noise, known)

    assert one is not None
    assert one.state is State.WARNING
    assert one.onset_t_s >= known.until_t_s - POLLED_S


def test_what_was_quiet_before_the_garbage_stays_the_baseline_of_what_grows_after_it() -> None:
    before, known = garbage(8.0, 1.0, 10 * MB)
    values = rows_until(before, 20 * MB * hours(2.0))
    without_history = replace(known, since_t_s=BIRTH_T_S)
    with_it, without_it = found(values, known), found(values, without_history)

    assert with_it is not None
    assert with_it.state is State.WARNING
    assert with_it.quiet_s > 6 * HOUR_S
    assert without_it is None or without_it.state < State.WARNING


def test_what_was_collected_is_no_part_of_a_rise_where_the_memory_is_not_given_back() -> None:
    """As of a JVM: its heap is empty again, its process as large as before."""
    before, known = garbage(8.0, 1.0, 20 * MB)
    values = rows_until(before, 20 * MB + 6 * MB * hours(0.5))
    plain, masked = found(values, None), found(values, known)

    assert plain is not None
    assert plain.state is State.WARNING
    assert masked is None or masked.state < State.WARNING


def test_the_peak_before_the_collection_must_be_passed_by_a_part_of_the_growth() -> None:
    before, known = garbage(4.0, 1.0, 40 * MB)
    values = rows_until(before, 42 * MB * hours(3.0) / 3.0)
    rings = Rings(POLLED_S, levels=LEVELS, capacity=1)
    slot, t_s = rings.open(), BIRTH_T_S
    for value in values.tolist():
        t_s += POLLED_S
        rings.add(t_s, np.array([slot]), np.array([value]))
    one = LeakDetector(rings, DetectOptions()).explain(Series(slot, BIRTH_T_S, uncollected=known), t_s)

    assert one is not None
    (high,) = [reason for reason in one.reasons if reason.name == "new-high"]
    assert not high.passed
    assert high.text.endswith("the earlier peak 140MB")


def test_nothing_is_seen_of_the_past_between_two_moments() -> None:
    rings = Rings(10.0, levels=2, capacity=1)
    rings.open()
    for i in range(8):
        rings.add(10.0 * i, np.array([0]), np.array([float(i)]))
    past = floors.without(rings.past(np.array([0])), np.array([20.0]), np.array([40.0]))
    fine = past.floors[0, 0]

    assert fine[np.isfinite(fine)].tolist() == [0.0, 1.0, 4.0, 5.0, 6.0]
    coarse = past.peaks[0, 1]
    assert coarse[np.isfinite(coarse)].tolist() == [1.0, 5.0]


@pytest.fixture
def lazy() -> tuple[Judge, Watched, float]:
    """Return a judge that has seen a process warm up, rest, and grow until it is suspected of a leak."""
    judged, one = judge(), watched()
    judged.open(one.key, one.birth_t_s)
    begin_s = follow(judged, one, hours=8) + POLL_S
    t_s = follow(judged, one, hours=3, begin_s=begin_s, heap_bytes=lambda h: int(100e6 + 20e6 * h))
    (alarm,) = judged.verdicts(one, t_s)
    assert alarm.state >= State.WARNING
    return judged, one, t_s


def test_a_verdict_tells_what_disproved_the_growth_until_it_grows_beyond_it(
    lazy: tuple[Judge, Watched, float],
) -> None:
    judged, one, t_s = lazy
    judged.disprove(one.key, TEXT, t_s)
    (verdict,) = judged.verdicts(one, t_s, (Subject.HEAP,))

    assert verdict.state is State.SOUND
    assert [(r.name, r.passed, r.text) for r in verdict.reasons] == [("collection", False, TEXT)]
    assert verdict.disproof is not None
    assert verdict.disproof.since_t_s == pytest.approx(8 * HOUR_S, abs=HOUR_S)
    assert one.key in judged.concerned(t_s)
    assert one.key not in judged.concerned(t_s + TOLD_S)

    rest_s = follow(judged, one, hours=1, begin_s=t_s + POLL_S) + POLL_S
    again_s = follow(judged, one, hours=6, begin_s=rest_s, heap_bytes=lambda h: int(100e6 + 30e6 * h))
    (alarm,) = judged.verdicts(one, again_s)
    assert alarm.state >= State.WARNING
    assert alarm.disproof is None
    assert "collection" not in [reason.name for reason in alarm.reasons]
    assert alarm.onset_t_s is not None
    assert alarm.onset_t_s > t_s


def test_growth_up_to_the_peak_before_the_collection_is_told_as_sound(
    lazy: tuple[Judge, Watched, float],
) -> None:
    judged, one, t_s = lazy
    judged.disprove(one.key, TEXT, t_s)
    rest_s = follow(judged, one, hours=1, begin_s=t_s + POLL_S) + POLL_S
    follow(judged, one, hours=3, begin_s=rest_s, heap_bytes=lambda h: int(100e6 + 19e6 * h))
    end_s = rest_s + 3 * HOUR_S

    assert [v.state for v in judged.verdicts(one, end_s, (Subject.HEAP,))] == [State.SOUND]


def test_growth_is_judged_anew_from_the_collection_on(lazy: tuple[Judge, Watched, float]) -> None:
    judged, one, t_s = lazy
    judged.disprove(one.key, TEXT, t_s)
    collected_s = t_s
    for _ in range(60):
        t_s += POLL_S
        one.sample = polled(heap_bytes=int(160e6 + 4e6 * (t_s - collected_s) / HOUR_S))
        judged.add([one], t_s, {one.key})
    (verdict,) = judged.verdicts(one, t_s)

    assert verdict.state < State.WARNING
    assert verdict.disproof is not None


def test_a_process_that_is_not_watched_cannot_be_disproved() -> None:
    judged = judge()
    judged.disprove(watched().key, TEXT, 100.0)

    assert judged.concerned(100.0) == set()


def test_what_the_runtimes_heap_held_before_the_growth_is_its_lowest_since_then() -> None:
    judged, one = judge(), watched()
    judged.open(one.key, one.birth_t_s)
    one.figures = RuntimeFigures(heap_bytes=30_000_000, collections=None, limit_bytes=None)
    begin_s = follow(judged, one, hours=2) + POLL_S
    one.figures = RuntimeFigures(heap_bytes=34_000_000, collections=None, limit_bytes=None)
    t_s = follow(judged, one, hours=2, begin_s=begin_s)

    assert heap_before(judged, change_of(one, t_s, onset_t_s=begin_s - HOUR_S)) == 30_000_000
    assert heap_before(judged, change_of(one, t_s, onset_t_s=begin_s + HOUR_S)) == 34_000_000
    assert heap_before(judged, change_of(one, t_s, onset_t_s=None)) is None


def change_of(one: Watched, t_s: float, onset_t_s: float | None) -> Change:
    incident, _ = opened(t_s=t_s)
    verdict = replace(incident.lead.verdict, onset_t_s=onset_t_s)
    lead = replace(incident.lead, process=one.target.process, verdict=verdict)
    _, (change,) = told_as(incident, Transition.UPDATED, lead, at(t_s), "")
    return change
