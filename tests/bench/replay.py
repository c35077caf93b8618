"""Measures how fast recordings are judged: many of them side by side, as `leakwatch replay` does it.

    python tests/bench/replay.py
    python tests/bench/replay.py --series 5000 --samples 500 --only noisy

Prints samples a second on one core, for series that never move, that leak, that do what recorded processes
did, whose noise has to be looked at, and for the saw-teeth of a collector, all of which rise just now.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import corpus

from agent.recording import Recording
from agent.replay import ReplayOptions, Replays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PAGE_BYTES = 4096
BASE_BYTES = 100e6


def _recorded(draw: np.random.Generator, at: Floats, number: int) -> Floats:
    """Return one of the labelled recordings, again and again, from a moment of its own on; 10 s a sample."""
    cases = _cases()
    case = cases[number % len(cases)]
    since_s = case.t_s - case.t_s[0]
    when_s = (10.0 * at + draw.uniform(0.0, since_s[-1])) % since_s[-1]
    return np.interp(when_s, since_s, case.columns["anon"]) - BASE_BYTES


@cache
def _cases() -> list[Recording]:
    return [case.recording for case in corpus.load("real") if "anon" in case.recording.columns]


Shape = Callable[[np.random.Generator, "Floats", int], "Floats"]
"""What is drawn of time (in samples) by the number of the series."""
SHAPES: dict[str, Shape] = {
    "idle": lambda _draw, at, _number: np.zeros(len(at)),
    "leaking, one of 20": lambda _draw, at, number: (
        np.maximum(0, at - len(at) / 2) * 4 * PAGE_BYTES * (number % 20 == 0)
    ),
    "as recorded": _recorded,
    "noisy": lambda draw, at, _number: draw.normal(0, 2e5, len(at)),
    "saw-teeth": lambda draw, at, number: at % (50 + number % 90) * 1e5 + draw.normal(0, 2e5, len(at)),
}


def recordings(shape: Shape, series: int, samples: int, interval_s: float) -> list[Recording]:
    """Return so many recordings of anonymous memory."""
    draw, at = np.random.default_rng(1), np.arange(samples, dtype=np.float64)
    values = [BASE_BYTES + shape(draw, at, number) for number in range(series)]
    return [
        Recording(f"{number}", interval_s * at, {"anon": np.round(one / PAGE_BYTES) * PAGE_BYTES})
        for number, one in enumerate(values)
    ]


def samples_per_s(shape: Shape, series: int, samples: int, interval_s: float = 10.0) -> float:
    """Return how many samples a second of CPU time are judged, from recordings in memory to what is told."""
    recorded = recordings(shape, series, samples, interval_s)
    began_s = time.process_time()
    for _ in Replays(recorded, ReplayOptions()).run():
        pass
    return series * samples / (time.process_time() - began_s)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2000, help="of each")
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between samples")
    parser.add_argument("--only", choices=list(SHAPES))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shapes = {options.only: SHAPES[options.only]} if options.only else SHAPES
    measured = {
        name: samples_per_s(shape, options.series, options.samples, options.interval)
        for name, shape in shapes.items()
    }
    lines = [f"{name:<20} {rate:>12,.0f} samples a second" for name, rate in measured.items()]
    sys.stdout.write((json.dumps(measured) if options.json else "\n".join(lines)) + "\n")


if __name__ == "__main__":
    main()
