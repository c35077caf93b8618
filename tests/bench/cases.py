"""Names every case of the bench, and makes each from its name: recorded, injected or generated."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import corpus
import generated
import numpy as np
from corpus import Case, Truth
from injected import inject

from agent.recording import Recording

SETS = (*corpus.SETS, *corpus.HELD_OUT, "generated", "injected", "month")
SEEDS = {"generated": 20, "injected": 3, "month": 1}
"""How many of each are taken unless told otherwise."""
FIRST_SEED = 101
"""Seeds below this are for whoever develops the detector."""
SHARED_BYTES = 8 * 2**20
"""Resident, but not anonymous, memory of what is generated."""


class Job(NamedTuple):
    """The name of one case."""

    set_: str
    name: str
    """A recording's name, or a generated kind."""
    seed: int = 0


def jobs(set_: str, seeds: int | None = None, first: int = FIRST_SEED) -> list[Job]:
    """Return all cases of a set."""
    if set_ in corpus.SETS + corpus.HELD_OUT:
        return [Job(set_, case.name) for case in corpus.load(set_)]
    names: tuple[str, ...] = generated.SOUND
    if set_ == "generated":
        names = generated.LEAKS + generated.SOUND
    elif set_ == "injected":
        names = tuple(case.name for case in corpus.load("real") if not case.truth.leaks)
    drawn = range(first, first + (SEEDS[set_] if seeds is None else seeds))
    return [Job(set_, name, seed) for seed in drawn for name in names]


def case_of(job: Job) -> Case:
    """Return the case of a name."""
    if job.set_ in corpus.SETS + corpus.HELD_OUT:
        return _recorded(job.set_)[job.name]
    if job.set_ == "injected":
        return inject(_recorded("real")[job.name], job.seed)
    minutes = generated.MONTH_MINUTES if job.set_ == "month" else generated.MINUTES
    return _generated(job.name, job.seed, minutes)


@cache
def _recorded(set_: str) -> dict[str, Case]:
    return {case.name: case for case in corpus.load(set_)}


def _generated(kind: str, seed: int, minutes: int) -> Case:
    drawn, apart_s = generated.case(kind, seed, minutes), generated.INTERVAL_S
    truth = Truth(
        leaks=drawn.onset is not None,
        onset_s=None if drawn.onset is None else drawn.onset * apart_s,
        rate_bytes_per_s=None if drawn.rate is None else drawn.rate / apart_s,
        time_scale=1.0,
        kind=kind,
    )
    anon = np.floor(drawn.values)
    columns = {"rss": np.floor(drawn.values + SHARED_BYTES), "anon": anon}
    name = f"{kind}-{seed}"
    return Case(
        name, truth, Recording(name, np.arange(minutes, dtype=np.float64) * apart_s, columns), program=kind
    )
