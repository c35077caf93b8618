"""Shows the figures of the bench: as text, and as the table of README.md."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from detectors import ANCHORS, LEAKWATCH
from judge import Figures, Outcome, figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
RECORDED = ("real", "public")
UNSEEN = ("services", "later")
WRAP = 120
COLUMNS = (
    "set", "detector", "cases", "precision", "recall", "F1", "delay with baseline", "delay from start",
    "rate error", "false alarms/process-day", "undecidable", "ms/case",
)  # fmt: skip
KIND_COLUMNS = (
    "set", "kind", "cases", "found", "missed", "undecidable", "false", "early", "median delay", "rate error",
)  # fmt: skip
NOTES = """\
Alarm: the first state of warning or above. One before a leak's onset is a false alarm and a leak missed.
Delays are medians, over the least that any detector could reach on that case's noise (judge.limit_delay).
False alarms: over the time that processes which do not leak (yet) were watched, each until its first alarm.
Rate: the one told last with an alarm; covered where the true rate, if there is a single one, lies within.
Forecast: the time to exhaustion told with the first alarm, in a second run with a limit that the recording
reaches in its last twentieth (coverage.py); covered where it first got there within the interval told."""


@dataclass(frozen=True, slots=True)
class Results:
    """Outcomes of all cases."""

    outcomes: dict[tuple[str, str], list[Outcome]]
    """By set and detector."""
    forecasts: dict[str, list[bool]]
    """By set: whether each forecast told held."""

    @property
    def detectors(self) -> tuple[str, ...]:
        """leakwatch first."""
        return (LEAKWATCH, *ANCHORS)

    def of(self, detector: str, *sets: str) -> list[Outcome]:
        """Return the outcomes of one detector on some sets."""
        return [outcome for one in sets for outcome in self.outcomes.get((one, detector), ())]


def text(results: Results, sets: Sequence[str]) -> str:
    """Return all tables for a terminal."""
    rows = [_row(one, name, results) for one in sets for name in results.detectors]
    parts = [
        _aligned([COLUMNS, *rows]),
        f"{LEAKWATCH} by kind",
        _aligned([KIND_COLUMNS, *_kinds(results, sets)]),
        f"{LEAKWATCH}: coverage of 90 % intervals",
        _aligned([("set", "rate", "of", "forecast", "of"), *_coverage(results, sets)]),
        NOTES,
    ]
    return "\n\n".join(parts)


def _row(set_: str, name: str, results: Results) -> tuple[str, ...]:
    f = figures(results.of(name, set_))
    return (
        set_, name, str(f.cases), *(f"{one:.2f}" for one in (f.precision, f.recall, f.f1)),
        _times(f.delay), _times(f.delay_from_start), _percent(f.rate_error), f"{f.false_per_day:.4f}",
        str(f.undecidable), f"{1000 * f.seconds / max(1, f.cases):.0f}",
    )  # fmt: skip


def _kinds(results: Results, sets: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for set_ in sets:
        kinds = defaultdict(list)
        for outcome in results.of(LEAKWATCH, set_):
            kinds[outcome.kind].append(outcome)
        for kind, outcomes in sorted(kinds.items()):
            f = figures(outcomes)
            counts = (
                sum(one.verdict == verdict for one in outcomes)
                for verdict in ("found", "missed", "undecidable", "false", "early")
            )
            delay = f.delay if f.delay is not None else f.delay_from_start
            yield set_, kind, str(f.cases), *map(str, counts), _times(delay), _percent(f.rate_error)


def _coverage(results: Results, sets: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for set_ in sets:
        f, held = figures(results.of(LEAKWATCH, set_)), results.forecasts.get(set_, [])
        share = sum(held) / len(held) if held else None
        if f.covered_of or held:
            yield set_, _percent(f.coverage), str(f.covered_of), _percent(share), str(len(held))


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}x"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"


class Column(NamedTuple):
    """One column of the table of README.md."""

    title: str
    """"{n}" stands for the number of cases."""
    sets: tuple[str, ...]
    cell: Callable[[Figures], str]


README_COLUMNS = (
    Column("{n} recorded: precision", RECORDED, lambda f: f"{f.precision:.2f}"),
    Column("recall", RECORDED, lambda f: f"{f.recall:.2f}"),
    Column("F1", RECORDED, lambda f: f"{f.f1:.2f}"),
    Column("{n} services: F1", UNSEEN, lambda f: f"{f.f1:.2f}"),
    Column("{n} generated: F1", ("generated",), lambda f: f"{f.f1:.2f}"),
    Column("{n} ramps: found", ("injected",), lambda f: f"{100 * f.recall:.0f} %"),
    Column("delay", ("injected",), lambda f: f"{_times(f.delay)} / {_times(f.delay_from_start)}"),
    Column("{n} months: false alarms", ("month",), lambda f: f"{30 * f.false_per_day:.1f}"),
)
LEGEND = {
    RECORDED: "Recorded: real programs; the sound ones only look like leaks (bounded caches, lazy "
    "collectors, pools, warm-up).",
    UNSEEN: "Services: other programs, recorded by people who did not know how leakwatch decides.",
    ("generated",): "Generated: 28 kinds of series of known truth, twelve hours each.",
    ("injected",): "Ramps: leaks of known rate, added to sound recordings. Delay: their median, in "
    "multiples of the least that any detector can reach in that noise; with a baseline before the leak / "
    "from the process's start.",
    ("month",): "Months: the sound kinds of the generated series over 30 days; false alarms in 30 days of a "
    "process, each of which counts until its first one.",
}


def readme_table(results: Results) -> str:
    """Return the table of README.md and what its columns mean, of the sets that were run."""
    columns = [one for one in README_COLUMNS if results.of(LEAKWATCH, *one.sets)]
    titles = (one.title.format(n=len(results.of(LEAKWATCH, *one.sets))) for one in columns)
    rows = [_readme_row(name, columns, results) for name in results.detectors]
    legend = " ".join(dict.fromkeys(LEGEND[one.sets] for one in columns))
    table = [f"| method | {' | '.join(titles)} |", "|---" * (len(columns) + 1) + "|", *rows]
    return "\n".join([*table, "", *textwrap.wrap(legend, WRAP)])


def _readme_row(name: str, columns: Sequence[Column], results: Results) -> str:
    cells = [one.cell(figures(results.of(name, *one.sets))) for one in columns]
    if name == LEAKWATCH:
        name, cells = f"**{name}**", [f"**{cell}**" for cell in cells]
    return f"| {' | '.join([name, *cells])} |"


def write_readme(results: Results) -> None:
    """Put the table between its marks."""
    marks = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)
    README.write_text(marks.sub(lambda _: readme_table(results) + "\n", README.read_text()))
