"""The life of incidents over a real state file: silences, acknowledgements, successors, storms, restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from keeper_rig import KeeperRig

from agent.alerts.ledger import delete_silence, store_acknowledgement, store_silence
from agent.alerts.visit import Visit
from agent.incident_parts import Acknowledgement
from agent.incidents import IncidentOptions
from agent.model import Event, State, Transition
from agent.silences import Silence
from agent.statedir import STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WARNING, CRITICAL, SOUND = State.WARNING, State.CRITICAL, State.SOUND
HOUR_S = 3600.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[KeeperRig]:
    with KeeperRig(tmp_path) as one:
        one.runs("api", 1)
        yield one


def silence(rig: KeeperRig, pattern: str, seconds: float) -> None:
    """Do what the command does, from a connection of its own."""
    now = rig.clock.now()
    with Visit(rig.folder / STATE_FILE, writes=True) as visit:
        visit.write(lambda c: store_silence(c, Silence(pattern, now, now.wall_s + seconds, "ana", "deploy")))


def acknowledge(rig: KeeperRig, incident_id: str) -> None:
    given = Acknowledgement("ana", "known", rig.clock.now().wall_s)
    with Visit(rig.folder / STATE_FILE, writes=True) as visit:
        visit.write(lambda c: store_acknowledgement(c, incident_id, given))


def test_an_opening_is_told_with_its_story(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))

    assert (rig.told("slack"), rig.told("pagerduty")) == (["api opened"], [])
    (incident,) = rig.keeper.open_incidents
    (chapter,) = rig.story(incident.incident_id)
    assert (chapter.alert.transition, [fate.channel for fate in chapter.fates]) == (
        Transition.OPENED,
        ["slack"],
    )


def test_several_workers_are_one_incident_that_says_how_many(rig: KeeperRig) -> None:
    rig.runs("api", *range(2, 9))
    rig.tick((1, WARNING), (2, WARNING), (3, WARNING))
    rig.tick((1, WARNING), (2, CRITICAL), (3, WARNING))

    assert rig.told("slack") == ["api opened", "api worsened"]
    opened, worsened = rig.alerts("slack")
    assert opened.note == "1 of 8 workers"
    assert worsened.note.endswith("; 3 of 8 workers")
    assert worsened.pids == (2, 1, 3)


def test_an_acknowledgement_is_taken_over_within_a_tick_and_told(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    (incident,) = rig.keeper.open_incidents
    acknowledge(rig, incident.incident_id)
    rig.tick((1, WARNING))

    assert rig.told("slack") == ["api opened", "api acknowledged"]
    assert rig.told("pagerduty") == []
    assert rig.alerts("slack")[-1].note == "by ana: known"
    assert rig.outbox.ledger.inbox() == ((), {})
    (said,) = rig.said("acknowledged")
    assert said["why"] == "by ana: known"
    rig.clock.advance(40 * HOUR_S)
    rig.tick((1, WARNING))
    assert rig.told("slack") == ["api opened", "api acknowledged"]


def test_an_acknowledgement_given_while_the_agent_is_down_is_heard_at_its_start(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    acknowledge(rig, rig.keeper.open_incidents[0].incident_id)
    rig.restart(60.0)
    rig.tick((1, WARNING))
    rig.restart(60.0)
    rig.tick((1, WARNING))

    assert rig.told("slack") == ["api opened", "api acknowledged"]


def test_an_acknowledgement_of_nothing_open_is_forgotten(rig: KeeperRig) -> None:
    acknowledge(rig, "0badcafe")
    rig.tick()

    assert rig.outbox.ledger.inbox() == ((), {})


def test_while_silenced_nobody_is_told_and_afterwards_everything_in_one_message(rig: KeeperRig) -> None:
    silence(rig, "api", HOUR_S)
    rig.tick((1, WARNING))
    rig.tick((1, CRITICAL))
    (incident,) = rig.keeper.open_incidents

    assert (rig.told("slack"), rig.told("pagerduty")) == ([], [])
    story = rig.story(incident.incident_id)
    assert [chapter.alert.transition for chapter in story] == [Transition.OPENED, Transition.WORSENED]
    assert "silenced_until" in rig.said("LEAK")[0]
    assert rig.said("silenced")[0]["by"] == "ana"

    rig.ticks(HOUR_S, (1, CRITICAL))
    assert (rig.told("slack"), rig.told("pagerduty")) == (["api opened"], ["api opened"])
    (alert,) = rig.alerts("slack")
    assert (alert.severity, alert.sequence) == (CRITICAL, 3)
    assert alert.note.startswith("silenced until ")
    assert rig.said("silenced")[1]["why"] == "the silence is over"
    assert rig.outbox.ledger.inbox() == ((), {})


def test_a_silence_is_kept_through_restarts_and_what_it_withholds_too(rig: KeeperRig) -> None:
    silence(rig, "a*", HOUR_S)
    rig.tick((1, WARNING))
    rig.restart(1800.0)
    rig.tick((1, WARNING))
    assert [one.pattern for one in rig.keeper.silences] == ["a*"]
    assert rig.told("slack") == []

    rig.restart(1800.0)
    rig.tick((1, WARNING))
    assert rig.told("slack") == ["api opened"]


def test_the_end_of_what_was_told_before_is_told_in_a_silence(rig: KeeperRig) -> None:
    rig.tick((1, CRITICAL))
    silence(rig, "api", 4 * HOUR_S)
    rig.ticks(1900.0, (1, SOUND))

    assert rig.told("slack") == ["api opened", "api resolved"]
    assert rig.told("pagerduty") == ["api opened", "api resolved"]


def test_what_began_and_ended_in_a_silence_is_never_told(rig: KeeperRig) -> None:
    silence(rig, "api", 4 * HOUR_S)
    rig.tick((1, CRITICAL))
    rig.ticks(1900.0, (1, SOUND))

    assert (rig.keeper.open_incidents, rig.told("slack")) == ((), [])


def test_a_silence_that_is_ended_early_ends_within_a_tick(rig: KeeperRig) -> None:
    silence(rig, "api", HOUR_S)
    rig.tick((1, WARNING))
    with Visit(rig.folder / STATE_FILE, writes=True) as visit:
        visit.write(lambda c: delete_silence(c, "api"))
    rig.tick((1, WARNING))

    assert rig.told("slack") == ["api opened"]


def test_a_clock_that_is_set_back_makes_no_silence_longer(rig: KeeperRig) -> None:
    silence(rig, "api", HOUR_S)
    rig.tick((1, WARNING))
    rig.clock.step_wall(-86400.0)
    rig.ticks(HOUR_S - 20.0, (1, WARNING))
    assert rig.told("slack") == []
    rig.tick((1, WARNING))

    assert rig.told("slack") == ["api opened"]


def test_no_reminder_nor_update_in_a_silence_and_the_reminder_that_is_due_after_it(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    silence(rig, "api", 24 * HOUR_S)
    rig.clock.advance(13 * HOUR_S)
    rig.tick((1, WARNING), rate=90e6)
    rig.clock.advance(HOUR_S)
    rig.tick((1, WARNING), rate=90e6)
    assert rig.told("slack") == ["api opened"]

    rig.clock.advance(10 * HOUR_S)
    rig.tick((1, WARNING), rate=90e6)
    assert rig.told("slack")[1:] in (["api updated"], ["api reminded"])


def test_standing_tells_why_nobody_hears(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    acknowledge(rig, rig.keeper.open_incidents[0].incident_id)
    silence(rig, "api", HOUR_S)
    now = rig.tick((1, WARNING))

    standing = rig.keeper.standing_of(rig.keeper.open_incidents[0], now)
    assert standing.startswith("acknowledged by ana; silenced until ")


def test_a_restart_that_heals_is_resolved_by_its_successor(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    rig.ends(1)
    rig.ticks(60.0)
    rig.runs("api", 2)
    rig.ticks(1790.0)
    assert rig.told("slack") == ["api opened"]
    rig.ticks(30.0)

    assert rig.told("slack") == ["api opened", "api resolved"]
    assert rig.alerts("slack")[-1].note == "process 1 ended; its successor 2 has been sound for 30m"
    (said,) = rig.said("waiting")
    assert said["why"].startswith("process 1 ended; ")


def test_a_successor_that_is_suspected_does_not_resolve(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    rig.ends(1)
    rig.runs("api", 2)
    rig.ticks(1700.0)
    rig.tick((2, State.SUSPECT))
    rig.ticks(1700.0)
    assert rig.told("slack") == ["api opened"]
    rig.ticks(200.0)

    assert rig.told("slack") == ["api opened", "api resolved"]


def test_a_successor_that_leaks_goes_on_with_the_incident(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    (before,) = rig.keeper.open_incidents
    rig.ends(1)
    rig.runs("api", 2)
    rig.ticks(600.0)
    rig.tick((2, CRITICAL))

    (after,) = rig.keeper.open_incidents
    assert after.incident_id == before.incident_id
    assert rig.told("slack") == ["api opened", "api worsened"]
    assert rig.alerts("slack")[-1].pids == (2,)


def test_without_a_successor_it_is_gone_in_two_minutes(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    rig.ends(1)
    rig.ticks(110.0)
    assert rig.told("slack") == ["api opened"]
    rig.ticks(20.0)

    assert rig.told("slack") == ["api opened", "api gone"]


def test_a_successor_is_waited_for_through_a_restart_of_the_agent(rig: KeeperRig) -> None:
    rig.tick((1, WARNING))
    del rig.running[1]
    rig.runs("api", 2)
    rig.restart(60.0)
    rig.ticks(1820.0)

    assert rig.told("slack") == ["api opened", "api resolved"]
    assert rig.alerts("slack")[-1].note.startswith("process 1 ended while leakwatch was not running; ")


@pytest.mark.parametrize("restarted", [True, False])
def test_what_comes_back_soon_is_the_same_incident(rig: KeeperRig, *, restarted: bool) -> None:
    rig.tick((1, WARNING))
    (before,) = rig.keeper.open_incidents
    rig.ticks(1900.0, (1, SOUND))
    if restarted:
        rig.restart(60.0)
    rig.ticks(600.0, (1, SOUND))
    rig.tick((1, CRITICAL))

    (after,) = rig.keeper.open_incidents
    assert (after.incident_id, after.sequence) == (before.incident_id, 3)
    assert rig.told("slack") == ["api opened", "api resolved", "api opened"]
    assert rig.alerts("slack")[-1].note.startswith("again, ")
    rig.ticks(3610.0, (1, SOUND))
    assert rig.told("slack")[3:] == ["api resolved"]
    rig.ticks(1900.0, (1, SOUND))
    rig.tick((1, WARNING))
    assert rig.keeper.open_incidents[0].incident_id != before.incident_id


def deploy(tmp_path: Path, count: int = 40) -> KeeperRig:
    """Return a rig in which so many services are watched, one process each."""
    names = tuple(f"svc-{n}" for n in range(count))
    rig = KeeperRig(tmp_path, {"incidents": IncidentOptions()}, names)
    for pid, name in enumerate(names, 1):
        rig.runs(name, pid)
    return rig


def test_a_deploy_that_leaks_everywhere_is_ten_messages_and_one_storm(tmp_path: Path) -> None:
    with deploy(tmp_path) as rig:
        rig.tick(*((pid, WARNING) for pid in range(1, 41)))

        singles, storm = rig.told("slack")[:-1], rig.alerts("slack")[-1]
        assert singles == [f"svc-{n} opened" for n in range(10)]
        assert (storm.event, storm.service, len(storm.items)) == (Event.STORM, "30 services", 30)
        assert "svc-10 leaks 24 MB/h" in storm.items[0]
        told_in_storm = [i for i in rig.keeper.open_incidents if i.storm]
        assert {i.storm for i in told_in_storm} == {storm.incident_id}
        assert len(told_in_storm) == 30
        assert len(rig.story(told_in_storm[0].incident_id)) == 1
        assert rig.said("storm")[0]["incidents"] == 30


def test_what_was_told_in_a_storm_only_ends_with_it(tmp_path: Path) -> None:
    with deploy(tmp_path, 12) as rig:
        rig.tick(*((pid, WARNING) for pid in range(1, 13)))
        storm_id = rig.alerts("slack")[-1].incident_id
        rig.ticks(1820.0, *((pid, SOUND) for pid in range(1, 12)), (12, WARNING))
        assert rig.told("slack")[11:] == [f"svc-{n} resolved" for n in range(10)]
        rig.ticks(1820.0, (12, SOUND))

        last = rig.alerts("slack")[-1]
        assert (last.incident_id, last.transition) == (storm_id, Transition.RESOLVED)
        assert len(rig.alerts("slack")) == 11 + 10 + 1
        assert rig.keeper.open_incidents == ()


@pytest.mark.parametrize("ack", ["storm", "incident"])
def test_a_storm_is_acknowledged_as_a_whole(tmp_path: Path, ack: str) -> None:
    with deploy(tmp_path, 12) as rig:
        everybody = [(pid, WARNING) for pid in range(1, 13)]
        rig.tick(*everybody)
        storm_id = rig.alerts("slack")[-1].incident_id
        inside = [i for i in rig.keeper.open_incidents if i.storm]
        acknowledge(rig, storm_id if ack == "storm" else inside[0].incident_id)
        rig.tick(*everybody)

        known = [i for i in rig.keeper.open_incidents if i.acknowledged]
        assert len(known) == (2 if ack == "storm" else 1)
        told = rig.told("slack")[11:]
        assert told == (["2 services acknowledged"] if ack == "storm" else [])


def test_a_storm_goes_on_through_a_crash_and_is_told_once(tmp_path: Path) -> None:
    with deploy(tmp_path, 15) as rig:
        everybody = [(pid, WARNING) for pid in range(1, 16)]
        rig.tick(*everybody, cut=True)
        assert len(rig.told("slack")) == 10
        for _ in range(2):
            rig.restart(30.0)
            rig.tick(*everybody)

        assert rig.told("slack")[10:] == ["5 services opened"]
        rig.ticks(1900.0, *((pid, SOUND) for pid in range(1, 16)))
        assert sorted(rig.told("slack")[11:]) == sorted(
            [*(f"svc-{n} resolved" for n in range(10)), "5 services resolved"]
        )


def test_the_reminder_of_a_storm_is_one_message(tmp_path: Path) -> None:
    with deploy(tmp_path, 30) as rig:
        everybody = [(pid, WARNING) for pid in range(1, 31)]
        rig.tick(*everybody)
        rig.clock.advance(12 * HOUR_S)
        rig.tick(*everybody)

        told = rig.told("slack")[11:]
        assert sorted(told) == sorted([*(f"svc-{n} reminded" for n in range(10)), "20 services reminded"])


def test_a_silence_over_all_that_ends_is_a_storm_and_not_a_flood(tmp_path: Path) -> None:
    with deploy(tmp_path) as rig:
        silence(rig, "*", HOUR_S)
        everybody = [(pid, WARNING) for pid in range(1, 41)]
        rig.tick(*everybody)
        assert rig.told("slack") == []
        rig.clock.advance(HOUR_S)
        rig.tick(*everybody)

        assert len(rig.told("slack")) == 11


def test_one_of_a_storm_that_becomes_critical_later_is_told_by_itself(tmp_path: Path) -> None:
    with deploy(tmp_path, 12) as rig:
        rig.tick(*((pid, WARNING) for pid in range(1, 13)))
        rig.ticks(600.0, *((pid, WARNING) for pid in range(1, 13)))
        rig.tick((12, CRITICAL))

        assert rig.told("slack")[-1] == "svc-11 worsened"
        assert rig.told("pagerduty") == ["svc-11 worsened"]
        rig.ticks(2000.0, *((pid, SOUND) for pid in range(1, 13)))
        assert rig.told("pagerduty") == ["svc-11 worsened", "svc-11 resolved"]
