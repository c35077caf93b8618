"""Every source of evidence there is, the cheapest first: a new one is added here and nowhere else.

What one runtime needs is loaded when the first process of it is looked at: all together is 7 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.evidence.kernel.sources import Descriptors, Mappings, Standing
from agent.evidence.python import pyspy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.consent import Consent
    from agent.evidence.source import Source
    from agent.model import Process

    FindTool = Callable[[], Path | None]


class _Group(NamedTuple):
    """Sources that are loaded together."""

    wanted: Callable[[Process, Consent], bool]
    """Whether any of them may suit; each says for itself whether it does."""
    load: Callable[[FindTool], tuple[Source, ...]]


class Sources:
    """Hands out what may tell something of a process, in the order in which it is taken.

    `wrap` is put around each source. While `may_be_any` says so, a process of an unknown runtime may be of
    any.
    """

    def __init__(
        self,
        find_py_spy: FindTool = pyspy.find,
        wrap: Callable[[Source], Source] | None = None,
        may_be_any: Callable[[], bool] = bool,
    ) -> None:
        self._find_py_spy = find_py_spy
        self._wrap = wrap
        self._may_be_any = may_be_any
        self._loaded: dict[int, tuple[Source, ...]] = {}

    def __call__(self, process: Process, consent: Consent) -> tuple[Source, ...]:
        """Return the sources to be asked about a process."""
        unsure = process.runtime == "unknown" and self._may_be_any()
        wanted = [k for k, group in enumerate(_GROUPS) if unsure or group.wanted(process, consent)]
        return tuple(source for k in wanted for source in self._group(k))

    def all(self) -> tuple[Source, ...]:
        """Return every source."""
        return tuple(source for k in range(len(_GROUPS)) for source in self._group(k))

    def _group(self, number: int) -> tuple[Source, ...]:
        if number not in self._loaded:
            sources = _GROUPS[number].load(self._find_py_spy)
            self._loaded[number] = tuple(map(self._wrap, sources)) if self._wrap else sources
        return self._loaded[number]


def all_sources(find_py_spy: FindTool = pyspy.find) -> tuple[Source, ...]:
    """Return the sources in the order in which they are taken."""
    return Sources(find_py_spy).all()


def _python(find_py_spy: FindTool) -> tuple[Source, ...]:
    from agent.evidence.python.sources import PythonObjects, PythonStacks  # noqa: PLC0415 - see above

    return PythonStacks(find_py_spy), PythonObjects()


def _go(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.go.sources import GoHeap, Goroutines  # noqa: PLC0415 - see above

    return GoHeap(), Goroutines()


def _native(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.native.sources import HeapContents  # noqa: PLC0415 - see above

    return (HeapContents(),)


def _jvm(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.jvm.sources import ClassHistogram, JvmMemory, ThreadStacks  # noqa: PLC0415 - see above

    return ClassHistogram(), JvmMemory(), ThreadStacks()


def _node(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.node.sources import node_sources  # noqa: PLC0415 - see above

    return tuple(node_sources())


def _trace(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.native.sources import AllocationTrace  # noqa: PLC0415 - see above

    return (AllocationTrace(),)


def _proof(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.collection import ProofByCollection  # noqa: PLC0415 - see above
    from agent.evidence.collectors import all_collectors  # noqa: PLC0415 - see above

    return (ProofByCollection(all_collectors()),)


def _heavy_jvm(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.jvm.dump import HeapDump  # noqa: PLC0415 - see above

    return (HeapDump(),)


def _heavy_node(_: FindTool) -> tuple[Source, ...]:
    from agent.evidence.node.sources import heavy_node_sources  # noqa: PLC0415 - see above

    return tuple(heavy_node_sources())


_GROUPS = (
    _Group(lambda *_: True, lambda _: (Mappings(),)),
    _Group(lambda process, _: process.runtime in ("python", "unknown"), _python),
    _Group(lambda _, consent: consent.pprof is not None, _go),
    _Group(lambda process, _: process.runtime == "native", _native),
    _Group(lambda process, _: process.runtime == "jvm", _jvm),
    _Group(lambda process, _: process.runtime == "node", _node),
    _Group(lambda *_: True, lambda _: (Standing(), Descriptors())),
    _Group(lambda _, consent: consent.trace, _trace),
    _Group(lambda _, consent: consent.collect, _proof),
    _Group(lambda process, consent: consent.heavy and process.runtime == "jvm", _heavy_jvm),
    _Group(lambda process, consent: consent.heavy and process.runtime == "node", _heavy_node),
)
