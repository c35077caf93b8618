"""What the measurements of cost come to, and how that is shown: as text and in docs/cost.md; pure."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cost.md"
BEGIN, END = "<!-- cost: begin -->", "<!-- cost: end -->"
LEAKWATCH = "leakwatch"
OWN_SAMPLER, BY_PSUTIL = "leakwatch's Sampler alone", "psutil is_running, memory_info"
US, MB, MINUTE_S = 1e6, 1e6, 60.0
OWN_COLUMNS = (
    "processes", "interval", "% of a core", "us", "RSS MB", "start s", "latest tick ms", "missed",
    "written B/process/min",
)  # fmt: skip


class Ticks(TypedDict):
    """How punctual a window's ticks were."""

    latest_s: float
    missed: int


@dataclass(frozen=True, slots=True)
class Pace:
    """What only leakwatch tells."""

    start_s: float
    """From its start to its first complete tick."""
    latest_s: float
    """By how much the latest tick was completed after the most punctual one's beat."""
    missed: int
    """Beats without a tick."""
    written_bytes: int
    """To devices, in the window."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One tool in one round on so many processes."""

    tool: str
    processes: int
    interval_s: float
    """At which it was asked to poll."""
    seconds: float
    cpu_s: float
    rss_bytes: int
    """0 where it lives too briefly to be seen."""
    pace: Pace | None = None

    @property
    def us(self) -> float:
        """CPU microseconds a process and poll; a tool that polls less often than asked gains by it."""
        return US * self.cpu_s * self.interval_s / self.seconds / self.processes

    @property
    def core(self) -> float:
        """The share of one core."""
        return self.cpu_s / self.seconds

    @property
    def written_per_minute(self) -> float | None:
        """Bytes written to devices a process and minute; None of less than a minute."""
        if self.pace is None or self.seconds < MINUTE_S:
            return None
        return self.pace.written_bytes / self.processes * MINUTE_S / self.seconds


@dataclass(frozen=True, slots=True)
class Summary:
    """The medians of the rounds of one tool on so many processes."""

    rounds: int
    us: float
    core: float
    rss_bytes: float


@dataclass(frozen=True, slots=True)
class Fit:
    """CPU microseconds a poll as a line over the number of processes."""

    fixed_us: float
    """Of a poll of nobody."""
    each_us: float
    """Of every further process."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured."""

    measured: Sequence[Measured]
    skipped: Sequence[str] = ()
    """Names of tools that are not installed or failed, with the reason."""
    help_s: float | None = None
    """What `leakwatch --help` takes beyond an interpreter that does nothing."""
    machine: str = ""

    @property
    def sizes(self) -> list[int]:
        """Numbers of processes, ascending."""
        return sorted({one.processes for one in self.measured})

    @property
    def tools(self) -> list[str]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(one.tool for one in self.measured))

    def summary(self, tool: str, processes: int) -> Summary | None:
        """Return the medians; None where it was not measured on so many."""
        found = [one for one in self.measured if (one.tool, one.processes) == (tool, processes)]
        if not found:
            return None
        return Summary(
            len(found),
            *(statistics.median(getattr(one, name) for one in found) for name in ("us", "core", "rss_bytes")),
        )


def pace_of(ticks_s: Sequence[float], interval_s: float) -> Ticks:
    """Return how punctual the ticks were that were completed at these moments.

    A beat that nothing fell on is missed. A tick is late by as much as it lies behind the beat of the one
    that lies least behind: this counts the beginning of a tick and what it took longer than another.
    """
    if not ticks_s:
        return Ticks(latest_s=0.0, missed=0)
    at_s = np.array(ticks_s) - ticks_s[0]
    beats = np.round(at_s / interval_s)
    behind_s = at_s - beats * interval_s
    missed = int(beats[-1]) + 1 - len(np.unique(beats))
    return Ticks(latest_s=float(np.max(behind_s) - np.min(behind_s)), missed=missed)


def fit_of(costs_us: dict[int, float]) -> Fit | None:
    """Return the line through CPU microseconds a poll by the number of processes; None for a single one.

    Each number weighs the same in proportion to its cost, or the largest alone would set the line.
    """
    if len(costs_us) < 2:
        return None
    counts, costs = np.array(list(costs_us)), np.array(list(costs_us.values()))
    each_us, fixed_us = np.polyfit(counts, costs, 1, w=1.0 / np.maximum(costs, 1.0))
    return Fit(float(fixed_us), float(each_us))


def fit_of_tool(results: Results, tool: str) -> Fit | None:
    """Return the line of one tool through the medians of all sizes."""
    summaries = {size: results.summary(tool, size) for size in results.sizes}
    return fit_of({size: one.us * size for size, one in summaries.items() if one})


def comparison(results: Results) -> list[tuple[str, ...]]:
    """Return the table of all tools, headings first, cheapest first on the largest number of processes."""
    head = ["who"]
    for size in results.sizes:
        head += [f"{size:,}: us", "times", "RSS MB"]
    rows = [(*head, "a poll", "+ a process")]
    for tool in sorted(results.tools, key=lambda one: _cost(results, one)):
        cells = [cell for size in results.sizes for cell in _cells(results, tool, size)]
        fit = fit_of_tool(results, tool)
        line = (f"{fit.fixed_us:.0f} us", f"{fit.each_us:.1f} us") if fit else ("-", "-")
        rows.append((tool, *cells, *line))
    return rows


def _cost(results: Results, tool: str) -> tuple[int, float]:
    of_tool = [(-size, one.us) for size in results.sizes if (one := results.summary(tool, size))]
    return min(of_tool)


def _cells(results: Results, tool: str, size: int) -> tuple[str, str, str]:
    one, own = results.summary(tool, size), results.summary(LEAKWATCH, size)
    if one is None:
        return "-", "-", "-"
    times = f"{one.us / own.us:.2f}" if own and own.us > 0 else "-"
    return f"{one.us:.1f}", times, f"{one.rss_bytes / MB:.0f}" if one.rss_bytes else "-"


def own_figures(results: Results) -> list[tuple[str, ...]]:
    """Return the table of leakwatch alone: of CPU and RSS the medians, else the worst of the rounds."""
    by_size = defaultdict(list)
    for one in results.measured:
        if one.pace is not None:
            by_size[one.processes].append(one)
    rows: list[tuple[str, ...]] = [OWN_COLUMNS]
    for size, rounds in sorted(by_size.items()):
        summary = results.summary(LEAKWATCH, size)
        paces = [one.pace for one in rounds if one.pace]
        if summary is None:
            continue
        rows.append((
            f"{size:,}", f"{rounds[0].interval_s:g}s", f"{100 * summary.core:.2f}", f"{summary.us:.1f}",
            f"{summary.rss_bytes / MB:.0f}", f"{max(pace.start_s for pace in paces):.2f}",
            f"{1000 * max(pace.latest_s for pace in paces):.0f}", str(sum(pace.missed for pace in paces)),
            _written(rounds),
        ))  # fmt: skip
    return rows


def _written(rounds: Iterable[Measured]) -> str:
    known = [one.written_per_minute for one in rounds if one.written_per_minute is not None]
    return f"{max(known):.0f}" if known else "-"


def notes(results: Results) -> list[str]:
    """Return the sentences below the tables."""
    told = []
    for size in results.sizes:
        own, other = results.summary(OWN_SAMPLER, size), results.summary(BY_PSUTIL, size)
        if own and other and own.us > 0:
            told.append(
                f"Sampling {size:,} processes by psutil takes {other.us / own.us:.1f} times as long as by "
                f"leakwatch's own reads ({other.us:.1f} us and {own.us:.1f} us a process), which tell more."
            )
    if results.help_s is not None:
        told.append(f"`leakwatch --help` takes {1000 * results.help_s:.0f} ms beyond a bare interpreter.")
    told += [f"Not measured: {one}." for one in results.skipped]
    rounds = sorted(
        {one.rounds for t in results.tools for s in results.sizes if (one := results.summary(t, s))}
    )
    seconds = min((one.seconds for one in results.measured), default=0.0)
    told.append(f"Medians of {_span(rounds)} rounds of {seconds:.0f} s each. {results.machine}".rstrip())
    return told


def _span(numbers: Sequence[int]) -> str:
    return "no" if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def text(results: Results) -> str:
    """Return everything for a terminal."""
    tables = [aligned(rows) for rows in (comparison(results), own_figures(results)) if len(rows) > 1]
    return "\n\n".join([*tables, "\n".join(notes(results))])


def markdown(results: Results) -> str:
    """Return everything for docs/cost.md."""
    tables = [_piped(rows) for rows in (comparison(results), own_figures(results)) if len(rows) > 1]
    return "\n\n".join([*tables, "\n".join(f"- {one}" for one in notes(results))])


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table for a terminal: words to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _piped(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = rows
    ruler = "|---" + "|---:" * (len(head) - 1) + "|"
    return "\n".join([f"| {' | '.join(head)} |", ruler, *(f"| {' | '.join(row)} |" for row in body)])


def write(document: str, results: Results) -> str:
    """Return the document with the tables between its marks. Raises ValueError where it has none."""
    marks = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)
    if marks.search(document) is None:
        raise ValueError(f"expected {BEGIN} and {END}")
    return marks.sub(lambda _: markdown(results) + "\n", document)
