"""The scenarios that must hold: a child whose memory really grows, a real daemon, a clock that is told."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest
from children import LeakyChild
from daemon_rig import TOLD, DaemonRig, slack
from receiver import Receiver

from agent.model import State

MINUTE_S, HOUR_S = 60.0, 3600.0
MB = 10**6


def quiet_or_suspect(rig: DaemonRig) -> bool:
    """Whether nothing above a suspect was ever said or published."""
    assert rig.daemon is not None
    view = rig.daemon.view()
    return not rig.said(*TOLD, "delivered") and view.warnings_open == view.criticals_open == 0


@pytest.mark.parametrize("steady_s", [2 * HOUR_S, 0.0], ids=["steady before", "just started"])
def test_100_mb_an_hour_is_a_warning_after_10_to_15_minutes(
    child: LeakyChild, tmp_path: Path, steady_s: float
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(steady_s)
        began_s = rig.passed_s
        rig.leak(child, 100 * MB, 15 * MINUTE_S)

        (first,) = rig.said(*TOLD)
        (posted,) = receiver.wait_for(1)

    assert 10 * MINUTE_S <= first.t_s - began_s <= 15 * MINUTE_S
    assert first.pairs["severity"] is State.WARNING
    assert ("this may be warm-up" in posted.body.decode()) == (steady_s == 0.0)


def test_500_mb_an_hour_is_critical_within_3_minutes_with_evidence(child: LeakyChild, tmp_path: Path) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(30 * MINUTE_S)
        began_s = rig.passed_s
        rig.leak(child, 500 * MB, 3 * MINUTE_S)
        (posted,) = receiver.wait_for(1)
        (first,) = rig.said(*TOLD)

        (evidence,) = rig.said("evidence")
        folder = Path(str(evidence.pairs["dir"]))
        dump = (folder / "pyspy.txt").read_text()
        assert first.t_s - began_s <= 3 * MINUTE_S
        assert first.pairs["severity"] is State.CRITICAL
        assert folder.is_relative_to(rig.state_dir)
        assert "main" in dump
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
        assert str(folder) in posted.body.decode()


def test_20_mb_an_hour_after_two_steady_hours_is_a_leak_within_half_an_hour(
    child: LeakyChild, tmp_path: Path
) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}) as rig:
        rig.run(2 * HOUR_S)
        began_s = rig.passed_s
        rig.leak(child, 20 * MB, 30 * MINUTE_S)

        (first,) = rig.said(*TOLD)
        suspects = rig.said("suspect")

    assert first.word == "LEAK"
    assert 10 * MINUTE_S <= first.t_s - began_s <= 30 * MINUTE_S
    assert first.pairs["p"] >= 0.7
    assert "too young" not in first.line
    assert [one.t_s < first.t_s for one in suspects] == [True]


def test_100_mb_an_hour_after_six_steady_hours_is_found_within_15_minutes_without_any_limit(
    child: LeakyChild, tmp_path: Path
) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}, thresholds={"enabled": False}) as rig:
        rig.run(6 * HOUR_S)
        began_s = rig.passed_s
        rig.leak(child, 100 * MB, 15 * MINUTE_S)

        (first,) = rig.said(*TOLD)

    assert first.word == "LEAK"
    assert 5 * MINUTE_S <= first.t_s - began_s <= 15 * MINUTE_S
    assert first.pairs["kind"] == "heap"


def test_a_collector_that_swings_by_80_mb_in_4_minutes_is_no_leak(child: LeakyChild, tmp_path: Path) -> None:
    def swing(passed_s: float) -> None:
        if passed_s % (4 * MINUTE_S) == 0:
            child.free()
        elif passed_s % 40 == 0:
            child.grow(80 * MB // 5)

    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(3 * HOUR_S, swing)

        assert quiet_or_suspect(rig)
        assert receiver.requests == []


def test_a_cache_that_fills_with_60_mb_in_an_hour_and_stays_is_no_leak(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.leak(child, 60 * MB, HOUR_S)
        rig.run(3 * HOUR_S)

        assert quiet_or_suspect(rig)
        assert receiver.requests == []


def test_a_process_that_dies_while_it_leaks_is_gone_and_not_resolved(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(30 * MINUTE_S)
        rig.leak(child, 500 * MB, 3 * MINUTE_S)
        (opened,) = rig.said(*TOLD)
        child.quit()
        rig.run(10 * MINUTE_S)

        _, gone = rig.said(*TOLD)
        posts = receiver.wait_for(2)
        assert quiet_afterwards(rig)

    assert (gone.word, gone.pairs["incident"]) == ("gone", opened.pairs["incident"])
    assert "resolved" not in posts[1].json()["text"]
    assert str(gone.pairs["incident"]) in posts[1].body.decode()


def test_a_process_that_is_flat_again_for_long_is_resolved(child: LeakyChild, tmp_path: Path) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(30 * MINUTE_S)
        rig.leak(child, 500 * MB, 3 * MINUTE_S)
        flat_from_s = rig.passed_s
        rig.run(HOUR_S)

        opened, resolved = rig.said(*TOLD)
        posts = receiver.wait_for(2)
        assert quiet_afterwards(rig)

    assert (resolved.word, resolved.pairs["incident"]) == ("resolved", opened.pairs["incident"])
    assert 30 * MINUTE_S <= resolved.t_s - flat_from_s <= 90 * MINUTE_S
    assert str(resolved.pairs["incident"]) in posts[1].body.decode()


def quiet_afterwards(rig: DaemonRig) -> bool:
    """Whether no incident is open now."""
    assert rig.daemon is not None
    return rig.daemon.view().warnings_open == rig.daemon.view().criticals_open == 0


def test_a_restart_that_heals_is_resolved_and_a_relapse_soon_after_it_is_the_same_incident(
    child: LeakyChild, tmp_path: Path
) -> None:
    pidfile = tmp_path / "api.pid"
    pidfile.write_text(str(child.pid))
    with (
        DaemonRig(tmp_path, {"api": {"match": {"pidfile": str(pidfile)}}}) as rig,
        LeakyChild("the next run") as successor,
    ):
        rig.run(30 * MINUTE_S)
        rig.leak(child, 500 * MB, 3 * MINUTE_S)
        child.quit()
        pidfile.write_text(str(successor.pid))
        rig.search()
        rig.run(31 * MINUTE_S)
        first, resolved = rig.said(*TOLD)
        rig.leak(successor, 500 * MB, 3 * MINUTE_S)
        second = rig.said(*TOLD)[-1]

    assert resolved.word == "resolved"
    assert f"its successor {successor.pid} has been sound for 30m" in resolved.pairs["why"]
    assert second.pairs["pid"] == successor.pid
    assert second.pairs["incident"] == first.pairs["incident"]
    assert second.pairs["transition"] == "opened"


def test_a_restart_in_the_middle_of_fast_growth_does_not_begin_its_ten_minutes_again(
    child: LeakyChild, tmp_path: Path
) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}) as rig:
        rig.run(HOUR_S)
        began_s = rig.passed_s
        rig.leak(child, 100 * MB, 8 * MINUTE_S)
        rig.restart(down_s=10.0)
        rig.leak(child, 100 * MB, 7 * MINUTE_S)
        told = rig.said(*TOLD)

    assert [one.word for one in told] == ["LIMIT"]
    assert 10 * MINUTE_S <= told[0].t_s - began_s <= 15 * MINUTE_S


def test_a_restart_of_the_agent_forgets_nothing_and_tells_nothing_twice(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver, DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver)) as rig:
        rig.run(2 * HOUR_S)
        began_s = rig.passed_s
        rig.leak(child, 20 * MB, 9 * MINUTE_S)
        assert rig.said(*TOLD) == []
        rig.restart(down_s=30.0)
        rig.leak(child, 20 * MB, 21 * MINUTE_S - 30.0)
        (opened,) = rig.said(*TOLD)
        receiver.wait_for(1)

        rig.restart(down_s=120.0)
        rig.leak(child, 20 * MB, 30 * MINUTE_S)
        assert rig.daemon is not None
        (status,) = json.loads(gzip.decompress((rig.state_dir / "status.json.gz").read_bytes()))["incidents"]
        child.quit()
        rig.restart(down_s=60.0)
        rig.run(60.0)
        _, gone = rig.said(*TOLD)
        posts = receiver.wait_for(2)
        restored = rig.said("restored")

    assert opened.t_s - began_s <= 30 * MINUTE_S
    assert opened.word == "LEAK"
    assert status["incident_id"] == opened.pairs["incident"]
    assert (gone.word, gone.pairs["incident"]) == ("gone", opened.pairs["incident"])
    assert len(posts) == 2
    assert len(restored) == 2
