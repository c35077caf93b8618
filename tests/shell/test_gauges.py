"""What Datadog is sent at every tick: each figure of a service by its worst process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from daemon_rig import DaemonRig
from datadog_agent import listening
from incident_samples import at, opened, process, seen

from agent.alerts.datadog import DatadogOptions
from agent.daemon.datadog_gauges import lines
from agent.daemon.watched import Watched
from agent.incident_rules import observe
from agent.incidents import IncidentOptions
from agent.model import Estimate, Kind, Limit, Sample, State, Subject
from agent.watch.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from children import LeakyChild

MB = 10**6


def watched(pid: int = 4211, heap_mb: int = 448, **changes: Any) -> Watched:
    sample = Sample((heap_mb + 20) * MB, heap_mb * MB, 5 * MB, 0, 12, None, 1.0)
    target = Target("api", process(pid), {"team": "shop", "service": "not this"}, None)
    one = Watched(target, 0.0, replace(sample, **changes), Limit(1000 * MB, "memory.max"))
    one.verdicts = (
        replace(seen(State.WARNING, 10.0).verdict, probability=0.97, kind=Kind.NATIVE),
        replace(seen(State.SUSPECT, 10.0, subject=Subject.THREADS).verdict, rate=Estimate(9e9, 8e9, 1e10)),
    )
    return one


def gauges(members: Iterable[Watched], incidents: Any = (), **options: Any) -> list[str]:
    return [line.decode() for line in lines(DatadogOptions(**options), "web-3", members, incidents)]


def test_a_service_has_one_set_of_gauges_in_the_configured_names() -> None:
    tags = "host:web-3,service:api,env:prod,team:shop"

    assert gauges([watched()], prefix="fleet", tags={"env": "prod"}) == [
        f"fleet.incidents.open:0|g|#severity:warning,{tags}",
        f"fleet.incidents.open:0|g|#severity:critical,{tags}",
        f"fleet.memory.heap_percent:44.8|g|#{tags}",
        f"fleet.memory.heap_bytes:448000000|g|#{tags}",
        f"fleet.memory.rss_bytes:468000000|g|#{tags}",
        f"fleet.memory.limit_bytes:1000000000|g|#{tags}",
        f"fleet.threads:12|g|#{tags}",
        f"fleet.memory.growth_rate:24000000|g|#kind:native,{tags}",
        f"fleet.leak.probability:0.97|g|#kind:native,{tags}",
        f"fleet.memory.exhaustion_hours:24|g|#kind:native,{tags}",
    ]


def figure(told: Iterable[str], name: str) -> list[str]:
    return [line.split("|")[0].partition(":")[2] for line in told if line.startswith(f"leakwatch.{name}:")]


def test_each_figure_is_that_of_the_process_that_stands_worst() -> None:
    small, large = watched(1, heap_mb=100, threads=400, fds=7), watched(2, heap_mb=900)
    large.verdicts = (replace(seen(State.WARNING, 10.0).verdict, exhaustion_hours=Estimate(2.5, 2, 3)),)
    told = gauges([small, large])

    assert figure(told, "memory.heap_percent") == ["90"]
    assert figure(told, "threads") == ["400"]
    assert figure(told, "fds") == ["7"]
    assert figure(told, "memory.exhaustion_hours") == ["2.5"]
    assert not [line for line in told if "pid:" in line]


def test_processes_are_told_apart_only_where_that_is_asked_for() -> None:
    told = gauges([watched(1, heap_mb=100), watched(2, heap_mb=900)], per_process=True)

    assert figure(told, "memory.heap_percent") == ["10", "90"]
    assert [line for line in told if "memory.rss" in line and "#pid:1,host:" in line]
    assert len(figure(told, "incidents.open")) == 2


def test_what_is_not_known_is_left_out() -> None:
    one = watched()
    one.sample, one.limit, one.verdicts = None, None, ()
    endless = watched()
    endless.limit = None
    endless.verdicts = (
        replace(seen(State.SUSPECT, 1.0).verdict, rate=None, exhaustion_hours=Estimate(float("inf"), 1, 1)),
    )

    assert {line.split(":")[0] for line in gauges([one])} == {"leakwatch.incidents.open"}
    names = {line.split(":")[0].removeprefix("leakwatch.") for line in gauges([endless])}
    assert names == {"incidents.open", "memory.heap_bytes", "memory.rss_bytes", "threads"}


def test_open_incidents_are_counted_by_severity_also_where_nobody_is_left() -> None:
    incident, _ = opened()
    critical, _ = observe(None, seen(State.CRITICAL, 1.0, subject=Subject.FDS), at(1.0), IncidentOptions())

    told = gauges([], [incident, critical])

    assert told == [
        "leakwatch.incidents.open:1|g|#severity:warning,host:web-3,service:api",
        "leakwatch.incidents.open:1|g|#severity:critical,host:web-3,service:api",
    ]


@pytest.mark.parametrize("scheme", ["udp", "unix"])
def test_every_tick_of_the_daemon_sends_its_gauges(child: LeakyChild, scheme: str, tmp_path: Path) -> None:
    with listening(scheme, tmp_path) as agent:
        channels = {"datadog": {"address": agent.address, "prefix": "fleet"}}
        with DaemonRig(tmp_path, {"api": child.pid}, channels=channels) as rig:
            rig.run(10)
            first = agent.lines(at_least=1)
            rig.run(10)
            second = agent.lines(at_least=1)

    for told in (first, second):
        names = [line.split(b":")[0] for line in told]
        assert names[:3] == [b"fleet.incidents.open", b"fleet.incidents.open", b"fleet.memory.heap_percent"]
        assert all(b"|#" in line and b"service:api" in line for line in told)


def test_a_reload_sends_to_the_new_address_and_a_tick_never_waits_for_an_agent(
    child: LeakyChild, tmp_path: Path
) -> None:
    absent = {"datadog": {"address": f"unix://{tmp_path}/nobody"}}
    with (
        listening("udp", tmp_path) as agent,
        DaemonRig(tmp_path, {"api": child.pid}, channels=absent) as rig,
    ):
        rig.tick()
        rig.wait_until_said("dropped", what="gauges", channel="datadog")
        rig.configure({"api": child.pid}, channels={"datadog": {"address": agent.address}})
        assert rig.daemon is not None
        rig.daemon.reload()
        rig.tick()
        told = agent.lines(at_least=1)
        rig.configure({"api": child.pid})
        rig.daemon.reload()
        rig.tick()

        assert told[0].startswith(b"leakwatch.incidents.open:0|g|")
        assert agent.lines() == []
