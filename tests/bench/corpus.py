"""Reads the labelled recordings of tests/data/corpus; ORIGIN.md there says where they come from."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.recording import Recording, decode, parse

FOLDER = Path(__file__).resolve().parents[1] / "data" / "corpus"
SETS = ("real", "public")
"""Learnt from, in folds by program."""
HELD_OUT = ("services", "harder", "later")
"""Recorded later by people who did not know the detector; its weights have not seen them."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of a case. Times are seconds of the recording's own clock."""

    leaks: bool
    onset_s: float | None
    """When the leak begins; 0: with the process; None: it never leaks."""
    rate_bytes_per_s: float | None
    """None where no single rate holds."""
    time_scale: float
    """One recorded second stands for so many seconds of the process."""
    kind: str
    """The pattern, e.g. "cache-fill"."""


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled recording."""

    name: str
    truth: Truth
    recording: Recording
    program: str = ""
    """What was recorded; cases of one program are never parted between training and test."""


@cache
def load(name: str) -> tuple[Case, ...]:
    """Return the cases of one set, sorted by name."""
    truths = {one["name"]: one for one in json.loads((FOLDER / f"{name}.json").read_text())}
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        return tuple(_case(archive, file, truths) for file in archive.getnames())


def _case(archive: tarfile.TarFile, file: str, truths: dict[str, dict[str, object]]) -> Case:
    name = file.removesuffix(".csv")
    told = truths[name]
    content = archive.extractfile(file)
    if content is None:
        raise ValueError(f"{file} is no file")
    truth = Truth(**{key: told[key] for key in Truth.__dataclass_fields__})  # type: ignore[arg-type] # as in the file
    return Case(name, truth, parse(file, decode(file, content.read())), str(told["software"]))
