"""The golden numbers of the regularizers, and how closely to meet them."""

from __future__ import annotations

import pathlib

import keras
import numpy as np

from tests.support.gradients import value_and_gradient

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "regularizers.npz", allow_pickle=False)

TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 1e-5, "atol": 1e-5}}


def cases(group: str) -> list[str]:
    """The names of the cases of a group."""
    return sorted({key.split(".")[1] for key in GOLDEN.files if key.startswith(f"{group}.")})


def assert_matches(function, x, value, gradient, dtype):
    """A function gives a value and a gradient at x: float32 compiled by XLA, float64 without (JAX compiles always)."""
    compiled = dtype == "float32" or keras.backend.backend() == "jax"
    got = value_and_gradient(function, np.asarray(x, dtype), compiled)
    for mine, theirs in zip(got, (value, gradient), strict=True):
        assert mine.dtype == dtype
        # Of sums of many terms, in float32 the size of the largest says how close one can come.
        size = max(1.0, np.abs(theirs).max()) if dtype == "float32" else 1.0
        np.testing.assert_allclose(mine / size, theirs / size, **TOLERANCE[dtype])


def numeric_gradient(function, x, step=1e-6):
    """Central differences in float64 of a NumPy function."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (function(above) - function(below)) / (2 * step)
    return gradient


def shares_by_search(norms, k):
    """The shares that make sum(norms**2 / u) smallest, by trying how many are 1."""
    order = np.argsort(-norms)
    for ones in range(k):
        rest = norms[order[ones:]]
        eta = (k - ones) / rest.sum()
        if eta * rest[0] <= 1:
            shares = np.ones_like(norms)
            shares[order[ones:]] = eta * rest
            return shares
    raise AssertionError("there is always one")
