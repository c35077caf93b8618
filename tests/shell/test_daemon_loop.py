"""The loop: failures, systemd's watchdog, what the daemon itself uses, and the lines it writes."""

from __future__ import annotations

import gc
import os
import re
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from children import LeakyChild
from daemon_rig import TOLD, DaemonRig, slack
from receiver import Receiver

if TYPE_CHECKING:
    import socket

    from agent.daemon.loop import Daemon
    from agent.watch.targets import Selection

MB = 10**6
LOOP = "the loop"


class FailingFinder:
    """Fails while it is told to."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.fails = True

    def latest(self, _: object) -> Selection:
        if self.fails:
            raise RuntimeError("no processes today")
        return self._selection


def heard(manager: socket.socket) -> list[str]:
    manager.settimeout(0)
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode().partition("\n")[0])
        except BlockingIOError:
            return found


def running(daemon: Daemon) -> threading.Thread:
    thread = threading.Thread(target=daemon.run, name=LOOP)
    thread.start()
    return thread


def pass_time(rig: DaemonRig, *seconds: float) -> None:
    for one in seconds:
        rig.clock.advance(one)
        rig.clock.rests(LOOP)


def test_a_tick_that_fails_is_said_and_feeds_no_watchdog_and_the_next_ones_go_on(
    child: LeakyChild, tmp_path: Path, manager: socket.socket
) -> None:
    rig = DaemonRig(tmp_path, {"api": child.pid})
    rig.environ |= {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "8000000"}
    with rig:
        assert rig.daemon is not None
        finder = FailingFinder(rig.daemon._parts.finder.latest(frozenset()))  # noqa: SLF001 - a fault's place
        daemon = rig.rebuild(finder=finder)
        thread = running(daemon)
        rig.clock.rests(LOOP)
        pass_time(rig, 4, 4, 4, 4, 4)
        while_failing = heard(manager)
        failures = rig.said("failed")
        finder.fails = False
        pass_time(rig, 10, 4)
        going = heard(manager)
        finder.fails = True
        pass_time(rig, 6)
        heard(manager)
        pass_time(rig, 4, 6, 4)
        failing_again = heard(manager)
        daemon.stop()
        thread.join(5.0)

        assert not thread.is_alive()
        assert while_failing == []
        assert len(failures) == 3
        assert failures[0].pairs == {"what": "tick", "why": "RuntimeError: no processes today"}
        assert going[:2] == ["STATUS=watching 1, 0 leaking", "READY=1"]
        assert going[2:] == ["WATCHDOG=1", "WATCHDOG=1"]
        assert failing_again == []


def test_missed_beats_are_counted_and_not_made_up(child: LeakyChild, tmp_path: Path) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}) as rig:
        daemon = rig.daemon
        assert daemon is not None
        thread = running(daemon)
        rig.clock.rests(LOOP)
        pass_time(rig, 95)
        after_gap = daemon.view().ticks
        pass_time(rig, 9)
        before_due = daemon.view().ticks
        pass_time(rig, 1)
        daemon.stop()
        thread.join(5.0)

        assert (after_gap, before_due, daemon.view().ticks) == (2, 2, 3)


def test_a_process_that_has_ended_is_not_taken_up_again(child: LeakyChild, tmp_path: Path) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}) as rig:
        rig.run(60)
        child.quit()
        rig.tick()

        assert rig.daemon is not None
        assert rig.daemon._parts.watched.keys == frozenset()  # noqa: SLF001 - it is told nowhere
        rig.tick()
        assert rig.daemon.view().services == ()
        rig.search()
        rig.tick()


def used() -> tuple[set[str], int]:
    return set(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - names only


def test_the_daemon_holds_no_more_files_and_threads_for_processes_that_come_and_go(
    child: LeakyChild, tmp_path: Path
) -> None:
    match = {"match": {"command": "leaky_child.py churning"}}
    with DaemonRig(tmp_path, {"api": child.pid, "jobs": match}) as rig:
        rig.run(100)
        gc.collect()
        files, threads = used()
        for at in range(15):
            with LeakyChild(f"churning{at}"):
                rig.search()
                rig.run(100)
                assert rig.daemon is not None
                assert {s.name for s in rig.daemon.view().services} == {"api", "jobs"}
            rig.run(100)
        gc.collect()

        for _ in range(50):  # another thread may have a file open at this very moment
            files_after, threads_after = used()
            if len(files_after) <= len(files):
                break
            threading.Event().wait(0.1)
        assert len(files_after) <= len(files)
        assert threads_after == threads


def own_rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_daemon_does_not_grow_with_time(child: LeakyChild, tmp_path: Path) -> None:
    with DaemonRig(tmp_path, {"api": child.pid}) as rig:
        rig.run(5000)
        middle = own_rss_bytes()
        rig.run(15_000)
        grown = own_rss_bytes() - middle

        assert rig.daemon is not None
        assert rig.daemon.view().ticks == 2000
        assert grown < 4 * MB


def parsed(line: str) -> tuple[str, dict[str, str]]:
    word, *pairs = shlex.split(line)
    return word, dict(pair.split("=", 1) for pair in pairs)


GOLDEN = {
    "LIMIT": "service pid subject severity rate for grew heap since incident transition channels evidence "
    "why level",
    "evidence": "incident pid top grew dir",
    "delivered": "incident transition channel attempt took",
    "resolved": "service pid subject incident after channels why",
    "gone": "service pid subject incident after channels why",
    "suspect": "service pid subject rate for grew heap why",
    "LEAK": "service pid subject severity rate for grew heap since incident transition channels evidence "
    "why level",
    "reloaded": "config channels",
    "refused": "why level",
    "kept": "config why",
    "restored": "processes incidents",
    "stopped": "after ticks",
    "summary": "watching services leaking critical ticks late undelivered",
}


def life(rig: DaemonRig, child: LeakyChild) -> None:
    """Bring about one of each line."""
    rig.run(600)
    rig.leak(child, 600 * MB, 240)
    rig.run(7200)
    rig.leak(child, 20 * MB, 2700)
    assert rig.daemon is not None
    rig.daemon.reload()
    good = rig.config_path.read_text()
    rig.config_path.write_text("watch: nobody\n")
    rig.daemon.reload()
    rig.config_path.write_text(good)
    rig.restart()
    rig.run(60)
    child.quit()
    rig.run(60)


def test_each_line_says_what_it_must_parses_back_and_tells_no_secret(
    child: LeakyChild, tmp_path: Path
) -> None:
    with Receiver() as receiver:
        rig = DaemonRig(tmp_path, {"api": child.pid}, channels=slack(receiver))
        with rig:
            life(rig, child)
            quiet = {one.t_s for one in rig.heard}
        lines = rig.heard
    found: dict[str, Any] = {}
    for one in lines:
        word, pairs = parsed(one.line)
        assert word == one.word
        assert "\n" not in one.line
        assert "SECRET" not in one.line
        assert "Secret" not in one.line
        found.setdefault(word, pairs)

    optional = {"p", "kind", "full-in", "missing", "grew", "top", "holds"}
    shapes = {word: [key for key in pairs if key not in optional] for word, pairs in found.items()}
    assert shapes == {w: [k for k in keys.split() if k not in optional] for w, keys in GOLDEN.items()}
    rate = re.fullmatch(
        r"(\d+(?:\.\d)?)MB/h \((\d+(?:\.\d+)?)MB\.\.(\d+(?:\.\d)?)MB\)", found["LEAK"]["rate"]
    )
    assert rate is not None
    told, low, high = (float(figure) for figure in rate.groups())
    assert 15 <= told <= 25
    assert low <= 20 <= high
    assert re.fullmatch(r"\d+(\.\d)?MB/\d+(\.\d)?[GT]B", found["LEAK"]["heap"])
    assert re.fullmatch(r"\d\d:\d\d", found["LEAK"]["since"])
    assert found["LIMIT"]["level"] == "error"
    assert len(quiet) < 20
    assert [one.word for one in lines if one.word in TOLD] == ["LIMIT", "resolved", "LEAK", "gone"]
