"""Measures what watching costs: leakwatch and each installed peer in turn on the same processes.

    python tests/bench/cost.py --processes 300 --seconds 10 --rounds 1
    python tests/bench/cost.py --write

Every tool polls once a second, at its real pace. Prints CPU microseconds a process and poll of the whole
tool, how many times leakwatch's that is, and resident memory; docs/cost.md tells what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import cost_table
from bench.cost_load import Compiled, Load, Manners
from bench.cost_peers import PEERS, Peer, selected
from bench.cost_run import ToolError, Window, help_s, measure_own, measure_peer, task_on
from bench.cost_table import LEAKWATCH, Measured, Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Plan(NamedTuple):
    """What is measured."""

    sizes: Sequence[int]
    peers: Sequence[Peer]
    window: Window
    rounds: int
    interval_s: float
    """Of leakwatch; the peers poll every second."""
    busy_percent: float
    growing_percent: float
    churn: int

    def manners(self, size: int) -> Manners:
        """Return what so many processes do."""
        return Manners(
            busy=int(size * self.busy_percent / 100.0),
            growing=int(size * self.growing_percent / 100.0),
            churn=self.churn,
        )


class Bench:
    """Runs a plan; `skipped` tells what could not be measured once it has run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._programs = {peer: program for peer in plan.peers if (program := peer.find())}
        self.skipped = {p.name: "not installed" for p in plan.peers if p not in self._programs}

    def run(self) -> Iterator[Measured]:
        """Yield what each tool has cost in each round."""
        with Compiled() as compiled:
            for size in self._plan.sizes:
                with Load(compiled.forker, size, self._plan.manners(size)) as load:
                    for number in range(1, self._plan.rounds + 1):
                        yield from self._round(load, compiled.poller, number)

    def _round(self, load: Load, poller: Path, number: int) -> Iterator[Measured]:
        plan = self._plan
        for peer in (None, *self._programs):
            name = peer.name if peer else LEAKWATCH
            if name in self.skipped:
                continue
            _tell(f"{load.count:,} processes, round {number} of {plan.rounds}: {name}")
            with task_on(load, poller) as task:
                try:
                    if peer is None:
                        yield measure_own(task, plan.interval_s, plan.window)
                    else:
                        yield measure_peer(peer, self._programs[peer], task, plan.window)
                except ToolError as error:
                    self.skipped[name] = str(error)
        _tell("")


def _tell(line: str) -> None:
    """Show progress on a terminal; say nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()


def machine() -> str:
    """Return what the figures depend on."""
    cores = os.cpu_count()
    return f"Linux {platform.release().partition('-')[0]}, {cores} cores, Python {platform.python_version()}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", default="100,1000,5000", help="numbers of them, default %(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    parser.add_argument("--warm", type=float, default=5.0, help="seconds before it")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are told")
    parser.add_argument("--peers", help="words of their names, separated by commas; default: all installed")
    parser.add_argument("--only", choices=[LEAKWATCH], help="measure no peers")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between leakwatch's polls")
    parser.add_argument("--busy", type=float, default=0.0, help="percent that touch pages every second")
    parser.add_argument("--growing", type=float, default=0.0, help="percent that leak a page a second")
    parser.add_argument("--churn", type=int, default=0, help="processes replaced every second; use --only")
    parser.add_argument("--json", action="store_true", help="print every measurement as one JSON object")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/cost.md too")
    return parser


def main() -> None:
    """Run what the command line asks for."""
    parser = _parser()
    options = parser.parse_args()
    peers = [] if options.only else selected(options.peers.split(",") if options.peers else [])
    if options.peers and not peers:
        parser.error(f"expected words of {', '.join(peer.name for peer in PEERS)}")
    plan = Plan(
        [int(size) for size in options.processes.split(",")],
        peers,
        Window(options.warm, options.seconds),
        options.rounds,
        options.interval,
        options.busy,
        options.growing,
        options.churn,
    )
    bench = Bench(plan)
    measured = list(bench.run())
    skipped = [f"{name} ({why})" for name, why in bench.skipped.items()]
    results = Results(measured, skipped, help_s(), machine())
    sys.stdout.write((json.dumps(asdict(results)) if options.json else cost_table.text(results)) + "\n")
    if options.write:
        document = cost_table.DOCUMENT
        document.write_text(cost_table.write(document.read_text(), results))


if __name__ == "__main__":
    main()
