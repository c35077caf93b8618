"""Finds out from where the agent would know a runtime's own heap, by asking once as it would."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.units import format_bytes
from agent.watch.probes.base import ProbeError
from agent.watch.probes.chosen import all_asked
from agent.watch.probes.jvm import JvmProbe

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.model import Process
    from agent.watch.probes.base import RuntimeFigures
    from agent.watch.targets import Target

_NAMES = {"jvm": "the JVM", "node": "Node", "go": "Go"}
"""Runtimes that have a heap of their own to tell."""


class RuntimeHeap(NamedTuple):
    """From where a runtime's heap is known, or why it is not; empty where there is nothing to say."""

    text: str
    fails: bool = False
    """Whether there should be figures and are none."""


def runtime_of(target: Target, others: AbstractSet[int] = frozenset()) -> RuntimeHeap:
    """Return what is known of the heap of a process's runtime; asking a server may take two seconds.

    `others` are the pids of the further processes of the same service.
    """
    process, failures = target.process, []
    name = _NAMES.get(process.runtime)
    if process.runtime == "jvm":
        why = _hsperfdata(process)
        if not why:
            return RuntimeHeap("heap and collections from hsperfdata")
        failures.append(why)
    asked = next((one for one in all_asked() if one.suits(target)), None)
    if asked is not None:
        try:
            return RuntimeHeap(_told(asked.ask(target, others), asked.where(target)))
        except ProbeError as error:
            failures.append(str(error))
        finally:
            asked.forget(process.key)
    if failures:
        return RuntimeHeap(f"no heap of {name or 'the runtime'}'s own: {'; '.join(failures)}", fails=True)
    return RuntimeHeap(f"no heap of {name}'s own: no entry names its metrics" if name else "")


def _hsperfdata(process: Process) -> str:
    """Return why a JVM cannot be followed by its file; empty where it can."""
    probe = JvmProbe()
    try:
        return "" if probe.open(process) else probe.why(process.key)
    finally:
        probe.close_all()


def _told(figures: RuntimeFigures, where: str) -> str:
    if figures.heap_bytes is None:
        return f"collections from {where}, no heap of its own"
    what = "heap and collections" if figures.collections is not None else "heap"
    garbage = ", garbage included" if figures.garbage else ""
    return f"{what} from {where} ({format_bytes(figures.heap_bytes)}{garbage})"
