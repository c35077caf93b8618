from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from alert_samples import WALL_S
from incident_samples import process as sample

from agent.daemon.changes import AT_MOST_EVERY_S, GATHER_S, PAIRED_WITHIN_S, Changes
from agent.daemon.watched import Watched
from agent.model import Event, Instant, Process, ProcessKey, State
from agent.watch.targets import Target

START_S = 100_000.0
PROCESS = sample()


def at(seconds: float) -> Instant:
    return Instant(START_S + seconds, WALL_S + seconds)


def process(pid: int, started_s: float = -5000.0, **changes: Any) -> Process:
    key = ProcessKey(pid, int(1e6 + started_s), "boot")
    return replace(PROCESS, key=key, started_t_s=START_S + started_s, **{"parent_pid": 1, **changes})


def watched(*processes: Process, service: str = "api", **labels: str) -> list[Watched]:
    return [Watched(Target(service, one, labels, None), one.started_t_s) for one in processes]


class Story:
    """What is told while who is watched changes; each step is (seconds, who)."""

    def __init__(self, *first: Process, **labels: str) -> None:
        self.changes = Changes("web-3")
        assert self.changes.look(watched(*first, **labels), at(0)) == []

    def see(self, seconds: float, *present: Process, **labels: str) -> list[str]:
        return [alert.headline for alert in self.changes.look(watched(*present, **labels), at(seconds))]


def test_a_process_in_the_place_of_another_is_a_restart_told_once() -> None:
    story = Story(process(10))
    after = process(20, 5)

    assert story.see(10, after) == []
    assert story.see(9 + GATHER_S, after) == []
    assert story.see(10 + GATHER_S, after) == ["api was restarted: pid 10 -> 20"]
    assert story.see(1000, after) == []


def test_the_alert_says_what_changed_and_is_no_warning() -> None:
    changes = Changes("web-3")
    changes.look(watched(process(10)), at(0))
    new = watched(process(20, 5, command="api --new", exe="/opt/api2"), release="2.4.1")
    changes.look(new, at(10))
    (alert,) = changes.look(new, at(100))

    assert (alert.event, alert.severity, alert.service, alert.pid) == (Event.CHANGE, State.SOUND, "api", 20)
    assert alert.at_wall_s == WALL_S + 10
    assert alert.headline == "api has release 2.4.1 now, was none"
    assert alert.items == (
        f"pid 10 ({PROCESS.name}, started 85m ago) -> pid 20 ({PROCESS.name})",
        f"executable {PROCESS.exe} -> /opt/api2",
        f"command {PROCESS.command} -> api --new",
        "release none -> 2.4.1",
    )


def test_a_rolling_restart_is_told_as_one() -> None:
    old, new = [process(n) for n in (10, 11, 12)], [process(n, 5 * n) for n in (20, 21, 22)]
    story = Story(*old)

    assert story.see(110, *old, new[0]) == []
    assert story.see(120, *old[1:], *new[:2]) == []
    assert story.see(130, *old[2:], *new) == []
    assert story.see(140, *new) == []
    assert story.see(200, *new) == ["api was restarted: 3 processes"]


def test_a_release_that_the_configuration_changes_is_told_without_a_restart() -> None:
    one = process(10)
    story = Story(one, version="1")
    story.see(10, one, version="2")
    assert story.see(100, one, version="2") == ["api has release 2 now, was 1"]


def test_a_crash_loop_is_told_every_five_minutes_at_most() -> None:
    story, said = Story(process(10)), []
    for step in range(1, 121):
        said += story.see(10 * step, process(10 + step, 10 * step - 1))

    assert len(said) == 1 + (1200 - 10 - GATHER_S) // AT_MOST_EVERY_S


def test_workers_that_their_parent_replaces_are_no_restart() -> None:
    master = process(10)
    story = Story(master, process(11, parent_pid=10))
    story.see(10, master, process(12, 5, parent_pid=10))
    assert story.see(100, master, process(12, 5, parent_pid=10)) == []


@pytest.mark.parametrize(
    ("gone_s", "back_s", "started_s"),
    [(10.0, 20.0 + PAIRED_WITHIN_S, 315.0), (10.0, 20.0, -5000.0)],
    ids=["much later", "one that ran already and was only not watched"],
)
def test_what_comes_later_or_is_older_is_no_restart(gone_s: float, back_s: float, started_s: float) -> None:
    story = Story(process(10))
    story.see(gone_s)
    story.see(back_s, process(20, started_s))
    assert story.see(back_s + 100, process(20, started_s)) == []


def test_who_is_there_at_the_start_and_who_only_ends_is_no_change() -> None:
    story = Story(process(10), process(11))
    story.see(10, process(11))
    assert story.see(500, process(11)) == []


def test_what_other_services_do_is_not_mixed_up() -> None:
    changes = Changes("web-3")
    changes.look([*watched(process(10)), *watched(process(30), service="cron")], at(0))
    present = [*watched(process(10)), *watched(process(31, 5), service="db")]
    changes.look(present, at(10))
    assert changes.look(present, at(100)) == []


def test_nothing_is_kept_of_what_was_told_or_is_long_over() -> None:
    story = Story(process(10))
    for step in range(1, 200):
        story.see(10 * step, process(10 + step, 10 * step - 1))
    story.see(10_000)
    story.see(20_000)

    assert (story.changes._unpaired, story.changes._pending) == ({}, {})  # noqa: SLF001 - its memory is the point
