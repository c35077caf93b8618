"""Growth across restarts, with real processes that come and go, and restarts of leakwatch itself."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml
from children import LeakyChild
from daemon_rig import TOLD, DaemonRig

from agent.history.lineage import RunStore
from agent.model import ProcessKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.detect.lineage import Lent
    from agent.watch.targets import Selection, Target

MB, MINUTE_S, HOUR_S = 10**6, 60.0, 3600.0
WORKER = "leaky_child.py recycled"
RUN_S = 2.5 * HOUR_S
PLAIN = {"thresholds": {"enabled": False}, "poll_interval": "3m"}


class Births:
    """Finds processes as the rig's own finder does, but lets each start when it is first seen.

    The rig's clock runs ahead of the machine's, on which they really started.
    """

    def __init__(self, rig: DaemonRig) -> None:
        self._rig = rig
        self._t_s: dict[ProcessKey, float] = {}

    def install(self) -> None:
        """Put it in the place of the finder; again after each start."""
        assert self._rig.daemon is not None
        self._finder = self._rig.daemon._parts.finder  # noqa: SLF001 - where it is put
        self._rig.daemon = self._rig.rebuild(finder=self)

    def latest(self, watched: frozenset[ProcessKey]) -> Selection:
        found = self._finder.latest(watched)
        return replace(found, targets=tuple(self._born(target) for target in found.targets))

    def _born(self, target: Target) -> Target:
        t_s = self._t_s.setdefault(target.process.key, self._rig.clock.instant.t_s)
        return replace(target, process=replace(target.process, started_t_s=t_s))


def recycle(rig: DaemonRig, at: int, bytes_per_hour: float, seconds: float = RUN_S) -> int:
    """Let one worker live, grow, and end; return its pid."""
    with LeakyChild(f"recycled{at}") as child:
        rig.search()
        rig.tick()
        rig.leak(child, bytes_per_hour, seconds)
    rig.tick()
    return child.pid


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DaemonRig]:
    with DaemonRig(tmp_path, {"api": {"match": {"command": WORKER}}}, **PLAIN) as one:
        Births(one).install()
        yield one


def lent(rig: DaemonRig) -> list[Lent | None]:
    """Return what the processes under watch were lent."""
    assert rig.daemon is not None
    parts = rig.daemon._parts  # noqa: SLF001 - it is told nowhere
    return [parts.judge.tracked(one.key).series["heap"].lent for one in parts.watched]


def start_again(rig: DaemonRig) -> None:
    assert rig.daemon is not None
    births = rig.daemon._parts.finder  # noqa: SLF001 - where it was put
    rig.restart()
    births.install()  # type: ignore[attr-defined]


def test_a_leak_that_restarts_hide_is_told_once_and_resolved_when_later_runs_are_sound(
    rig: DaemonRig,
) -> None:
    for at in range(7):
        recycle(rig, at, 8 * MB)
    assert rig.said(*TOLD) == []
    with LeakyChild("recycled7") as child:
        rig.search()
        rig.leak(child, 8 * MB, RUN_S)
        (opened,) = rig.said(*TOLD)
        assert opened.pairs["pid"] == child.pid
        start_again(rig)
        rig.run(30 * MINUTE_S)
    start_again(rig)
    for at in range(8, 10):
        recycle(rig, at, 8 * MB)
        assert lent(rig) == []

    assert rig.said(*TOLD) == [opened]
    assert opened.word == "LEAK"
    sentence = re.search(r"(\d) runs in 24h, each grew ([\d.]+)MB/h, restarts are hiding it", opened.line)
    assert sentence is not None
    assert int(sentence[1]) >= 7
    assert 7 <= float(sentence[2]) <= 9

    for at in range(10, 13):
        recycle(rig, at, 0.0)
    _, resolved = (said for said in rig.said(*TOLD) if said.word != "reminded")
    assert resolved.word == "resolved"
    assert re.search(r"newest runs? ha(s|ve) not grown for", resolved.line)


def test_recycled_workers_that_only_warm_up_are_never_told_and_lend_their_plateau(rig: DaemonRig) -> None:
    for at in range(8):
        with LeakyChild(f"recycled{at}") as child:
            rig.search()
            rig.tick()
            rig.leak(child, 60 * MB, 20 * MINUTE_S)
            rig.run(RUN_S)
        rig.tick()
    with LeakyChild("recycled8"):
        rig.search()
        rig.tick()
        (given,) = lent(rig)

    assert rig.said(*TOLD) == []
    assert given is not None
    assert 20 * MB <= given.plateau <= 60 * MB
    assert given.warmup_s <= 40 * MINUTE_S
    assert given.quiet_s >= 1.5 * HOUR_S


def test_a_service_that_is_not_started_again_ends_its_lineage(rig: DaemonRig) -> None:
    for at in range(9):
        recycle(rig, at, 8 * MB)
    rig.run(90 * MINUTE_S)

    assert [one.word for one in rig.said(*TOLD)] == ["LEAK", "gone"]
    assert "no process of it has run since" in rig.said("gone")[0].line


def test_of_many_that_end_at_once_the_longest_lives_are_summed_up(
    rig: DaemonRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more of them are kept anyway, and a thousand would take a poll's time."""
    monkeypatch.setattr("agent.daemon.lineage.KEPT_RUNS", 2)
    with ExitStack() as stack:
        pids = []
        for at in range(4):
            pids.append(stack.enter_context(LeakyChild(f"recycled{at}")).pid)
            rig.search()
            rig.tick()
            rig.run(2 * MINUTE_S if at < 3 else RUN_S)
    rig.tick()

    assert rig.daemon is not None
    runs = rig.daemon._parts.lineage._runs["api"].values()  # noqa: SLF001 - it is told nowhere
    ended = sorted(ProcessKey.parse(run.key).pid for run in runs if run.ended_wall_s is not None)
    assert ended == sorted(pids[:2])


def test_a_leak_of_one_worker_is_that_workers_and_told_once_for_the_service(tmp_path: Path) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(LeakyChild(f"recycled{at}")) for at in range(3)]
        match = {"match": {"command": WORKER}}
        rig = stack.enter_context(DaemonRig(tmp_path, {"api": match}, thresholds={"enabled": False}))
        rig.run(2 * HOUR_S)
        rig.leak(workers[1], 40 * MB, 30 * MINUTE_S)

        (opened,) = rig.said(*TOLD)
        assert (opened.word, opened.pairs["pid"]) == ("LEAK", workers[1].pid)


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode().partition("\n")[0]


def test_kill_9_keeps_the_runs_and_closes_who_ended_meanwhile(tmp_path: Path) -> None:
    state, config = tmp_path / "state", tmp_path / "leakwatch.yaml"
    command = [sys.executable, "-m", "agent", "run", "--config", str(config), "--state-dir", str(state)]
    command += ["--time-scale", "600"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, LeakyChild("recycled") as child:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20.0)
        entry = {"service": "api", "match": {"pid": child.pid}}
        config.write_text(yaml.safe_dump({"watch": [entry], "poll_interval": "30s"}))
        environ = os.environ | {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "1000000"}
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as first:
            while heard(manager) != "READY=1" or not (state / "runs.db").exists():
                pass
            with closing(RunStore(state / "runs.db")) as store:
                while not (seen := store.runs()):
                    heard(manager)
            first.send_signal(signal.SIGKILL)
        child.kill()
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as second:
            while heard(manager) != "READY=1":
                pass
            second.send_signal(signal.SIGTERM)
        with closing(RunStore(state / "runs.db")) as store:
            (left,) = store.runs()

    assert [one.ended_wall_s for one in seen] == [None]
    assert left.key == seen[0].key
    assert left.service == "api"
    assert left.ended_wall_s == left.seen_wall_s >= seen[0].seen_wall_s
