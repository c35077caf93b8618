"""What the rings tell of some series: the blocks of one level, or of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Window:
    """The complete blocks of one level, oldest first; NaN where nothing was seen."""

    level: int
    block_s: float
    end_t_s: float
    """When the newest block ended."""
    floors: Floats
    """Shape (series, blocks)."""
    peaks: Floats
    """Shape (series, blocks)."""


@dataclass(frozen=True, slots=True)
class Past:
    """The complete blocks of some series at several levels, oldest first."""

    starts_s: Floats
    """Shape (levels, blocks), as `ends_s`."""
    ends_s: Floats
    floors: Floats
    """Shape (series, levels, blocks), as `peaks`; NaN where nothing was seen."""
    peaks: Floats

    @property
    def block_s(self) -> Floats:
        """How long the blocks of each level are."""
        return self.ends_s[:, 0] - self.starts_s[:, 0]
