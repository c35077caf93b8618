"""How much memory something takes at its highest, as Python allocates it."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def peak_bytes(act: Callable[[], object], *expected: type[Exception]) -> int:
    """Return what `act` took on top of what there was; it may end with an error that is expected."""
    tracemalloc.start()
    try:
        with suppress(*expected):
            act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
