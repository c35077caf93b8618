"""Reads the memory figures of a Go program from its expvar page (/debug/vars); pure.

https://pkg.go.dev/expvar publishes runtime.MemStats as "memstats": https://pkg.go.dev/runtime#MemStats
"""

from __future__ import annotations

import json

from agent.units import format_bytes
from agent.watch.probes.base import ProbeError, RuntimeFigures

MAX_BYTES = 1_000_000
"""A program's own variables make it longer; memstats alone has some 10 kB."""
_NO_EXPVAR = "its page is JSON, but not that of Go's expvar"


def figures(page: bytes) -> RuntimeFigures:
    """Return what the page says. Raises ProbeError for anything but an expvar page."""
    if len(page) > MAX_BYTES:
        raise ProbeError(f"its expvar page is longer than {format_bytes(MAX_BYTES)}")
    try:
        parsed = json.loads(page)
        heap = parsed["memstats"]["HeapAlloc"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ProbeError(_NO_EXPVAR) from None
    if not isinstance(heap, int) or isinstance(heap, bool) or not 0 <= heap < 1 << 60:
        raise ProbeError("its memstats make no sense")
    return RuntimeFigures(heap_bytes=heap, collections=None, limit_bytes=None, garbage=True)
