"""Orthonormal polynomials: what of a series of parts is a level, a line, a bend, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def orthonormal(parts: int, degrees: int) -> Floats:
    """Return the discrete orthonormal polynomials of degree 0, 1, 2 ... over so many parts, one a column.

    By Gram and Schmidt: the first call of LAPACK takes a megabyte, which a host at rest never needs.
    """
    found: list[Floats] = []
    at = np.linspace(-1.0, 1.0, parts)
    for degree in range(degrees):
        left = at**degree
        for other in found * 2:  # once more takes out what rounding left
            left = left - (left * other).sum() * other
        found.append(left / np.sqrt((left**2).sum()))
    return np.stack(found, axis=1)
