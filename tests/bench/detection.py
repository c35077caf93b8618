"""Prints how well leakwatch and other published rules find leaks, on the same cases.

python tests/bench/detection.py [--sets real,public,services,harder,later,generated,injected,month]
                                [--seeds N] [--first-seed N] [--json] [--readme]

real, public: recordings that the weights are learnt from, in tests/data/corpus. services,
harder, later: recordings that they have not seen. injected: ramps of known rate added to the sound of real.
generated: series of known truth, twelve hours each. month: the sound kinds of these over thirty days.
--readme writes the table of these sets into README.md, and draws docs/picture/verdicts.svg anew.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import coverage
import detection_table
import verdicts_picture
from cases import FIRST_SEED, SETS, Job, case_of, jobs
from detectors import ANCHORS, LEAKWATCH, anchor, leakwatch
from judge import Outcome, figures, judged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from corpus import Case

PROCESSES = 2
AT_ONCE = 18
"""So many cases go through the detector side by side."""


class Row(NamedTuple):
    """All outcomes of one case."""

    job: Job
    outcomes: dict[str, Outcome]
    """By detector."""
    forecast_covered: bool | None
    """Whether the time to exhaustion told with the first alarm held; None: nothing was told of it."""


def judge_cases(together: Sequence[Job]) -> list[Row]:
    """Run every detector on some cases, leakwatch on all of them side by side."""
    cases = [case_of(job) for job in together]
    begun = perf_counter()
    alarms = leakwatch(cases)
    seconds = (perf_counter() - begun) / len(cases)
    return [
        _row(job, case, judged(case, alarm, seconds))
        for job, case, alarm in zip(together, cases, alarms, strict=True)
    ]


def _row(job: Job, case: Case, ours: Outcome) -> Row:
    outcomes = {LEAKWATCH: ours}
    for name in ANCHORS:
        begun = perf_counter()
        alarm = anchor(name, case)
        outcomes[name] = judged(case, alarm, perf_counter() - begun)
    forecasts = coverage.told(job) if ours.verdict == "found" else []
    return Row(job, outcomes, forecasts[0].full_covered if forecasts else None)


def run(all_jobs: Sequence[Job]) -> Iterator[Row]:
    """Judge all cases, the longest first."""
    longest_first = sorted(all_jobs, key=lambda job: job.set_ != "month")
    parts = [longest_first[at : at + AT_ONCE] for at in range(0, len(longest_first), AT_ONCE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        for rows in pool.map(judge_cases, parts):
            yield from rows


def _with_progress(rows: Iterator[Row], total: int) -> Iterator[Row]:
    """Count on a terminal; say nothing elsewhere."""
    shown = sys.stderr.isatty()
    for number, row in enumerate(rows, 1):
        if shown:
            sys.stderr.write(f"\r{number}/{total} {row.job.set_} {row.job.name}\x1b[K")
            sys.stderr.flush()
        yield row
    if shown:
        sys.stderr.write("\r\x1b[K")


def results_of(rows: Iterable[Row]) -> detection_table.Results:
    """Sort outcomes by set and detector, by kind, and by what forecasts came to."""
    by_detector = defaultdict(list)
    forecasts = defaultdict(list)
    for row in rows:
        for name, outcome in row.outcomes.items():
            by_detector[row.job.set_, name].append(outcome)
        if row.forecast_covered is not None:
            forecasts[row.job.set_].append(row.forecast_covered)
    return detection_table.Results(dict(by_detector), dict(forecasts))


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default=",".join(SETS), help="default: all")
    parser.add_argument("--seeds", type=int, help="of each generated kind and injected recording")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md too")
    options = parser.parse_args()
    sets = options.sets.split(",")
    if unknown := set(sets) - set(SETS):
        parser.error(f"expected sets among {','.join(SETS)}, found {','.join(sorted(unknown))}")
    if options.readme and not set(detection_table.RECORDED) <= set(sets):
        parser.error("--readme needs real and public")
    all_jobs = [job for one in sets for job in jobs(one, options.seeds, options.first_seed)]
    results = results_of(_with_progress(run(all_jobs), len(all_jobs)))
    if options.json:
        told = {
            one: {name: asdict(figures(results.of(name, one))) for name in results.detectors} for one in sets
        }
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        sys.stdout.write(detection_table.text(results, sets) + "\n")
    if options.readme:
        detection_table.write_readme(results)
        verdicts_picture.PICTURE.write_text(verdicts_picture.draw())


if __name__ == "__main__":
    main()
