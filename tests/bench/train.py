"""Fits the weights of the probability on processes of known truth and writes agent/detect/weights.json.

python tests/bench/train.py [--seeds N] [--dry] [--folds]

Cases: the recordings of tests/data/corpus, ramps injected into the sound ones (three seeds), generated series
(seeds 1 to N, 12 by default) and the sound kinds over thirty days (one seed each, for the false alarms only).

Of a life the look with the highest score speaks (multiple-instance learning: Andrews, Tsochantaridis and
Hofmann, NIPS 15, 2003), of a leaking one once for the time before its onset and once for that after it. The
weights are those of a logistic regression on who speaks, none below its least: considerations that hardly
ever decide between the cases here stay in force. In six folds, no program is both learnt from and judged;
so judged are the shares told with --folds, and how often sound processes reach a score.
--dry prints and writes nothing, --folds prints how each fold would have judged.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import re
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import looks
import numpy as np
from cases import Job, case_of
from generated import LEAKS, MONTH_MINUTES, SOUND
from judge import DAY_S, Alarm, figures, judged

from agent.detect import features
from agent.replay import ReplayOptions, tape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from corpus import Case
    from looks import Seen
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WEIGHTS = Path(__file__).resolve().parents[2] / "agent" / "detect" / "weights.json"
FOLDS = 6
ROUNDS = 6
AT_ONCE = 70
"""So many cases go through the rings side by side."""
INJECTED_SEEDS = (1, 2, 3)
STRENGTH = 5e-4
"""Of the pull towards the least weights, for a total weight of the lives of 1."""
RECORDED_WEIGHT = 3.0
"""A recorded process counts as much as so many generated ones."""
LEAST = {
    "young": 3.0,
    "mature": 3.0,
    "even": 0.6,
    "going": 1.8,
    "speed": 0.9,
    "keeps": 1.8,
    "jumps": 0.9,
    "high": 1.5,
    "slowing": 2.0,
    "before": 2.0,
    "clear": 0.2,
    "straight": 0.6,
    "size": 1.2,
    "gate": 1.5,
    "gate_past": 1.5,
}
SOUND_WEIGHT = 1.25
"""Half of these cases leak, and of the processes that people watch hardly any."""
SCORES = np.round(np.arange(-6.0, 4.01, 0.25), 2)
CHANCES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01)
MAX_STEPS = 4000


@dataclass(frozen=True, slots=True)
class Fit:
    """Weights in the order of `features.NAMES`, and the log odds where nothing speaks against a leak."""

    weights: Floats
    intercept: float

    def score(self, table: Floats) -> Floats:
        """Return the score of each look."""
        return np.asarray(table @ self.weights)


@dataclass(frozen=True, slots=True)
class Lives:
    """The look that speaks for each life, or for its part before or after the onset."""

    table: Floats
    label: Floats
    weight: Floats


def gather(jobs: Sequence[Job]) -> list[Seen]:
    """Return what is seen of every case, those of one pace side by side, on two processes."""
    cases: dict[tuple[float, float], list[Case]] = defaultdict(list)
    for job in jobs:
        case = case_of(job)
        options = ReplayOptions(time_scale=case.truth.time_scale)
        cases[case.truth.time_scale, tape(case.recording, options).pace_s].append(case)
    groups = [g[k : k + AT_ONCE] for g in cases.values() for k in range(0, len(g), AT_ONCE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        return [seen for several in pool.map(looks.of, groups) for seen in several]


def program(case: Case) -> str:
    """Return what a case is a run of; the generated ones of a seed belong together."""
    name = re.sub(r"^inj-(.*)-\d+$", r"\1", case.name)
    generated = re.fullmatch(rf"(?:{'|'.join(LEAKS + SOUND)})-(\d+)", name)
    return f"generated-{generated[1]}" if generated else case.program or name


def folds_of(all_seen: Sequence[Seen]) -> dict[str, int]:
    """Return the fold of each program."""
    programs = sorted({program(seen.case) for seen in all_seen})
    shuffled = np.random.default_rng(0).permutation(len(programs))
    return {one: int(k) % FOLDS for one, k in zip(programs, shuffled, strict=True)}


def speaking(all_seen: Iterable[Seen], fit: Fit) -> Lives:
    """Return the look with the highest score of every life, and what it should say."""
    tables, labels, weights = [], [], []
    for seen in all_seen:
        score, label = fit.score(seen.table), seen.label
        weight = RECORDED_WEIGHT if seen.case.program and not _derived(seen) else 1.0
        for leaking in (False, True):
            part = np.flatnonzero(label == leaking)
            if len(part):
                tables.append(seen.table[part[np.argmax(score[part])]])
                labels.append(float(leaking))
                before = seen.case.truth.leaks and not leaking
                weights.append(weight * (1.0 if leaking else SOUND_WEIGHT) * (0.5 if before else 1.0))
    return Lives(np.array(tables), np.array(labels), np.array(weights))


def _derived(seen: Seen) -> bool:
    """Whether a case is generated or injected, not recorded as it is."""
    return program(seen.case).startswith("generated-") or seen.case.name.startswith("inj-")


def least() -> Floats:
    """Return the least weights in the order of the features."""
    return np.array([LEAST[name] for name in features.NAMES])


def train(all_seen: Sequence[Seen]) -> Fit:
    """Fit weights, choose who speaks by them, and fit again."""
    fit = Fit(least(), 0.0)
    for _ in range(ROUNDS):
        fit = regress(speaking(all_seen, fit), least())
    return fit


def regress(told: Lives, floor: Floats) -> Fit:
    """Return the logistic regression whose weights are at least `floor`, and are pulled towards it.

    Projected gradient steps with momentum (Beck and Teboulle, SIAM J. Imaging Sciences 2, 2009).
    """
    table = np.concatenate([np.ones((len(told.table), 1)), told.table], axis=1)
    weight = told.weight / told.weight.sum()
    pulls = np.concatenate([[0.0], np.full(len(floor), STRENGTH)])
    lowest = np.concatenate([[-np.inf], floor])
    start = np.concatenate([[0.0], floor])
    step = 1.0 / (0.25 * np.linalg.eigvalsh((table * weight[:, None]).T @ table)[-1] + STRENGTH)
    now, ahead, momentum = start, start, 1.0
    for _ in range(MAX_STEPS):
        odds = np.clip(table @ ahead, -40.0, 40.0)
        slope = table.T @ (weight * (1.0 / (1.0 + np.exp(-odds)) - told.label)) + pulls * (ahead - start)
        after = np.maximum(ahead - step * slope, lowest)
        grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, now, momentum = after + (momentum - 1) / grown * (after - now), after, grown
    return Fit(now[1:], float(now[0]))


def first_at(seen: Seen, score: Floats, least_score: float) -> float | None:
    """Return when a score was first reached, on the scaled clock; None: never."""
    reached = score >= least_score
    return float(seen.t_s[reached].min()) if reached.any() else None


def false_alarms(sound: Sequence[tuple[Seen, Floats]]) -> Floats:
    """Return how often a day sound processes first reach each of `SCORES`.

    Half an alarm is added: what was never seen is not impossible.
    """
    days = sum(seen.sound_s for seen, _ in sound) / DAY_S
    highest = np.array([score.max(initial=-np.inf) for _, score in sound])
    counts = (highest[None, :] >= SCORES[:, None]).sum(axis=1)
    return np.asarray((counts + 0.5) / days)


def report(out_of_fold: Sequence[tuple[Seen, Floats]], least_score: float) -> str:
    """Return how weights from other programs judge, set by set."""
    by_set: dict[str, list[tuple[Seen, Floats]]] = defaultdict(list)
    for seen, score in out_of_fold:
        kind = "generated" if program(seen.case).startswith("generated-") else "recorded"
        by_set["injected" if seen.case.name.startswith("inj-") else kind].append((seen, score))
    lines = []
    for name, several in by_set.items():
        outcomes = [
            judged(seen.case, Alarm(_own_clock(seen, first_at(seen, score, least_score))))
            for seen, score in several
        ]
        f = figures(outcomes)
        wrong = [
            seen.case.name
            for (seen, _), o in zip(several, outcomes, strict=True)
            if o.verdict in ("false", "early", "missed")
        ]
        lines.append(f"{name:10} {f}\n           wrong: {' '.join(wrong)}")
    return "\n".join(lines)


def reliability(out_of_fold: Sequence[tuple[Seen, Floats]]) -> str:
    """Return, by the highest probability that was told of each process, how many of them leaked."""
    told = [
        (float(1 / (1 + np.exp(-score.max(initial=-np.inf)))), seen.case.truth.leaks)
        for seen, score in out_of_fold
    ]
    lines = ["told       processes  leaked"]
    for low, high in itertools.pairwise(CHANCES):
        leaked = [leaks for chance, leaks in told if low <= chance < high]
        if leaked:
            lines.append(f"{low:.2f}-{high:.2f}  {len(leaked):9}  {sum(leaked) / len(leaked):.2f}")
    return "\n".join(lines)


def _own_clock(seen: Seen, t_s: float | None) -> float | None:
    recording = seen.case.recording
    return None if t_s is None else float(recording.t_s[0]) + t_s / seen.case.truth.time_scale


def main() -> None:
    """Train, judge by folds, calibrate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--folds", action="store_true")
    options = parser.parse_args()
    all_seen = gather(all_jobs(options.seeds))
    learnt = [seen for seen in all_seen if not _month(seen)]
    fold = folds_of(all_seen)
    out_of_fold: list[tuple[Seen, Floats]] = []
    for k in range(FOLDS):
        fit = train([seen for seen in learnt if fold[program(seen.case)] != k])
        judged_now = [seen for seen in all_seen if fold[program(seen.case)] == k]
        out_of_fold += [(seen, fit.intercept + fit.score(seen.table)) for seen in judged_now]
    alarms = false_alarms([one for one in out_of_fold if not one[0].case.truth.leaks])
    write_or_print(train(learnt), alarms, dry=options.dry)
    if options.folds:
        short = [one for one in out_of_fold if not _month(one[0])]
        sys.stdout.write(f"\n{reliability(short)}\n")
        for least_score in SCORES[::2]:
            sys.stdout.write(f"\nlog odds {least_score}\n{report(short, least_score)}\n")


def _month(seen: Seen) -> bool:
    return len(seen.case.recording.t_s) == MONTH_MINUTES


def all_jobs(seeds: int) -> list[Job]:
    """Return every case that is learnt from."""
    jobs = [Job(name, case.name, 0) for name in corpus.SETS for case in corpus.load(name)]
    sound = [case.name for case in corpus.load("real") if not case.truth.leaks]
    jobs += [Job("injected", name, seed) for name in sound for seed in INJECTED_SEEDS]
    jobs += [Job("generated", kind, seed) for kind in LEAKS + SOUND for seed in range(1, seeds + 1)]
    return jobs + [Job("month", kind, 1) for kind in SOUND]


def write_or_print(fit: Fit, alarms: Floats, *, dry: bool) -> None:
    """Write the weights for the detector to read, or show them."""
    told = {
        "weights": {name: round(float(w), 3) for name, w in zip(features.NAMES, fit.weights, strict=True)},
        "intercept": round(fit.intercept, 3),
        "false_alarms": {
            "score": SCORES.tolist(),
            "per_process_day": [round(float(one), 5) for one in alarms],
        },
    }
    text = json.dumps(told, indent=1) + "\n"
    sys.stdout.write(text)
    if not dry:
        WEIGHTS.write_text(text)


if __name__ == "__main__":
    main()
