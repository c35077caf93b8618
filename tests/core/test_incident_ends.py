"""What becomes of an incident whose process ends: a successor, a relapse, or gone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from incident_samples import at, process, seen
from rises import measures

from agent.detect.reasons import Reasons
from agent.incident_ends import MAX_ORPHANED_S, Successor
from agent.incident_rules import calm_needed_s, depart, observe, succeed
from agent.incidents import Change, Incident, IncidentOptions
from agent.model import Instant, State, Transition

OPTIONS = IncidentOptions()
PATIENCE_S = 120.0


def orphaned() -> Incident:
    """Return an incident whose process 4211 ended at 5000."""
    incident, _ = observe(None, seen(State.WARNING, 4000), at(4000), OPTIONS)
    assert incident is not None
    incident, changes = depart(incident, process().key, at(5000), awaited=True)
    assert (changes, incident.ended) == ((), False)
    return incident


def after(incident: Incident, t_s: float, *successors: Successor) -> tuple[Incident, tuple[Change, ...]]:
    return succeed(incident, successors, at(t_s), OPTIONS, PATIENCE_S)


def test_a_detector_s_reasons_are_stored_in_words() -> None:
    detected = Reasons(measures(), 0)
    alarm = seen(State.WARNING, 4000)
    alarm = alarm._replace(verdict=replace(alarm.verdict, reasons=detected))
    incident, _ = observe(None, alarm, at(4000), OPTIONS)
    assert incident is not None

    read = Incident.from_json(json.loads(json.dumps(incident.to_json())))

    assert read == incident
    assert read.members[0].verdict.reasons == tuple(detected)


def test_a_successor_that_stays_sound_resolves_it() -> None:
    incident = orphaned()
    assert after(incident, 5010, Successor(5000, 0.0)) == (incident, ())
    assert after(incident, 6700, Successor(5000, 1690.0)) == (incident, ())

    ended, (change,) = after(incident, 6810, Successor(5000, 1800.0), Successor(5001, 60.0))

    assert (change.transition, ended.resolved) == (Transition.RESOLVED, True)
    assert change.note == "process 4211 ended; its successor 5000 has been sound for 30m"


def test_without_a_successor_it_is_gone_after_the_patience() -> None:
    incident = orphaned()
    assert after(incident, 5119) == (incident, ())

    ended, (change,) = after(incident, 5120)

    assert (change.transition, ended.ended, ended.resolved) == (Transition.GONE, True, False)
    assert change.note == (
        "process 4211 ended, 17m after the incident opened, and was not seen healthy; "
        "no successor came within 2m"
    )


def test_successors_that_are_suspected_again_and_again_are_not_waited_for_without_end() -> None:
    incident = orphaned()
    assert after(incident, 5000 + MAX_ORPHANED_S - 1, Successor(5000, 60.0)) == (incident, ())

    _, (change,) = after(incident, 5000 + MAX_ORPHANED_S, Successor(5000, 60.0))

    assert change.transition is Transition.GONE
    assert change.note.endswith("no successor stayed sound for 30m")


def test_a_successor_that_alarms_goes_on_with_the_same_incident() -> None:
    incident = orphaned()

    again, changes = observe(incident, seen(State.WARNING, 5200, pid=5000), at(5200), OPTIONS)

    assert again is not None
    assert (changes, again.orphaned, again.incident_id) == ((), None, incident.incident_id)
    assert [m.key.pid for m in again.living] == [5000]
    assert succeed(again, [], at(9999), OPTIONS, PATIENCE_S) == (again, ())


def test_after_a_reboot_with_a_clock_set_back_the_wait_begins_anew() -> None:
    rebooted = Instant(30.0, 1_700_000_000.0)

    incident, changes = succeed(orphaned(), [], rebooted, OPTIONS, PATIENCE_S)

    assert changes == ()
    assert incident.orphaned is not None
    assert incident.orphaned.since == rebooted


def test_an_orphaned_incident_is_stored_and_read_back() -> None:
    incident = orphaned()

    assert Incident.from_json(json.loads(json.dumps(incident.to_json()))) == incident


def resolved() -> Incident:
    """Return an incident that was resolved at 6810."""
    ended, _ = after(orphaned(), 6810, Successor(5000, 1800.0))
    return ended


def test_an_alarm_soon_after_it_was_resolved_is_the_same_incident_again() -> None:
    ended = resolved()

    again, (change,) = observe(ended, seen(State.WARNING, 7800, pid=5000), at(7800), OPTIONS)

    assert again is not None
    assert (again.incident_id, again.sequence, again.relapses) == (ended.incident_id, 3, 1)
    assert (change.transition, change.note) == (Transition.OPENED, "again, 16m after it was resolved")
    assert (again.opened, again.ended, again.resolved) == (ended.opened, False, False)
    assert [m.key.pid for m in again.members] == [5000]


@pytest.mark.parametrize("late", [True, False])
def test_later_or_after_it_was_gone_it_is_a_new_incident(*, late: bool) -> None:
    ended, _ = after(orphaned(), 5120)
    if late:
        ended = resolved()

    t_s = 6810 + 1801 if late else 5200
    again, (change,) = observe(ended, seen(State.WARNING, t_s, pid=5000), at(t_s), OPTIONS)

    assert again is not None
    assert again.incident_id != ended.incident_id
    assert (again.sequence, change.note) == (1, "")


def test_each_relapse_asks_for_twice_the_calm_up_to_six_hours() -> None:
    incident, _ = observe(None, seen(State.WARNING, 4000, onset_t_s=3000), at(4000), OPTIONS)
    assert incident is not None

    needed = [calm_needed_s(incident.lead, incident.subject, OPTIONS, n) for n in range(10)]

    assert needed[:4] == [1800.0, 3600.0, 7200.0, 14400.0]
    assert max(needed) == 6 * 3600.0


def test_a_verdict_that_is_sound_does_not_open_what_has_ended() -> None:
    assert observe(resolved(), seen(State.SUSPECT, 7000), at(7000), OPTIONS) == (None, ())


def test_incidents_that_an_older_version_stored_are_read() -> None:
    incident, _ = observe(None, seen(State.WARNING, 4000), at(4000), OPTIONS)
    assert incident is not None
    written = json.loads(json.dumps(incident.to_json()))
    new = ("told_rate", "told_hours", "drift", "acknowledged", "withheld", "storm", "orphaned", "resolved")
    old = {key: value for key, value in written.items() if key not in (*new, "relapses")}

    read = Incident.from_json(old)

    assert (read.incident_id, read.told_rate, read.storm) == (incident.incident_id, None, "")
