"""Node's evidence: the spaces of its heap, live bytes by the function that allocated them, heap snapshots."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.evidence.node import memory, scripts, sites
from agent.evidence.node.answers import mapping, number
from agent.evidence.node.channel import Inspected
from agent.evidence.node.memlab import Memlab
from agent.evidence.node.snapshot import HeapSnapshot
from agent.evidence.source import Cost, SourceError, Tier
from agent.evidence.taking import CODE, COUNTS
from agent.text import one_line

if TYPE_CHECKING:
    from agent.evidence.node.sites import Site
    from agent.evidence.source import Source
    from agent.evidence.taking import Taking
    from agent.inspector.client import Session

MEMORY_FILE = "node-memory.json"
SITES_FILE = "node-sites.json"
WINDOW_S = 1.5
WINDOW_INTERVAL_BYTES = 32_768
"""Of a sample where there is a moment only; the whole heap stays unsampled."""


class NodeMemory(Inspected):
    """The spaces of the heap and what keeps the loop busy; begins the sampling where that is allowed."""

    name = "node memory"
    cost = Cost(Tier.CHEAP)
    """Measured 0.3 to 9 ms of the main thread with heaps of 150 to 430 MB; 40 ms where it must be opened."""

    def take(self, taking: Taking) -> None:
        """Write what V8 counts by itself, and tell what has grown."""
        with self.speak(taking, taking.options.timeout_s) as session:
            told = session.evaluate(scripts.MEMORY)
            begun = session.evaluate(scripts.START_SAMPLING) if self.by_signal else None
        figures = memory.read(told)
        earlier = taking.before(MEMORY_FILE)
        taking.write(MEMORY_FILE, {**figures, "sampling": memory.sampling(begun)})
        if earlier is not None:
            for line in memory.grown(figures, earlier.content, earlier.age_s):
                taking.tell(COUNTS, line)


class NodeSites(Inspected):
    """Live bytes by the function that allocated them, out of V8's sampling heap profile.

    Where the inspector may be opened the profile runs from the first capture on, and says what is left of
    all that was allocated since; elsewhere it runs for a moment.
    """

    name = "node heap profile"
    cost = Cost(Tier.MEDIUM, pause_s_per_gb=1.2)
    """Reading it makes V8 collect everything first: 137 ms at 150 MB, 417 to 545 ms at 430 MB, Node 20."""

    def take(self, taking: Taking) -> None:
        """Write the sites, and tell those that have grown most."""
        with self.speak(taking, taking.options.timeout_s) as session:
            profile = _since_start(session) if self.by_signal else None
            profile = profile or _window(session)
        now = sites.read(profile.head)
        before, age_s = _before(taking, profile)
        growths = sites.compare(now, before)
        told = {"since_ms": profile.since_ms, "age_s": profile.age_s, "sites": sites.stored(now)}
        taking.write_raw("node-sites.txt", sites.readable(growths).encode("utf-8", "backslashreplace"))
        taking.write(SITES_FILE, told)
        told_lines = sites.recent_lines if profile.is_window else sites.lines
        for line in told_lines(growths, age_s):
            taking.tell(CODE, line)


class _Profile(NamedTuple):
    head: Any
    since_ms: int | None
    """When it was begun, by the clock of the process; None where somebody else has, or for a window."""
    age_s: float
    is_window: bool = False


def node_sources() -> tuple[Source, ...]:
    """Return the sources in the order in which they are taken."""
    return (
        *(NodeMemory(by_signal=by_signal) for by_signal in (False, True)),
        *(NodeSites(by_signal=by_signal) for by_signal in (False, True)),
    )


def heavy_node_sources() -> tuple[Source, ...]:
    """Return those that hold the program for long."""
    return (
        *(HeapSnapshot(by_signal=by_signal) for by_signal in (False, True)),
        *(Memlab(by_signal=by_signal) for by_signal in (False, True)),
    )


def _since_start(session: Session) -> _Profile | None:
    """Return the profile that an earlier capture began; begin it where there is none."""
    told = session.evaluate(scripts.READ_SAMPLING)
    if told is None:
        begun = mapping(session.evaluate(scripts.START_SAMPLING))
        if "why" in begun:
            raise SourceError(f"{NodeSites.name}: V8 does not sample: {one_line(str(begun['why']), 100)}")
        threading.Event().wait(WINDOW_S)
        told = session.evaluate(scripts.READ_SAMPLING)
    told = mapping(told)
    since_ms = None if told["since_ms"] is None else number(told["since_ms"])
    age_s = 0.0 if since_ms is None else (number(told["now_ms"]) - since_ms) / 1000
    return _Profile(told["head"], since_ms, age_s)


def _window(session: Session) -> _Profile:
    """Return what was allocated in a moment and is still alive; the sampling ends with the session."""
    session.call("HeapProfiler.startSampling", samplingInterval=WINDOW_INTERVAL_BYTES)
    threading.Event().wait(WINDOW_S)
    profile = session.call("HeapProfiler.getSamplingProfile")["profile"]
    return _Profile(profile["head"], None, WINDOW_S, is_window=True)


def _before(taking: Taking, profile: _Profile) -> tuple[dict[Site, int], float]:
    """Return what the first capture found in the same profile and how long ago; else its beginning."""
    earlier = taking.before(SITES_FILE)
    if earlier is not None and profile.since_ms is not None:
        try:
            told = json.loads(earlier.content)
            if told["since_ms"] == profile.since_ms:
                return sites.restored(told["sites"]), earlier.age_s
        except (ValueError, KeyError, TypeError):
            pass  # cut off by a full disk, or of another version
    return {}, profile.age_s
