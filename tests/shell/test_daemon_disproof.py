"""A lazy process from its alarm to the proof that it is none: real garbage, really collected."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from children import LeakyChild, process_of
from daemon_rig import DaemonRig, slack
from receiver import Receiver

from agent import status_file
from agent.daemon.watched import WatchedSet
from agent.evidence.kernel.procfs import HeldProcess
from agent.evidence.python.collecting import PythonCollector
from agent.model import Limit
from agent.watch.probes.chosen import ChosenProbes
from agent.watch.processes import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MB = 10**6
LIMIT_BYTES = 150 * MB
"""Near enough that a leak is critical at once: that is when a collection is asked for."""
BYTES_PER_HOUR = 120 * MB
PROOF = re.compile(
    r"a full collection took back (8\d|9\d|100)% of the \d+(\.\d+)?MB grown in \d+m:"
    r" a lazy collector, not a leak"
)


class Bounded:
    """Every process may use so much: no cgroup is ours to set a limit in."""

    def limit(self, pid: int, t_s: float) -> Limit:
        del pid, t_s
        return Limit(LIMIT_BYTES, "memory.max of a test")


def bind(rig: DaemonRig) -> None:
    rig.daemon = rig.rebuild(watched=WatchedSet(Sampler(), Bounded(), ChosenProbes(())))  # type: ignore[arg-type] # as above


@pytest.fixture
def rig(child: LeakyChild, tmp_path: Path) -> Iterator[DaemonRig]:
    with HeldProcess(process_of(child.pid).key) as held:
        if why := PythonCollector().why_not(process_of(child.pid), held):
            pytest.skip(f"no collection can be asked for here: {why}")
    entry: dict[str, Any] = {"match": {"pid": child.pid}, "allow": {"collect": True, "inject": True}}
    with (
        Receiver() as receiver,
        DaemonRig(
            tmp_path, {"lazy": entry}, channels=slack(receiver), thresholds={"growth": "400MB/h"}
        ) as one,
    ):
        bind(one)
        one.run(3 * 3600)
        yield one


def told(rig: DaemonRig) -> str:
    """Return what `leakwatch status` tells of the process."""
    (one,) = status_file.read(rig.state_dir).watching
    return one.disproof


def until_told(rig: DaemonRig, word: str, minutes: int, grow: Callable[[int], object]) -> None:
    """Let a process grow, poll by poll, until the daemon says that word once more."""
    before = len(rig.said(word))
    for _ in range(round(60 * minutes / rig.poll_s)):
        grow(int(BYTES_PER_HOUR * rig.poll_s / 3600.0))
        rig.run(rig.poll_s)
        if len(rig.said(word)) > before:
            return


def fill_up(rig: DaemonRig, child: LeakyChild) -> None:
    """Let garbage pile up again, to less than there was before the collection, and stay for an hour."""
    child.circle(5 * MB)
    rig.run(60.0)
    until_told(rig, "LEAK", 6, child.circle)
    rig.run(3600.0)


def test_a_lazy_process_is_resolved_by_a_collection_and_alarms_again_only_beyond_its_peak(
    rig: DaemonRig, child: LeakyChild
) -> None:
    until_told(rig, "resolved", 60, child.circle)
    alarms = rig.said("LEAK")
    (resolved,) = rig.said("resolved")
    assert alarms[0].pairs["transition"] == "opened"
    assert str(alarms[-1].pairs["severity"]) == "critical"
    assert PROOF.fullmatch(str(resolved.pairs["why"]))
    assert resolved.t_s - alarms[-1].t_s <= 2 * rig.poll_s
    assert told(rig) == str(resolved.pairs["why"])

    fill_up(rig, child)
    assert rig.said("LEAK") == alarms
    assert told(rig) == str(resolved.pairs["why"])

    until_told(rig, "LEAK", 60, child.grow)
    assert len(rig.said("LEAK")) == len(alarms) + 1
    assert told(rig) == ""


def test_a_restarted_daemon_still_knows_that_the_growth_was_no_leak(
    rig: DaemonRig, child: LeakyChild
) -> None:
    until_told(rig, "resolved", 60, child.circle)
    alarms = rig.said("LEAK")
    rig.restart(30.0)
    bind(rig)
    fill_up(rig, child)

    assert rig.said("LEAK") == alarms
    assert PROOF.fullmatch(told(rig))


def test_a_leak_among_as_much_garbage_goes_on_alarming(rig: DaemonRig, child: LeakyChild) -> None:
    child.circle(25 * MB)
    rig.run(10.0)
    for _ in range(2):
        until_told(rig, "evidence", 60, child.grow)
    rig.run(60.0)

    assert str(rig.said("LEAK")[-1].pairs["severity"]) == "critical"
    assert rig.said("resolved") == []
    (taken,) = (rig.state_dir / "captures").glob("*/002-*/collection.json")
    found = json.loads(taken.read_text())
    assert found["before_bytes"] - found["after_bytes"] > 20 * MB
    assert found["verdict"].endswith("what is left is still referred to")
