"""Least squares by Gram and Schmidt, held against LAPACK."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agent
from agent.detect.least_squares import beside, orthogonal, orthonormal, share_of

SEEDS = st.integers(0, 2**32 - 1)
FAR = 1e9
"""Bytes around which a series moves."""


@given(SEEDS, st.integers(4, 200))
def test_what_is_left_beside_a_parabola_is_what_least_squares_leave(seed: int, samples: int) -> None:
    draw, at = np.random.default_rng(seed), np.linspace(-1, 1, samples)
    values = FAR + draw.normal(0, 1e6, samples) + 5e6 * at
    terms = [np.ones_like(at), at, at**2]

    left = beside(values, orthogonal(terms))

    columns = np.stack(terms, axis=1)
    fit, *_ = np.linalg.lstsq(columns, values, rcond=None)
    assert left == pytest.approx(values - columns @ fit, abs=1.0)


@given(SEEDS)
def test_the_last_terms_share_is_its_coefficient(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values, terms = draw.normal(0, 1, (5, 40)), list(draw.normal(0, 1, (3, 5, 40)))

    found = share_of(values, orthogonal(terms)[-1])

    for k, share in enumerate(found):
        fit, *_ = np.linalg.lstsq(np.stack([one[k] for one in terms], axis=1), values[k], rcond=None)
        assert share == pytest.approx(fit[-1])


def test_a_term_that_says_nothing_new_has_no_share() -> None:
    ones = np.ones(10)

    assert share_of(np.arange(10.0), orthogonal([ones, 3 * ones])[1]) == 0.0


@pytest.mark.parametrize("parts", [8, 16])
def test_orthonormal_polynomials_are(parts: int) -> None:
    found = orthonormal(parts, 6)

    assert found.T @ found == pytest.approx(np.eye(6), abs=1e-12)
    assert np.linalg.matrix_rank(np.concatenate([found, np.vander(np.arange(parts), 6)], axis=1)) == 6


def test_lapack_and_blas_are_never_called() -> None:
    """Their code would stay in the memory of a daemon that runs for months."""
    called = [
        f"{path.name}:{node.lineno}"
        for path in Path(agent.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Attribute) and node.attr in {"linalg", "dot", "matmul", "tensordot"})
    ]

    assert called == []
