"""Proof by collection: what a full collection takes back is no leak, what is left is still referred to."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.consent import Consent
from agent.evidence.kernel.procfs import parse_status
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE
from agent.model import Kind, Subject
from agent.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.evidence.kernel.procfs import HeldProcess
    from agent.evidence.taking import Taking
    from agent.model import Process

NAME = "collection"
FILE = "collection.json"
MOSTLY_TAKEN_BACK = 0.8
"""From this share of what grew on, the collector was only late."""
LEAST_GROWTH_BYTES = 1_000_000
"""Less says nothing: the interpreter itself breathes that much."""

_OUTSIDE = (Kind.NATIVE, Kind.THREADS)
"""What no collection takes back."""
_BUSY = ("node", "go")
"""Runtimes that always hold about as much garbage as they like; a JVM tells of its own, once it has any."""

_EVERYTHING = Consent(heavy=True, collect=True, inspector=True, inject=True, trace=True)


class Collected(NamedTuple):
    """The heap in use just before and just after a full collection."""

    before_bytes: int
    after_bytes: int

    @property
    def taken_bytes(self) -> int:
        """What the collection took back; other threads may allocate meanwhile, which counts as nothing."""
        return max(0, self.before_bytes - self.after_bytes)


class Collector(Protocol):
    """Asks one kind of runtime for a full collection; a new one is added in collectors.py."""

    @property
    def name(self) -> str:
        """How the collection is asked for, e.g. "jcmd GC.run"."""

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether it can ask this process, and its way is allowed; whether to collect is not its question."""

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why it would not work, found out without touching the process; empty where it would.

        Raises ProcessGoneError.
        """

    def collect(self, held: HeldProcess, timeout_s: float) -> Collected:
        """Collect everything that can be collected, within the time.

        Raises SourceError, OSError, ProcessGoneError.
        """


class ProofByCollection:
    """A full collection at the verdict, where the entry allows it: what grew and stays is a leak."""

    name = NAME
    cost = Cost(Tier.MEDIUM, pause_s_per_gb=2.0)
    """Of the collectors the JVM's holds longest: some 2 s for each GB of small objects that live."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def suits(self, process: Process, consent: Consent) -> bool:
        """Whether a collection is allowed and somebody can ask for it."""
        return consent.collect and any(one.suits(process, consent) for one in self._collectors)

    def why_not(self, process: Process, held: HeldProcess) -> str:
        """Return why nobody could ask for it."""
        suited = [one for one in self._collectors if one.suits(process, _EVERYTHING)]
        return _why_none(suited, process, held) if suited else ""

    def take(self, taking: Taking) -> None:
        """Collect with the first collector that can, and tell what was taken back of what had grown."""
        collector = choose(self._collectors, taking.process, taking.held, taking.consent)
        grown = _grown(taking)
        found = collector.collect(taking.held, taking.options.timeout_s)
        told = verdict(found, grown)
        taking.write(FILE, {"by": collector.name, "verdict": told, **found._asdict()})
        taking.tell(CODE, told)
        if disproves(found, grown):
            taking.disproof = told


class Grown(NamedTuple):
    """By how much memory has grown, and over how long."""

    size_bytes: int
    age_s: float
    heap_bytes: float | None = None
    """What the runtime's own heap held before, without garbage; None where that is not known."""
    unfit: str = ""
    """Why no collection can disprove it, whatever was taken back; empty where one can."""


def choose(
    collectors: Sequence[Collector], process: Process, held: HeldProcess, consent: Consent
) -> Collector:
    """Return the first collector that would work. Raises SourceError with the reason where none would."""
    suited = [one for one in collectors if one.suits(process, consent)]
    for one in suited:
        if not one.why_not(process, held):
            return one
    raise SourceError(f"{NAME}: {_why_none(suited, process, held)}")


def verdict(found: Collected, grown: Grown | None = None) -> str:
    """Return the sentence on what a collection proves.

    >>> verdict(Collected(340_000_000, 328_000_000))
    'a full collection took back 12MB of 340MB: what is left is still referred to'
    """
    taken, before = format_bytes(found.taken_bytes), format_bytes(found.before_bytes)
    begin = f"a full collection took back {taken} of {before}"
    share = share_taken_back(found, grown)
    if grown is None or share is None:
        return f"{begin}: what is left is still referred to"
    if share >= MOSTLY_TAKEN_BACK and grown.unfit:
        return f"{begin}, but {grown.unfit}"
    of_growth = f"{share:.0%} of the {format_bytes(grown.size_bytes)} grown in {format_duration(grown.age_s)}"
    if disproves(found, grown):
        return f"a full collection took back {of_growth}: a lazy collector, not a leak"
    if share >= MOSTLY_TAKEN_BACK:
        more = format_bytes(found.after_bytes - (grown.heap_bytes or 0.0))
        return f"{begin}: it leaves {more} more than there was before it grew, still referred to"
    return f"{begin}, {of_growth}: what is left is still referred to"


def disproves(found: Collected, grown: Grown | None) -> bool:
    """Whether a collection has taken back most of what had grown: that was no leak.

    Every busy heap has garbage, and often more of it than it has leaked: what is left must be about what was
    there before, too, where that is known.
    """
    share = share_taken_back(found, grown)
    if grown is None or share is None or grown.unfit or share < MOSTLY_TAKEN_BACK:
        return False
    may_be_left_bytes = (1 - MOSTLY_TAKEN_BACK) * grown.size_bytes
    return grown.heap_bytes is None or found.after_bytes - grown.heap_bytes <= may_be_left_bytes


def share_taken_back(found: Collected, grown: Grown | None) -> float | None:
    """Return what was taken back of what had grown, 0 to 1; None where nobody knows of any growth."""
    if grown is None or grown.size_bytes < LEAST_GROWTH_BYTES:
        return None
    return min(1.0, found.taken_bytes / grown.size_bytes)


def _why_none(suited: Sequence[Collector], process: Process, held: HeldProcess) -> str:
    """Return why none of them would work, by the reason of the last; empty where one would."""
    why = "nobody can ask this runtime for a collection"
    for one in suited:
        why = one.why_not(process, held)
        if not why:
            return ""
    return why


def _grown(taking: Taking) -> Grown | None:
    """Return what has grown since the first look, or by the alert where that tells of more."""
    looks = [one for one in (_since_first_look(taking), _as_told(taking)) if one is not None]
    if not looks:
        return None
    heap_bytes = _heap_before(taking)
    most = max(looks, key=lambda one: one.size_bytes)
    return most._replace(heap_bytes=heap_bytes, unfit=_unfit(taking, known=heap_bytes is not None))


def _since_first_look(taking: Taking) -> Grown | None:
    before = taking.before("status.json")
    if before is None:
        return None
    try:
        earlier = _anonymous_bytes(json.loads(before.content)["status"])
    except (ValueError, KeyError, TypeError):
        return None  # cut off by a full disk, or written by another version
    return Grown(_anonymous_bytes(parse_status(taking.held.read("status"))) - earlier, before.age_s)


def _as_told(taking: Taking) -> Grown | None:
    """Return what the alert tells of; the first look may be its warning, when most had grown already."""
    alert = taking.alert
    if alert is None or alert.subject is not Subject.HEAP:
        return None
    return Grown(round(alert.growth), alert.duration_s)


def _heap_before(taking: Taking) -> float | None:
    """Return what an earlier collection of this incident has left, else what the daemon saw before it grew.

    Of Python its memory as a whole is collected: the first look tells what that was.
    """
    earlier = taking.find_before(FILE)
    if earlier is not None:
        with suppress(ValueError, KeyError, TypeError):
            return float(json.loads(earlier.content)["after_bytes"])
    if taking.alert is None or taking.process.runtime == "python":
        return None
    return taking.alert.heap_before


def _unfit(taking: Taking, *, known: bool) -> str:
    """Return why no collection can disprove the growth; `known` is whether the heap before it is."""
    if taking.alert is not None and taking.alert.kind in _OUTSIDE:
        return "what grew lies outside of the runtime's heap"
    if not known and taking.process.runtime in _BUSY:
        return "how much of that is the garbage of every day is not known"
    return ""


def _anonymous_bytes(status: dict[str, str | int]) -> int:
    return int(status["RssAnon_bytes"]) + int(status.get("VmSwap_bytes", 0))
