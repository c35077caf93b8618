"""Decides whether a source may be taken now, by its cost and by what there is: values in, a sentence out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.source import Tier
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from agent.evidence.source import Cost

CHEAP_PAUSE_S = 0.05
"""A source that holds the process for longer is not cheap, whatever it says of itself."""
LEAST_LEFT_BYTES = 64_000_000
"""What must be left of the memory after a source has taken what it needs."""
MOST_SOME_PERCENT = {Tier.MEDIUM: 25.0, Tier.HEAVY: 5.0}
"""Above this share of the last ten seconds in which somebody waited for memory; thrashing lies above 20."""
MOST_FULL_PERCENT = {Tier.MEDIUM: 10.0, Tier.HEAVY: 1.0}
"""The same for nobody being able to run for want of memory."""
MOST_LOAD_PER_CPU = {Tier.MEDIUM: 16.0, Tier.HEAVY: 8.0}
"""A pause lasts the longer the more wait for the same CPUs."""
MOST_THREADS = 5000
"""Stopping all threads of a process takes some microseconds for each, and a runtime waits for the last."""

_GB = 1e9


class Room(NamedTuple):
    """How much memory is left before something happens."""

    left_bytes: int
    of: str
    """What it is left of, e.g. "memory.max of /api.service" or "the host's memory"."""


class Stall(NamedTuple):
    """Memory pressure of the last ten seconds (Documentation/accounting/psi.rst)."""

    some_percent: float
    full_percent: float
    of: str
    """Whose it is, e.g. "the host"."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What there is at the moment: of the process, of its cgroups and of the host."""

    heap_bytes: int
    """Anonymous memory of the process, swapped-out pages included."""
    threads: int
    rooms: tuple[Room, ...]
    stalls: tuple[Stall, ...]
    load_per_cpu: float
    """Tasks that run or wait, mean of a minute, for each CPU."""
    free_disk_bytes: int
    """What may still be written."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the configuration allows."""

    pause_s: float
    heavy_pause_s: float
    disk_budget_bytes: int


def tier_of(cost: Cost, heap_bytes: int) -> Tier:
    """Return the tier of a source for a process of that size: what pauses it for long is not cheap."""
    return max(cost.tier, Tier.CHEAP if pause_s(cost, heap_bytes) <= CHEAP_PAUSE_S else Tier.MEDIUM)


def pause_s(cost: Cost, heap_bytes: int) -> float:
    """Return for about how long a source holds a process."""
    return cost.pause_s_per_gb * heap_bytes / _GB


def free_of_cost(cost: Cost) -> bool:
    """Whether a source costs nothing that is worth a look at what there is."""
    return cost.tier is Tier.CHEAP and not any(
        (cost.memory_bytes, cost.memory_per_heap, cost.pause_s_per_gb, cost.disk_per_heap)
    )


def refusal(cost: Cost, conditions: Conditions, bounds: Bounds) -> str:
    """Return why a source is not taken now, without its name; empty where it may be.

    Which tier is wanted is asked elsewhere.
    """
    return (
        _memory(cost, conditions)
        or _pause(cost, conditions, bounds)
        or _disk(cost, conditions, bounds)
        or _strain(tier_of(cost, conditions.heap_bytes), conditions)
    )


def short(seconds: float) -> str:
    """Return a time that may be a part of a second, e.g. "120ms", "2s", "1m20s"."""
    return f"{1000 * seconds:.0f}ms" if seconds < 1.0 else format_duration(seconds)


def _memory(cost: Cost, conditions: Conditions) -> str:
    needs = round(cost.memory_bytes + cost.memory_per_heap * conditions.heap_bytes)
    room = min(conditions.rooms, default=None)
    if not needs or room is None or needs + LEAST_LEFT_BYTES <= room.left_bytes:
        return ""
    left = format_bytes(max(0, room.left_bytes))
    return f"needs about {format_bytes(needs)} of memory, and {left} are left of {room.of}"


def _pause(cost: Cost, conditions: Conditions, bounds: Bounds) -> str:
    lasts_s = pause_s(cost, conditions.heap_bytes)
    heavy = cost.tier is Tier.HEAVY
    bound_s, key = (bounds.heavy_pause_s, "max_heavy_pause") if heavy else (bounds.pause_s, "max_pause")
    if lasts_s <= bound_s:
        return ""
    pause, most = short(lasts_s), short(bound_s)
    return f"would hold the process for about {pause}, evidence.{key} is {most}"


def _disk(cost: Cost, conditions: Conditions, bounds: Bounds) -> str:
    needs = round(cost.disk_per_heap * conditions.heap_bytes)
    if needs > bounds.disk_budget_bytes:
        budget = format_bytes(bounds.disk_budget_bytes)
        return f"would write about {format_bytes(needs)}, evidence.disk_budget is {budget}"
    if needs > conditions.free_disk_bytes:
        free = format_bytes(max(0, conditions.free_disk_bytes))
        return f"would write about {format_bytes(needs)}, and {free} of the disk may be used"
    return ""


def _strain(tier: Tier, conditions: Conditions) -> str:
    """Return what strains the machine too much for more than a cheap look."""
    if tier is Tier.CHEAP:
        return ""
    for stall in conditions.stalls:
        if stall.some_percent > MOST_SOME_PERCENT[tier] or stall.full_percent > MOST_FULL_PERCENT[tier]:
            return f"memory is short: tasks of {stall.of} waited for it {stall.some_percent:.0f}% of the time"
    if conditions.load_per_cpu > MOST_LOAD_PER_CPU[tier]:
        return f"{conditions.load_per_cpu:.0f} tasks wait for each CPU"
    if conditions.threads > MOST_THREADS:
        return f"{conditions.threads:,} threads would have to be stopped"
    return ""
