"""Lets the daemon run for a simulated day and judges its own memory by its own detector.

    python tests/bench/soak.py --hours 24 --processes 100

The daemon's real parts poll on an injected clock. Most of the processes exist on paper only, and some of them
leak; some are real and short-lived. Every simulated hour a fifth of them ends and is replaced. The floors of
this process's own anonymous memory, of ten simulated minutes each, go to the detector: no alarm is expected.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from bench.cost_load import Compiled, Load, Manners
from bench.soak_population import Population
from daemon_rig import DaemonRig, HeldClock

from agent.config import Config, load
from agent.daemon.finding import Finder
from agent.daemon.watched import WatchedSet
from agent.recording import Recording
from agent.replay import Replay, ReplayOptions
from agent.watch.cgroups import LimitReader
from agent.watch.discovery import Discovery
from agent.watch.probes.chosen import ChosenProbes
from agent.watch.processes import Gone, Polled, Sampler

if TYPE_CHECKING:
    from agent.model import Process, ProcessKey
    from agent.replay_story import Said
    from agent.watch.targets import Selection

HOUR_S, BLOCK_S, MB = 3600.0, 600.0, 1e6
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
REPLACED = 0.2
"""Of the processes, every hour."""
REAL_NAME = Manners(groups=1).names[0]
ALARMS = ("warning", "critical")
WARM_BLOCKS = 6
"""The first hour is told apart: what is built up once is no leak."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated."""

    hours: float = 24.0
    processes: int = 100
    """On paper."""
    real: int = 20
    poll_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Own:
    """What this process holds now."""

    anonymous_bytes: int
    rss_bytes: int
    fds: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the daemon used of its own, a row for each block."""

    floors: Sequence[Own]
    """The least of each figure in each block."""
    watched: int
    """Processes that were watched at any time."""
    told: int
    """Incidents that it opened."""

    @property
    def recording(self) -> Recording:
        """Return the floors of memory as a recording of leakwatch itself."""
        t_s = BLOCK_S * np.arange(len(self.floors), dtype=np.float64)
        anonymous = np.array([one.anonymous_bytes for one in self.floors], dtype=np.float64)
        return Recording("leakwatch", t_s, {"anon": anonymous})

    @property
    def alarms(self) -> list[Said]:
        """Return what the detector would have told people of it."""
        replay = Replay(self.recording, ReplayOptions())
        return [said for said in replay.run() if said.state in ALARMS]


class _Finder(Finder):
    """Finds the real processes as the daemon does, and the population beside them."""

    def __init__(self, config: Config, clock: HeldClock, population: Population) -> None:
        super().__init__(config, Discovery(), clock)
        self._population = population

    def latest(self, watched: frozenset[ProcessKey]) -> Selection:
        selection = super().latest(watched)
        return replace(selection, targets=(*selection.targets, *self._population.targets))


class _Sampler(Sampler):
    """Samples the real processes as the daemon does, and asks the population for the others."""

    def __init__(self, population: Population) -> None:
        super().__init__()
        self._population = population
        self._followed: set[ProcessKey] = set()

    def open(self, process: Process) -> None:
        if process.key in self._population:
            self._followed.add(process.key)
        else:
            super().open(process)

    def poll(self, t_s: float) -> Polled:
        changed, gone = super().poll(t_s)
        for key in self._followed:
            seen = self._population.sample(key, t_s)
            if seen is None:
                gone.append((key, Gone("exited")))
            else:
                changed.append((key, seen))
        return Polled(changed, gone)

    def close(self, key: ProcessKey) -> None:
        self._followed.discard(key)
        super().close(key)


def own() -> Own:
    """Return what this process holds."""
    resident, shared = map(int, Path("/proc/self/statm").read_text("ascii").split()[1:3])
    return Own((resident - shared) * PAGE_BYTES, resident * PAGE_BYTES, len(os.listdir("/proc/self/fd")))  # noqa: PTH208


def soak(folder: Path, plan: Plan, each_poll: Callable[[], object] = own) -> Outcome:
    """Run the plan; `each_poll` is called after every poll, e.g. by a test to leak in the daemon's name."""
    services = {"real": {"match": {"exe": REAL_NAME}}}
    channel = {"file": {"path": str(folder / "alerts.jsonl")}}
    options = {"poll_interval": f"{plan.poll_s:g}s", "snapshots": False, "channels": channel}
    with (
        Compiled() as compiled,
        Load(compiled.forker, plan.real, Manners(groups=1)) as real,
        DaemonRig(folder, services, **options) as rig,
    ):
        return _Run(rig, plan, real, each_poll).run()


class _Run:
    """One run of a plan."""

    def __init__(self, rig: DaemonRig, plan: Plan, real: Load, each_poll: Callable[[], object]) -> None:
        self._rig = rig
        self._plan = plan
        self._real = real
        self._each_poll = each_poll
        self._population = Population(plan.processes, rig.clock.now().t_s)
        self._finder = _Finder(load(rig.config_path, {}), rig.clock, self._population)
        watched = WatchedSet(_Sampler(self._population), LimitReader(), ChosenProbes())
        rig.daemon = rig.rebuild(finder=self._finder, watched=watched)
        self._watched = plan.processes + plan.real
        self._told = 0

    def run(self) -> Outcome:
        floors: list[Own] = []
        polls_a_block = round(BLOCK_S / self._plan.poll_s)
        for block in range(round(self._plan.hours * HOUR_S / BLOCK_S)):
            if block and block * BLOCK_S % HOUR_S == 0:
                self._replace()
            floors.append(_least([self._poll() for _ in range(polls_a_block)]))
        return Outcome(floors, self._watched, self._told)

    def _poll(self) -> Own:
        rig = self._rig
        rig.clock.advance(self._plan.poll_s)
        rig.tick()
        self._told += len(rig.said("LEAK", "LIMIT"))
        rig.heard.clear()  # or the rig would be what leaks
        self._each_poll()
        return own()

    def _replace(self) -> None:
        on_paper, real = (round(REPLACED * count) for count in (self._plan.processes, self._plan.real))
        self._population.replace(on_paper, self._rig.clock.now().t_s)
        self._real.replace(real)
        self._finder.search()
        self._watched += on_paper + real


def _least(seen: Sequence[Own]) -> Own:
    return Own(
        min(one.anonymous_bytes for one in seen),
        min(one.rss_bytes for one in seen),
        min(one.fds for one in seen),
    )


def _late_growth(outcome: Outcome) -> float:
    """Return the bytes an hour by which anonymous memory grew in the last half, however few they are."""
    late = [one.anonymous_bytes for one in outcome.floors[len(outcome.floors) // 2 :]]
    return float(np.polyfit(np.arange(len(late)) * BLOCK_S / HOUR_S, late, 1)[0])


def report(outcome: Outcome) -> str:
    """Return what a run came to, for people."""
    begin, end = outcome.floors[min(WARM_BLOCKS, len(outcome.floors) - 1)], outcome.floors[-1]
    alarms = [f"{one.state} after {one.t_s / HOUR_S:.1f} h" for one in outcome.alarms]
    by_hour = [
        one.anonymous_bytes for one in outcome.floors[round(HOUR_S / BLOCK_S) - 1 :: round(HOUR_S / BLOCK_S)]
    ]
    rows = {
        "processes watched": str(outcome.watched),
        "incidents opened": str(outcome.told),
        "RSS after the first hour": f"{begin.rss_bytes / MB:.1f} MB",
        "RSS at the end": f"{end.rss_bytes / MB:.1f} MB",
        "anonymous memory": f"{begin.anonymous_bytes / MB:.1f} MB, {end.anonymous_bytes / MB:.1f} MB",
        "anonymous MB by the hour": " ".join(f"{one / MB:.1f}" for one in by_hour),
        "growth in the last half": f"{_late_growth(outcome) / 1e3:.0f} kB/h",
        "open files": f"{begin.fds}, {end.fds}",
        "verdict on leakwatch": ", ".join(alarms) or "sound",
    }
    return "\n".join(f"{what:<26}{figure}" for what, figure in rows.items())


def main() -> None:
    """Run what the command line asks for; exits with 1 where leakwatch is found to leak."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0, help="simulated, default %(default)s")
    parser.add_argument("--processes", type=int, default=100, help="on paper, default %(default)s")
    parser.add_argument("--real", type=int, default=20, help="real ones beside them, default %(default)s")
    parser.add_argument("--poll", type=float, default=10.0, help="simulated seconds between two polls")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leakwatch-soak-") as folder:
        plan = Plan(options.hours, options.processes, options.real, options.poll)
        outcome = soak(Path(folder), plan)
    sys.stdout.write(report(outcome) + "\n")
    sys.exit(1 if outcome.alarms else 0)


if __name__ == "__main__":
    main()
