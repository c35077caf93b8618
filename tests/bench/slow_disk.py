"""Shows that a slow disk delays no poll: every fsync of the daemon takes seconds, and each tick is timed.

    python tests/bench/slow_disk.py
    python tests/bench/slow_disk.py --processes 200 --fsync 2 --seconds 60

Needs strace, which holds threads of the daemon at `fsync` and `fdatasync`, and a C compiler. Every service is
over a limit that is next to nothing, so that there is something to store and to tell from the first poll on.
The daemon is started twice: with an empty state directory, and with what it has left there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.cost_load import IDLE, Compiled, Load
from bench.cost_meter import now_s
from bench.cost_run import COMMAND, NEVER_US, Manager, configuration, task_on
from bench.cost_table import pace_of

if TYPE_CHECKING:
    from bench.cost_peers import Task
    from bench.cost_table import Ticks

STOP_S = 120.0
TRACED = "fsync,fdatasync"
NEXT_TO_NOTHING = {"heap_percent": "0.0001%", "heap_percent_critical": "99%"}


class Told(NamedTuple):
    """What came of one run."""

    start_s: float
    ticks: int
    pace: Ticks
    alerts: int

    def __str__(self) -> str:
        return (
            f"started in {self.start_s:.2f} s, {self.ticks} ticks, the latest late by "
            f"{1000 * self.pace['latest_s']:.0f} ms, {self.pace['missed']} missed; {self.alerts} alerts told"
        )


def run(task: Task, *, fsync_s: float, seconds: float) -> Told:
    """Let the daemon poll once a second on a slow disk."""
    config, alerts = task.folder / "leakwatch.yaml", task.folder / "alerts.jsonl"
    file = {"channels": {"file": {"path": str(alerts)}}, "thresholds": NEXT_TO_NOTHING}
    config.write_text(yaml.safe_dump(configuration(task.load, 1.0) | file))
    delay = f"inject={TRACED}:delay_enter={round(fsync_s * 1e6)}"
    slow = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={TRACED}", "-e", delay]
    argv = [*slow, COMMAND, "run", "--config", config, "--state-dir", task.folder / "state"]
    with Manager(task.folder / f"notify-{time.monotonic_ns()}") as manager:
        environ = {**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": NEVER_US}
        begun_s = now_s()
        daemon = subprocess.Popen(argv, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            ready_s = manager.wait_ready()
            threading.Event().wait(seconds)
            pace = pace_of(manager.ticks_s, 1.0)
        finally:
            for traced in psutil.Process(daemon.pid).children():
                traced.terminate()
            daemon.wait(STOP_S)
    told = len(alerts.read_text().splitlines()) if alerts.exists() else 0
    return Told(ready_s - begun_s, len(manager.ticks_s), pace, told)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--fsync", type=float, default=5.0, help="seconds that each takes")
    parser.add_argument("--seconds", type=float, default=180.0, help="of each of the two runs")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        parser.error("strace is not installed")
    with (
        Compiled() as compiled,
        Load(compiled.forker, options.processes, IDLE) as load,
        task_on(load, compiled.poller) as task,
    ):
        for state in ("empty", "its own"):
            told = run(task, fsync_s=options.fsync, seconds=options.seconds)
            sys.stdout.write(f"state directory {state}: {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
