"""Which metrics of which runtime tell its heap and its collections; pure.

Sources: prom-client (nodejs_*), client_java and micrometer (jvm_*), client_golang (go_*), client_python
(python_gc_*), prometheus-net (dotnet_*), and the semantic conventions of OpenTelemetry for the same runtimes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.watch.probes.base import ProbeError, RuntimeFigures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.watch.probes.exposition import Sample

MAX_BYTES = 1 << 60
"""No heap is larger: a figure beyond it is garbage."""
_PAUSES = ("Pauses", "Concurrent")
"""JVM collectors of such names count pauses, several a collection, as hsperfdata's third collector does."""


class Family(NamedTuple):
    """A metric whose samples add up to one figure."""

    name: str
    only: tuple[tuple[str, str], ...] = ()
    """Labels and values, one of which a sample must have; none: every sample counts."""
    garbage: bool = True
    but: tuple[str, ...] = ()
    """A sample with such a word in a label's value does not count."""

    def amount(self, samples: Sequence[Sample]) -> float | None:
        """Return the sum of the samples that count; None where there is none."""
        values = [one.value for one in samples if one.name == self.name and self._counts(one.labels)]
        return sum(values) if values else None

    def _counts(self, labels: dict[str, str]) -> bool:
        if any(word in value for value in labels.values() for word in self.but):
            return False
        return not self.only or any(labels.get(name) == value for name, value in self.only)


class Known(NamedTuple):
    """What one runtime's exporters are known to tell; of each the first one on the page counts."""

    heap: tuple[Family, ...]
    collections: tuple[Family, ...]


_JVM_HEAP = (("area", "heap"), ("jvm_memory_type", "heap"))
_WHOLE = (("generation", "2"), ("generation", "gen2"), ("gc_heap_generation", "gen2"))
RUNTIMES = {
    "node": Known(
        (
            Family("nodejs_heap_size_used_bytes"),
            Family("nodejs_heap_space_size_used_bytes"),
            Family("v8js_memory_heap_used_bytes"),
        ),
        (
            Family("nodejs_gc_duration_seconds_count", (("kind", "major"),)),
            Family("v8js_gc_duration_seconds_count", (("v8js_gc_type", "major"),)),
        ),
    ),
    "jvm": Known(
        (Family("jvm_memory_used_bytes", _JVM_HEAP), Family("jvm_memory_bytes_used", _JVM_HEAP)),
        (
            Family("jvm_gc_pause_seconds_count", but=_PAUSES),
            Family("jvm_gc_collection_seconds_count", but=_PAUSES),
            Family("jvm_gc_duration_seconds_count", but=_PAUSES),
        ),
    ),
    # Go collects dozens of times a minute while all is well, so its collections are no warning.
    "go": Known(
        (
            Family("go_gc_heap_live_bytes", garbage=False),
            Family("go_memstats_heap_alloc_bytes"),
            Family("go_memstats_heap_inuse_bytes"),
        ),
        (),
    ),
    "python": Known((), (Family("python_gc_collections_total", _WHOLE),)),
    "dotnet": Known(
        (
            Family("dotnet_gc_last_collection_heap_size_bytes", garbage=False),
            Family("process_runtime_dotnet_gc_heap_size_bytes"),
            Family("dotnet_total_memory_bytes"),
        ),
        (
            Family("dotnet_gc_collections_total", _WHOLE),
            Family("process_runtime_dotnet_gc_collections_count_total", _WHOLE),
            Family("dotnet_collection_count_total", _WHOLE),
        ),
    ),
}
"""By runtime as discovery names it; a .NET program is a "native" one to it."""
_CANDIDATES = {"native": ("dotnet",), "unknown": tuple(RUNTIMES)}
_WORDS = {"native": ".NET", "unknown": "any runtime", "node": "Node", "jvm": "the JVM", "go": "Go"}
NAMES = frozenset(one.name for known in RUNTIMES.values() for one in (*known.heap, *known.collections))


def figures(samples: Sequence[Sample], runtime: str, heap_metric: str | None) -> RuntimeFigures:
    """Return what a page tells of a process of this runtime. Raises ProbeError where that is nothing.

    Of another runtime nothing is taken: an exporter beside the program often tells its own memory as well.
    """
    for name in _CANDIDATES.get(runtime, (runtime,)):
        known = RUNTIMES[name]
        heap = (Family(heap_metric),) if heap_metric else known.heap
        used, counted = _first(samples, heap), _first(samples, known.collections)
        if used is not None or (counted is not None and not heap):
            return RuntimeFigures(
                heap_bytes=None if used is None else _whole(used[1]),
                collections=None if counted is None else _whole(counted[1]),
                limit_bytes=None,
                garbage=used is not None and used[0].garbage,
            )
    if heap_metric:
        raise ProbeError(f"its page has no metric {heap_metric}")
    raise ProbeError(f"its page has no heap that is known by name for {_WORDS.get(runtime, runtime)}")


def _first(samples: Sequence[Sample], families: Sequence[Family]) -> tuple[Family, float] | None:
    return next(((one, amount) for one in families if (amount := one.amount(samples)) is not None), None)


def _whole(value: float) -> int:
    if not 0 <= value < MAX_BYTES:  # also NaN
        raise ProbeError(f"its page says what cannot be: {value:g}")
    return int(value)
