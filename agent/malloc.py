"""Keeps the C library's allocator small: one arena for all threads (mallopt(3)), free memory given back.

glibc gives each thread an arena of its own, up to eight for each processor, and keeps what is free in each:
1.5 MB for the few threads of the daemon, which hardly ever allocate at the same time. Other C libraries have
no such arenas, and nothing is asked of them.
"""

from __future__ import annotations

import ctypes

_ARENA_MAX = -8
"""M_ARENA_MAX of malloc.h."""


def one_arena() -> bool:
    """Let all threads that are started from now on share one arena; return whether the allocator does so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_ARENA_MAX, 1))


def give_back() -> None:
    """Return to the kernel whatever pages are free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
