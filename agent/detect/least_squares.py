"""Least squares by Gram and Schmidt: what of a series is a level, a line, a bend, and so on.

Not by LAPACK or BLAS: their first call takes a megabyte of code, which many a host would never need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST = 1e-9
"""A term with less of its own (squared) cannot be told from those before it."""


def orthonormal(parts: int, degrees: int) -> Floats:
    """Return the discrete orthonormal polynomials of degree 0, 1, 2 ... over so many parts, one a column."""
    at = np.linspace(-1.0, 1.0, parts)
    own = orthogonal([at**degree for degree in range(degrees)])
    own = orthogonal(own)  # once more takes out what rounding left
    return np.stack([one / np.sqrt((one**2).sum()) for one in own], axis=1)


def orthogonal(terms: Sequence[Floats]) -> list[Floats]:
    """Return what each term has of its own, beside those before it; sums run over the last axis."""
    own: list[Floats] = []
    for term in terms:
        own.append(beside(term, own))
    return own


def beside(values: Floats, own: Sequence[Floats]) -> Floats:
    """Return what values have beside some terms, each of which has only its own."""
    left = values
    for term in own:
        left = left - share_of(left, term)[..., None] * term
    return left


def share_of(values: Floats, term: Floats) -> Floats:
    """Return how many times a term is in values, by least squares; shape without the last axis."""
    return np.asarray((values * term).sum(axis=-1) / np.maximum((term * term).sum(axis=-1), LEAST))
