"""The golden numbers of the regularizers, and their tolerances."""

from __future__ import annotations

import pathlib

import keras
import numpy as np

from tests.support.gradients import value_and_gradient

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "regularizers.npz", allow_pickle=False)

TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 1e-5, "atol": 1e-5}}


def cases(group: str) -> list[str]:
    """Returns the names of the cases in a group."""
    return sorted({key.split(".")[1] for key in GOLDEN.files if key.startswith(f"{group}.")})


def assert_matches(function, x, value, gradient, dtype):
    """Checks value and gradient of a function at x. XLA compiles float32; only JAX compiles float64 too."""
    compiled = dtype == "float32" or keras.backend.backend() == "jax"
    got = value_and_gradient(function, np.asarray(x, dtype), compiled)
    for mine, theirs in zip(got, (value, gradient), strict=True):
        assert mine.dtype == dtype
        # In float32, the tolerance for sums of many terms is relative to the largest entry.
        size = max(1.0, np.abs(theirs).max()) if dtype == "float32" else 1.0
        np.testing.assert_allclose(mine / size, theirs / size, **TOLERANCE[dtype])


def numeric_gradient(function, x, step=1e-6):
    """Computes the gradient of a NumPy function by central differences in float64."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        gradient[index] = (function(above) - function(below)) / (2 * step)
    return gradient


def shares_by_search(norms, k):
    """Returns the shares u that minimize sum(norms**2 / u). Tries each number of shares that are 1."""
    order = np.argsort(-norms)
    for ones in range(k):
        rest = norms[order[ones:]]
        eta = (k - ones) / rest.sum()
        if eta * rest[0] <= 1:
            shares = np.ones_like(norms)
            shares[order[ones:]] = eta * rest
            return shares
    raise AssertionError("there is always one")
