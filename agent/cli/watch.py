"""`leakwatch watch PID...`: some processes, now, without a file."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, TextIO

import click

from agent.cli.live import LiveWatch
from agent.cli.screens import JsonScreen, LiveScreen, PlainScreen, Screen
from agent.clock import SystemClock
from agent.units import parse_duration
from agent.watch.discovery import Discovery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.clock import Clock
    from agent.model import Process

NO_SUCH_PROCESS = 2
LEAST_INTERVAL_S = 0.1
LOOK_EVERY_S = 1.0
"""Between two looks whether it is to end."""


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """Return the seconds of a duration as the configuration writes it, or end with what was expected."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds < LEAST_INTERVAL_S:
        raise click.BadParameter(f'expected a duration of at least 100ms such as "1s", found "{text}"')
    return seconds


@click.command("watch")
@click.argument("pids", metavar="PID...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option(
    "--interval", default="1s", show_default=True, callback=_seconds, help="Time between two polls."
)
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many polls.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each process and poll.")
def command(pids: tuple[int, ...], interval: float, count: int | None, *, as_json: bool) -> None:
    """Follow some processes: a line each, with memory, limit, growth, and what the detector makes of it.

    On a terminal the lines are refreshed in place; elsewhere lines are appended. A rate of growth is told
    after some ten polls, with its 90 % interval. Nothing is stored and nothing is sent. It ends by itself
    when all the processes have ended.

    \b
    Exit codes: 0 the processes have ended, or it was stopped (Ctrl-C, --count), 2 no such process.
    """  # noqa: D301 - click's mark for lines that stay as they are
    clock = SystemClock()
    live = LiveWatch(_processes(dict.fromkeys(pids)), interval, clock.now())
    screen = screen_for(sys.stdout, as_json=as_json)
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        follow(live, screen, clock, interval, count, lambda: stop.asked)
    except KeyboardInterrupt:
        pass
    finally:
        screen.close()
        live.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Stop:
    """A signal that ends it. What it raises is lost where it falls into a destructor: so it is noted, too."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        self.asked = True
        raise KeyboardInterrupt


def follow(
    live: LiveWatch,
    screen: Screen,
    clock: Clock,
    interval_s: float,
    count: int | None,
    stopped: Callable[[], bool] = bool,
) -> None:
    """Poll and show until all have ended, or `count` times, or it is to stop."""
    never, polls = threading.Event(), 0
    due_t_s = clock.now().t_s
    while not stopped():
        screen.show(live.poll(clock.now()))
        polls += 1
        if live.ended or polls == count:
            return
        now_t_s = clock.now().t_s
        due_t_s = max(due_t_s + interval_s, now_t_s)
        while not stopped() and now_t_s < due_t_s:
            clock.wait(never, min(LOOK_EVERY_S, due_t_s - now_t_s))
            now_t_s = clock.now().t_s


def screen_for(stream: TextIO, *, as_json: bool) -> Screen:
    """Return the screen that suits the output."""
    if as_json:
        return JsonScreen(stream)
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LiveScreen(stream)
    return PlainScreen(stream)


def _processes(pids: Sequence[int] | dict[int, None]) -> list[Process]:
    """Return the processes in the order they were asked for, or end with a sentence for each unknown one."""
    known = {process.key.pid: process for process in Discovery().processes()}
    unknown = [pid for pid in pids if pid not in known]
    for pid in unknown:
        click.echo(f"no such process: {pid} (kernel threads and zombies have no memory to look at)", err=True)
    if unknown:
        raise SystemExit(NO_SUCH_PROCESS)
    return [known[pid] for pid in pids]
