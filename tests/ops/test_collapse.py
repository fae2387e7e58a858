"""Tests of the measures of collapse against golden numbers, NumPy and cases with known values."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.ops import effective_rank
from keras_reg.ops.collapse import feature_deviation, uniformity
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "tabular_jepa.npz", allow_pickle=False)
X = GOLDEN["collapse/X"].reshape(32, -1)


def value(function, x) -> float:
    return np.asarray(keras.ops.convert_to_numpy(function(x)))


def test_collapse_variance_matches_golden_value(floatx):
    """Compares the mean variance over rows, which the authors call the variance within features."""
    got = np.mean(value(feature_deviation, X.astype(floatx)) ** 2)
    np.testing.assert_allclose(got, GOLDEN["collapse/intra_feature_variance"], **tolerance(floatx))


@NOT_ON_JAX
def test_collapse_measures_match_numpy(floatx):
    singular = np.linalg.svd(X - X.mean(0), compute_uv=False)
    shares = singular[singular > 1e-9] / singular.sum()
    np.testing.assert_allclose(
        value(effective_rank, X.astype(floatx)), np.exp(-np.sum(shares * np.log(shares))), **tolerance(floatx)
    )
    directions = X / np.linalg.norm(X, axis=1, keepdims=True)
    pairs = [np.exp(-2 * np.sum((directions[i] - directions[j]) ** 2)) for i in range(32) for j in range(i)]
    np.testing.assert_allclose(value(uniformity, X.astype(floatx)), np.log(np.mean(pairs)), **tolerance(floatx))


@NOT_ON_JAX
def test_uniformity_gradient_matches_finite_differences():
    x = X[:5, :3].astype("float32")
    for compiled in (False, True):
        loss, gradient = value_and_gradient(uniformity, x, compiled)
        for index in np.ndindex(2, 3):
            above, below = x.astype("float64"), x.astype("float64")
            above[index] += 1e-2
            below[index] -= 1e-2
            difference = (
                value(uniformity, above.astype("float32")) - value(uniformity, below.astype("float32"))
            ) / 2e-2
            np.testing.assert_allclose(gradient[index], difference, atol=2e-3)
        assert loss < 0


@NOT_ON_JAX
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_effective_rank_of_equal_rows_is_zero_at_any_scale(scale):
    same = np.tile(scale * X[:1], (20, 1)).astype("float32")
    assert value(effective_rank, same) == 0.0
    np.testing.assert_allclose(value(feature_deviation, same), 0.0, atol=1e-5 * scale)
    np.testing.assert_allclose(value(uniformity, same), 0.0, atol=1e-5)
    line = np.linspace(-1, 1, 20)[:, None] * scale * X[:1]
    np.testing.assert_allclose(value(effective_rank, line.astype("float32")), 1.0, rtol=1e-3)


@NOT_ON_JAX
def test_effective_rank_counts_orthogonal_directions():
    for directions in (2, 5):
        x = np.concatenate([np.eye(6)[:directions], -np.eye(6)[:directions]]).astype("float32")
        np.testing.assert_allclose(value(effective_rank, x), directions, rtol=1e-5)
    np.testing.assert_allclose(value(uniformity, np.float32([[1, 0], [-3, 0]])), -8.0, rtol=1e-5)
