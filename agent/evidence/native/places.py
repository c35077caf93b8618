"""Tells in which mapped file an address lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from agent.evidence.native.maps import Region


class Places:
    """The mappings with a file behind them, by address."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = [region for region in regions if region.is_file]
        self._starts = np.array([region.span.start for region in self._regions], np.uint64)
        self._ends = np.array([region.span.end for region in self._regions], np.uint64)

    def region(self, address: int) -> Region | None:
        """Return the mapping in which an address lies."""
        index = int(np.searchsorted(self._starts, np.uint64(address & (1 << 64) - 1), "right")) - 1
        if index < 0 or address >= self._regions[index].span.end:
            return None
        return self._regions[index]

    def in_file(self, address: int) -> bool:
        """Whether a file is mapped there."""
        return self.region(address) is not None

    def in_constant_file(self, address: int) -> bool:
        """Whether a file is mapped there that the program cannot write to."""
        found = self.region(address)
        return found is not None and "w" not in found.permissions

    def pointers(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Return the words that point into a file; one beside the other, in their order."""
        if not self._regions:
            return words[:0]
        index = np.searchsorted(self._starts, words, "right").astype(np.int64) - 1
        inside = (index >= 0) & (words < self._ends[np.maximum(index, 0)])
        found: npt.NDArray[np.uint64] = words[inside]
        return found
