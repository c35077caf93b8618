"""What grows: the series of one process, compared over the same time, tell whose memory it is.

Each series is reduced to what its floors gained since the onset, looked at with ends of several lengths; a
share of one growth in another counts only where every such look agrees. The sources of the rules:
a runtime's resident heap is up to three times the live objects in it (collectors need room to copy, so
`RUNTIME_SHARE`), what it does not carry is native; glibc gives each thread a stack and an arena of its own,
of which it touches tens to hundreds of kilobytes (malloc(3), pthread_create(3)).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agent.detect.reasons import joined
from agent.model import Kind, Reason, State, Subject
from agent.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from numpy.typing import NDArray

    from agent.history.rings import Rings
    from agent.model import Verdict

    Floats = NDArray[np.float64]

MEMORY, RUNTIME, RUNTIME_PEAK = "memory", "runtime", "runtime-peak"
FILES, SHARED_MEMORY, THREADS = "files", "shared-memory", "threads"
"""The names of the growths that are compared; further ones are told as they are."""
RUNTIME_SHARE = 0.35
"""Of the growth of anonymous memory, from which on the runtime's heap carries it."""
NATIVE_SHARE = 0.25
"""... and below which it does not."""
PEAKS_SHARE = 0.5
"""Of the growth, which the heap's peaks must carry for memory that the allocator keeps."""
FALLEN_SHARE = 0.25
"""... or so much of it the heap has given back meanwhile."""
ALONE_SHARE = 0.1
"""Of the growth of the runtime's heap: anonymous memory that grew less was there before."""
MAX_THREAD_BYTES = 1_048_576
"""More than this no thread touches of its stack and arena unless it is told to."""
MIN_THREADS = 4
ENDS = (1 / 8, 1 / 6, 1 / 4)
"""The lengths of the two ends that are compared, as shares of the time."""
FLOOR_QUANTILE = 0.1
"""A block finer than a collector's period is no floor: of an end the lowest tenth is."""
MIN_BLOCKS = 8
LONGER = 1.1
"""After growth that is so many times as long what grows is looked for again."""


class Growth(NamedTuple):
    """What one series gained over the time that is looked at; all NaN where too little was seen."""

    amount: float
    low: float
    """The least that any look at it says."""
    high: float


class Grows(NamedTuple):
    """What grows, and the sentence that says by what it shows."""

    kind: Kind
    text: str


def kind_of(subject: Subject, growths: Mapping[str, Growth]) -> Grows | None:
    """Return what a subject's growth is made of; None where nothing tells it.

    Series that are missing or not known (NaN) are taken for not there.
    """
    known = {name: one for name, one in growths.items() if all(map(math.isfinite, one))}
    rule = _RULES.get(subject)
    return rule(known) if rule else None


class Naming:
    """Says of verdicts what grows; asks the rings again once the growth has lasted notably longer."""

    def __init__(self) -> None:
        self._told: dict[tuple[Hashable, Subject], _Told] = {}

    def named(
        self,
        owner: Hashable,
        verdict: Verdict,
        rings: Rings,
        slots: Mapping[str, int],
        others: Mapping[str, float] | None = None,
    ) -> Verdict:
        """Return the verdict with what grows, and the sentence on it before the other reasons.

        One that is sound comes back as it is. `owner` is whose verdict it is; `slots` are those of the same
        process by the names above, as far as it has such series; `others` are amounts that were read at once.
        """
        place = (owner, verdict.subject)
        if verdict.state < State.SUSPECT or verdict.onset_t_s is None:
            self._told.pop(place, None)
            return verdict
        lasted_s = verdict.t_s - verdict.onset_t_s
        told = self._told.get(place)
        if told is None or told.state != verdict.state or not told.holds(lasted_s):
            grown = growths(rings, slots, verdict.onset_t_s, verdict.t_s)
            grown |= {what: Growth(more, more, more) for what, more in (others or {}).items()}
            told = self._told[place] = _Told(verdict.state, lasted_s, kind_of(verdict.subject, grown))
        if told.grows is None:
            return verdict
        reason = Reason("kind", passed=True, text=told.grows.text)
        return replace(verdict, kind=told.grows.kind, reasons=joined((reason,), verdict.reasons))

    def forget(self, owner: Hashable) -> None:
        """Drop what was said about a process that has ended."""
        self._told = {place: told for place, told in self._told.items() if place[0] != owner}


class _Told(NamedTuple):
    """What was found, and when it was looked for."""

    state: State
    lasted_s: float
    grows: Grows | None

    def holds(self, lasted_s: float) -> bool:
        """Whether the growth is about as long as it was then."""
        return self.lasted_s <= lasted_s < LONGER * self.lasted_s


def growths(rings: Rings, slots: Mapping[str, int], since_t_s: float, until_t_s: float) -> dict[str, Growth]:
    """Return what each series gained since a moment, from the finest blocks that reach back to it.

    The slot named `RUNTIME` is looked at twice: its floors, and its peaks as `RUNTIME_PEAK`.
    """
    span_s = max(0.0, until_t_s - since_t_s)
    level = math.ceil(math.log2(max(1.0, span_s / (rings.base_s * (rings.blocks - 1)))))
    window = rings.window(min(level, rings.levels - 1), np.array(list(slots.values()), dtype=np.intp))
    count = min(window.floors.shape[1], max(MIN_BLOCKS, round(span_s / window.block_s)))
    gained = {
        name: gain(row, FLOOR_QUANTILE) for name, row in zip(slots, window.floors[:, -count:], strict=True)
    }
    if RUNTIME in slots:
        peaks = window.peaks[list(slots).index(RUNTIME), -count:]
        gained[RUNTIME_PEAK] = gain(peaks, 1 - FLOOR_QUANTILE)
    return gained


def gain(values: Floats, quantile: float) -> Growth:
    """Return what a row gained from end to end, NaN for blocks that were not seen."""
    looks = sorted(_gain(values, quantile, max(2, round(len(values) * share))) for share in ENDS)
    if len(values) < MIN_BLOCKS or any(map(math.isnan, looks)):
        return Growth(math.nan, math.nan, math.nan)
    return Growth(looks[len(looks) // 2], looks[0], looks[-1])


def _gain(values: Floats, quantile: float, count: int) -> float:
    between = _quantile(values[-count:], quantile) - _quantile(values[:count], quantile)
    return between * len(values) / max(1, len(values) - count)


def _quantile(values: Floats, quantile: float) -> float:
    """Return the value that stands at this place among those that were seen; NaN for none."""
    seen = np.sort(values)  # NaN comes last
    count = len(seen) - int(np.isnan(seen).sum())
    return float(seen[round(quantile * (count - 1))]) if count else math.nan


def _of_heap(known: Mapping[str, Growth]) -> Grows | None:
    memory, runtime = known.get(MEMORY), known.get(RUNTIME)
    least = ALONE_SHARE * max(0.0, runtime.amount) if runtime else 0.0
    if memory is None or memory.amount <= least:
        return None if runtime is None or runtime.amount <= 0 else _alone(runtime, held=memory is not None)
    threads = known.get(THREADS)
    if threads is not None and _stacks(memory, threads):
        each = format_bytes(memory.amount / threads.amount)
        return Grows(Kind.THREADS, f"{threads.amount:.0f} more threads carry it, {each} each")
    if runtime is None:
        return Grows(Kind.HEAP, f"anonymous memory grew {format_bytes(memory.amount)}")
    return _beside(memory, runtime, known.get(RUNTIME_PEAK))


def _alone(runtime: Growth, *, held: bool) -> Grows:
    within = " within the memory that it held already" if held else ""
    return Grows(Kind.RUNTIME_HEAP, f"the runtime's heap grew {format_bytes(runtime.amount)}{within}")


def _stacks(memory: Growth, threads: Growth) -> bool:
    return threads.low >= MIN_THREADS and memory.high <= MAX_THREAD_BYTES * threads.low


def _beside(memory: Growth, runtime: Growth, peak: Growth | None) -> Grows:
    """Return whose the growth of anonymous memory is, beside the heap of a runtime."""
    share = runtime.amount / memory.amount
    text = f"the runtime's heap carries {100 * min(1.0, max(0.0, share)):.0f} % of it"
    if runtime.amount < -FALLEN_SHARE * memory.amount:
        fell = format_bytes(-runtime.amount)
        return Grows(Kind.ALLOCATOR, f"the runtime's heap fell by {fell} meanwhile: the allocator keeps it")
    if runtime.low >= RUNTIME_SHARE * memory.low and share >= RUNTIME_SHARE:
        return Grows(Kind.RUNTIME_HEAP, text)
    if max(runtime.amount, runtime.high) > NATIVE_SHARE * memory.amount:
        return Grows(Kind.HEAP, f"{text}: undecided")
    if peak is not None and peak.low >= PEAKS_SHARE * memory.amount:
        peaks = f"its peaks {100 * min(1.0, peak.amount / memory.amount):.0f} %: the allocator keeps them"
        return Grows(Kind.ALLOCATOR, f"{text}, {peaks}")
    return Grows(Kind.NATIVE, f"{text}: native memory")


def _of_shared(known: Mapping[str, Growth]) -> Grows | None:
    """Return which kind of shared pages carries most of the growth; None where they are not told apart."""
    files, shared = known.get(FILES), known.get(SHARED_MEMORY)
    both = max(0.0, files.amount if files else 0.0) + max(0.0, shared.amount if shared else 0.0)
    if both <= 0:
        return None
    if files is not None and files.amount >= both / 2:
        return Grows(Kind.FILES, f"file-backed pages carry {100 * files.amount / both:.0f} % of it")
    assert shared is not None  # noqa: S101 - one of the two carries half
    return Grows(Kind.SHARED_MEMORY, f"shared memory carries {100 * shared.amount / both:.0f} % of it")


def _of_threads(known: Mapping[str, Growth]) -> Grows:
    memory, threads = known.get(MEMORY), known.get(THREADS)
    if memory is None or threads is None or memory.amount <= 0 or threads.low < 1:
        return Grows(Kind.THREADS, "threads are started and do not end")
    each = format_bytes(memory.amount / threads.amount)
    return Grows(Kind.THREADS, f"anonymous memory grew {each} with each thread")


_RULES: dict[Subject, Callable[[Mapping[str, Growth]], Grows | None]] = {
    Subject.HEAP: _of_heap,
    Subject.SHARED: _of_shared,
    Subject.THREADS: _of_threads,
    Subject.FDS: lambda _: Grows(Kind.DESCRIPTORS, "descriptors are opened and not closed"),
    Subject.CHILDREN: lambda _: Grows(Kind.CHILDREN, "child processes are started and not waited for"),
}
