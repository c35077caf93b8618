"""`leakwatch watch` on real processes, under a clock that moves when told."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from children import LeakyChild, process_of
from click.testing import CliRunner
from fakes import FakeClock

from agent.cli.live import LiveWatch, Reading
from agent.cli.screens import JsonScreen, LiveScreen, PlainScreen, marks_for
from agent.cli.watch import command, follow, screen_for
from agent.clock import SystemClock
from agent.model import Instant, Reason, Sample, State

if TYPE_CHECKING:
    from collections.abc import Sequence

PID_LIMIT = int(Path("/proc/sys/kernel/pid_max").read_text("ascii"))
RUN = [sys.executable, "-u", "-c", "import sys; from agent.cli.watch import command; command(sys.argv[1:])"]
SAMPLE = Sample(300_000_000, 100_000_000, 200_000_000, 0, 4, None, 1.0)


class Recorder:
    """A screen that keeps what it is shown, and does something after each poll."""

    def __init__(self, *steps: object) -> None:
        self.shown: list[Sequence[Reading]] = []
        self._steps = list(steps)

    def show(self, readings: Sequence[Reading]) -> None:
        self.shown.append(readings)
        if self._steps:
            self._steps.pop(0)()  # type: ignore[operator]

    def close(self) -> None:
        pass


def present() -> FakeClock:
    now = SystemClock().now()
    return FakeClock(now.t_s, now.wall_s)


def live_of(clock: FakeClock, *pids: int, interval_s: float = 10.0) -> LiveWatch:
    return LiveWatch([process_of(pid) for pid in pids], interval_s, clock.now())


def reading(**changes: object) -> Reading:
    return Reading(process_of(os.getpid()), Instant(1.0, 1.8e9), **changes)  # type: ignore[arg-type]


def grown(child: LeakyChild, polls: int, step_bytes: int) -> Reading:
    """Return the last reading of a child that grew by a step before each poll, ten seconds apart."""
    clock, screen = present(), Recorder(*[lambda: child.grow(step_bytes)] * polls)
    live = live_of(clock, child.pid)
    follow(live, screen, clock, 10.0, polls)
    live.close()
    return screen.shown[-1][0]


def test_growth_is_told_with_its_interval(child: LeakyChild) -> None:
    last = grown(child, 20, 1_000_000)

    assert last.rate is not None
    assert last.rate.low <= last.rate.value <= last.rate.high
    assert last.rate.value == pytest.approx(360e6, rel=0.02)
    assert last.state is State.SOUND
    assert last.why.startswith("too young: has grown for ")


def test_growth_that_lasts_is_a_warning(child: LeakyChild) -> None:
    last = grown(child, 80, 500_000)

    assert last.state >= State.WARNING
    assert last.why


def test_a_process_that_keeps_still_is_told_to_be_sound(child: LeakyChild) -> None:
    last = grown(child, 14, 4096)

    assert last.state is State.SOUND
    assert last.percent is not None
    assert last.limit is not None


def test_it_ends_when_all_have_ended(child: LeakyChild) -> None:
    with LeakyChild() as other:
        clock, screen = present(), Recorder(child.kill, other.kill)
        live = live_of(clock, child.pid, other.pid)

        follow(live, screen, clock, 10.0, None)

    assert [[bool(one.gone) for one in readings] for readings in screen.shown] == [
        [False, False],
        [True, False],
        [True, True],
    ]
    assert clock.now().t_s - screen.shown[0][0].now.t_s == pytest.approx(20.0)
    live.close()


def test_polls_keep_their_time_also_after_a_slow_one(child: LeakyChild) -> None:
    clock = present()
    screen = Recorder(lambda: clock.advance(3.0), lambda: clock.advance(25.0))
    live = live_of(clock, child.pid)
    begun_t_s = clock.now().t_s

    follow(live, screen, clock, 10.0, 4)

    live.close()
    assert [readings[0].now.t_s - begun_t_s for readings in screen.shown] == [0.0, 10.0, 35.0, 45.0]


def test_lines_are_appended_where_there_is_no_terminal(child: LeakyChild) -> None:
    result = CliRunner().invoke(command, [str(child.pid), "--count", "2", "--interval", "100ms"])

    assert result.exit_code == 0, result.output
    head, first, second = result.output.splitlines()
    assert head.split()[:6] == ["TIME", "PID", "NAME", "HEAP", "RSS", "LIMIT"]
    assert first.split()[1] == second.split()[1] == str(child.pid)
    assert "\x1b" not in result.output


def test_json_is_a_line_a_process_and_poll(child: LeakyChild) -> None:
    me = os.getpid()
    arguments = [str(child.pid), str(me), str(me), "--count", "1", "--json"]

    told = [json.loads(line) for line in CliRunner().invoke(command, arguments).output.splitlines()]

    assert [one["pid"] for one in told] == [child.pid, me]
    assert told[0]["sample"]["heap_bytes"] > 0
    assert told[0]["limit"]["source"]
    assert (told[0]["rate"], told[0]["state"], told[0]["gone"]) == (None, "sound", None)


def test_an_unknown_pid_is_exit_code_2(child: LeakyChild) -> None:
    result = CliRunner().invoke(command, [str(PID_LIMIT + 1), str(child.pid)])

    assert result.exit_code == 2
    assert f"no such process: {PID_LIMIT + 1} (kernel threads" in result.output


@pytest.mark.parametrize("interval", ["1", "0s", "50ms", "soon"])
def test_an_interval_is_a_duration(interval: str) -> None:
    result = CliRunner().invoke(command, ["1", "--interval", interval])

    assert result.exit_code == 2
    assert "expected a duration of at least 100ms" in result.output


def test_the_end_of_a_process_is_told_once() -> None:
    for kind in (PlainScreen, JsonScreen):
        stream = io.StringIO()
        screen = kind(stream)

        screen.show([reading(gone="exited")])
        screen.show([reading(gone="exited")])

        assert stream.getvalue().count("exited") == 1


def test_a_terminal_is_redrawn_in_place_and_given_back() -> None:
    stream = io.StringIO()
    screen = LiveScreen(stream, size=(60, 24))

    screen.show([reading(sample=SAMPLE)])
    before = len(stream.getvalue())
    screen.show([reading(sample=SAMPLE)])
    screen.close()

    again = stream.getvalue()[before:]
    assert stream.getvalue().startswith("\x1b[?25l")
    assert again.startswith("\r\x1b[2A\x1b[2KTIME")
    assert again.endswith("\x1b[J\x1b[?25h")
    assert max(len(line) for line in again.replace("\x1b[2K", "").split("\n")[1:]) <= 60


def test_more_processes_than_lines_are_counted() -> None:
    stream = io.StringIO()

    LiveScreen(stream, size=(200, 6)).show([reading(sample=SAMPLE)] * 9)

    assert stream.getvalue().count("\n") == 5
    assert "and 6 more\n" in stream.getvalue()


def test_what_was_not_read_is_a_dash() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream)

    screen.show([reading(sample=SAMPLE), reading()])

    _, seen, unread = stream.getvalue().splitlines()
    assert seen.split()[3:9] == ["100MB", "300MB", "-", "4", "-", "-"]
    assert unread.endswith("could not be read this time")


def test_an_alarm_is_led_by_what_speaks_for_it() -> None:
    reasons = (Reason("a", passed=False, text="against"), Reason("b", passed=True, text="for it"))

    assert reading(state=State.WARNING, reasons=reasons).why == "for it"
    assert reading(state=State.SOUND, reasons=reasons).why == "against"


def test_marks_follow_the_encoding() -> None:
    assert marks_for(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) != marks_for(
        io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    )
    assert isinstance(screen_for(io.StringIO(), as_json=True), JsonScreen)
    assert isinstance(screen_for(io.StringIO(), as_json=False), PlainScreen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(child: LeakyChild, number: signal.Signals) -> None:
    with subprocess.Popen(
        [*RUN, str(child.pid), "--interval", "1h", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["pid"] == child.pid

        watching.send_signal(number)
        _, errors = watching.communicate(timeout=10)

    assert (watching.returncode, errors) == (0, b"")


def test_ctrl_c_on_a_terminal_gives_the_cursor_back(child: LeakyChild) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*RUN, str(child.pid), "--interval", "1h"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm"},
    ) as watching:
        os.close(theirs)
        seen = b""
        while b"\x1b[J" not in seen:
            seen += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        while b"\x1b[?25h" not in seen:
            seen += os.read(ours, 4096)
        assert watching.wait(10) == 0
    os.close(ours)


def test_help_names_the_exit_codes() -> None:
    assert "Exit codes: 0 the processes have ended" in CliRunner().invoke(command, ["--help"]).output
