"""Tests of the log-density of the Beta distribution against SciPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.ops.beta import beta_log_prob
from tests.random.support import compiled, gradients
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

special = pytest.importorskip("scipy.special")


def problem() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    alpha, beta = (np.exp(rng.uniform(np.log(0.02), np.log(300), 500)).astype("float32") for _ in range(2))
    return rng.uniform(0.01, 0.99, 500).astype("float32"), alpha, beta


@ON_TORCH
def test_beta_log_prob_value_and_gradients_match_scipy():
    x, alpha, beta = (array.astype("float64") for array in problem())
    expected = (alpha - 1) * np.log(x) + (beta - 1) * np.log1p(-x) - special.betaln(alpha, beta)
    np.testing.assert_allclose(compiled(beta_log_prob, *problem()), expected, rtol=2e-5, atol=1e-4)
    by_x, by_alpha, by_beta = gradients(beta_log_prob, *problem())
    np.testing.assert_allclose(by_x, (alpha - 1) / x - (beta - 1) / (1 - x), rtol=2e-5, atol=1e-3)
    total = special.digamma(alpha + beta)
    np.testing.assert_allclose(by_alpha, np.log(x) + total - special.digamma(alpha), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(by_beta, np.log1p(-x) + total - special.digamma(beta), rtol=2e-5, atol=2e-5)


def test_beta_log_prob_is_accurate_for_large_concentrations():
    x = np.array([0.5, 0.50001], "float32")
    alpha = np.full(2, 1e6, "float32")
    expected = (1e6 - 1) * (np.log(x.astype("f8")) + np.log1p(-x.astype("f8"))) - special.betaln(1e6, 1e6)
    np.testing.assert_allclose(compiled(beta_log_prob, x, alpha, alpha), expected, atol=0.3)


@NOT_ON_JAX
def test_beta_log_prob_keeps_float64(floatx):
    x, alpha, beta = (keras.ops.convert_to_tensor(array.astype(floatx)) for array in problem())
    result = beta_log_prob(x, alpha, beta)
    assert keras.backend.standardize_dtype(result.dtype) == floatx
    x, alpha, beta = (array.astype("float64") for array in problem())
    expected = (alpha - 1) * np.log(x) + (beta - 1) * np.log1p(-x) - special.betaln(alpha, beta)
    close = 1e-11 if floatx == "float64" else 1e-4
    np.testing.assert_allclose(keras.ops.convert_to_numpy(result), expected, rtol=close, atol=close)


@pytest.mark.parametrize("floatx", ["float64"], indirect=True)
@pytest.mark.parametrize("wide", [0, 1, 2])
def test_beta_log_prob_computes_in_float64_for_one_wide_argument(floatx, wide):
    arrays = [array.astype(floatx) if index == wide else array for index, array in enumerate(problem())]
    arrays[wide] = arrays[wide] * (1 + 1e-9)  # Float32 cannot represent these numbers.
    result = beta_log_prob(*(keras.ops.convert_to_tensor(array) for array in arrays))
    x, alpha, beta = (array.astype("float64") for array in arrays)
    expected = (alpha - 1) * np.log(x) + (beta - 1) * np.log1p(-x) - special.betaln(alpha, beta)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(result), expected, rtol=1e-11, atol=1e-11)


def test_beta_log_prob_clips_edges():
    x, half = np.array([0.0, 1.0], "float32"), np.full(2, 0.5, "float32")
    inside = np.array([1e-6, 1 - 1e-6], "float32")
    np.testing.assert_allclose(compiled(beta_log_prob, x, half, half), compiled(beta_log_prob, inside, half, half))
    assert np.isinf(compiled(lambda *a: beta_log_prob(*a, epsilon=0), x, half, half)).all()
