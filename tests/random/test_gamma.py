"""Tests of Gamma and Beta variates: their distribution, their gradients, their seeds."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg import random
from keras_reg.random._implicit_gamma import digamma, log_gamma_slope
from keras_reg.random._uniform import open_uniform
from tests.random.support import compiled, gradients
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

special = pytest.importorskip("scipy.special")
stats = pytest.importorskip("scipy.stats")

CONCENTRATIONS = np.array([0.05, 0.1, 0.3, 0.9, 1.0, 1.5, 4.0, 30.0, 200.0], "float32")
DRAWS = 20_000
SHAPE = (DRAWS, len(CONCENTRATIONS))
# The level allows one false alarm in a thousand for all columns together. Seeds are fixed, so results repeat.
LEVEL = 1e-3 / len(CONCENTRATIONS)


def compute_quantiles(logits: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Returns the quantile of log(x / (1 - x)) in the Beta distribution, even if x rounds to 0 or 1."""
    logits = logits.astype("float64")
    near_zero = special.betainc(alpha, beta, special.expit(np.minimum(logits, 0)))
    near_one = special.betainc(beta, alpha, special.expit(np.minimum(-logits, 0)))
    return np.where(logits < 0, near_zero, 1 - near_one)


@NOT_ON_JAX
def test_log_gamma_samples_gamma_distribution():
    drawn = compiled(lambda alpha: random.log_gamma(SHAPE, alpha, seed=7), CONCENTRATIONS).astype("float64")
    for column, alpha in zip(drawn.T, CONCENTRATIONS, strict=True):
        assert stats.kstest(special.gammainc(alpha, np.exp(column)), "uniform").pvalue > LEVEL, alpha
        error = np.sqrt(alpha / DRAWS)
        np.testing.assert_allclose(np.exp(column).mean(), alpha, atol=5 * error, err_msg=f"mean of {alpha}")
        np.testing.assert_allclose(column.mean(), special.digamma(alpha), atol=5 * column.std() / DRAWS**0.5)


@ON_TORCH
@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_logit_beta_samples_beta_distribution(ratio):
    drawn = compiled(lambda alpha: random.logit_beta(SHAPE, alpha, ratio * alpha, seed=7), CONCENTRATIONS)
    for logits, alpha in zip(drawn.T, CONCENTRATIONS, strict=True):
        beta = ratio * alpha
        assert stats.kstest(compute_quantiles(logits, alpha, beta), "uniform").pvalue > LEVEL, alpha
        x = special.expit(logits.astype("float64"))
        mean, variance = stats.beta.stats(alpha, beta)
        np.testing.assert_allclose(x.mean(), mean, atol=5 * np.sqrt(variance / DRAWS), err_msg=f"mean of {alpha}")
        np.testing.assert_allclose(x.var(), variance, rtol=0.05, err_msg=f"variance of {alpha}")


@NOT_ON_JAX
def test_beta_equals_sigmoid_of_logit_beta_in_requested_dtype():
    logits = ops.convert_to_numpy(random.logit_beta((50,), 0.7, 2.0, seed=1))
    drawn = random.beta((50,), 0.7, 2.0, seed=1)
    np.testing.assert_allclose(ops.convert_to_numpy(drawn), special.expit(logits), rtol=1e-5)
    assert keras.backend.standardize_dtype(drawn.dtype) == "float32"
    assert keras.backend.standardize_dtype(random.beta((2,), 1.0, 1.0, dtype="float16").dtype) == "float16"
    exp = np.exp(ops.convert_to_numpy(random.log_gamma((50,), 0.7, seed=1)))
    np.testing.assert_allclose(ops.convert_to_numpy(random.gamma((50,), 0.7, seed=1)), exp, rtol=1e-5)


def compute_slopes(alpha: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Returns d log x / d alpha at a fixed quantile, by central differences of the distribution function.

    The differences use the shorter side of the distribution function.
    """
    step = 1e-5 * alpha
    below = special.gammainc(alpha + step, x) - special.gammainc(alpha - step, x)
    above = special.gammaincc(alpha + step, x) - special.gammaincc(alpha - step, x)
    density = np.exp(alpha * np.log(x) - x - special.gammaln(alpha))
    return np.where(x < alpha, -below, above) / (2 * step * density)


@NOT_ON_JAX
def test_log_gamma_slope_equals_implicit_gradient():
    rng = np.random.default_rng(0)
    alpha = np.exp(rng.uniform(0, np.log(300), 2000))
    ends = 10 ** rng.uniform(-6, 0, 500)
    quantile = np.concatenate([rng.uniform(0, 1, 1000), ends, 1 - ends])
    # The function receives float32 numbers.
    alpha = alpha.astype("float32").astype("float64")
    log_x = np.log(special.gammaincinv(alpha, quantile)).astype("float32").astype("float64")
    expected = compute_slopes(alpha, np.exp(log_x))
    np.testing.assert_allclose(compiled(log_gamma_slope, alpha, log_x), expected, rtol=2e-5)
    if keras.backend.backend() == "jax":
        import jax

        x = np.exp(log_x).astype("float32")
        slopes = np.asarray(jax.lax.random_gamma_grad(alpha.astype("float32"), x)) / x
        np.testing.assert_allclose(compiled(log_gamma_slope, alpha, log_x), slopes, rtol=1e-4)


def test_digamma_matches_scipy():
    x = np.geomspace(1, 1e5, 200).astype("float32")
    np.testing.assert_allclose(compiled(digamma, x), special.digamma(x.astype("float64")), rtol=1e-5, atol=2e-6)


@ON_TORCH
def test_log_gamma_gradient_equals_sum_of_parts():
    """Compares with the slope of the variate of alpha + 1 plus that of log(U) / alpha, for the same draws."""
    alpha = np.geomspace(0.1, 50, 64).astype("float32")
    (gradient,) = gradients(lambda a: random.log_gamma((64,), a, seed=5), alpha)
    drawn = compiled(lambda a: random.log_gamma((64,), a, seed=5), alpha).astype("float64")
    uniform = compiled(lambda: open_uniform((10, 64), seed=5))[-1].astype("float64")
    raised = np.exp(drawn - np.log(uniform) / alpha)
    expected = compute_slopes(alpha.astype("float64") + 1, raised) - np.log(uniform) / alpha.astype("float64") ** 2
    np.testing.assert_allclose(gradient, expected, rtol=1e-3)


@ON_TORCH
def test_gradients_of_gamma_and_beta_means_match_closed_forms():
    def draw_gamma(alpha):
        return random.gamma(SHAPE, alpha, seed=3) / DRAWS

    (gradient,) = gradients(draw_gamma, CONCENTRATIONS)
    np.testing.assert_allclose(gradient, 1.0, atol=0.08)

    def draw_beta(alpha, beta):
        return random.beta(SHAPE, alpha, beta, seed=3) / DRAWS

    alpha, beta = CONCENTRATIONS, 0.5 * CONCENTRATIONS
    by_alpha, by_beta = gradients(draw_beta, alpha, beta)
    total = (alpha + beta) ** 2
    np.testing.assert_allclose(by_alpha * total / beta, 1.0, atol=0.1)
    np.testing.assert_allclose(by_beta * total / alpha, -1.0, atol=0.1)

    def draw_squared_beta(alpha, beta):
        return random.beta(SHAPE, alpha, beta, seed=3) ** 2 / DRAWS

    # The mean is alpha (alpha + 1) / (alpha + beta) / (alpha + beta + 1).
    by_alpha, _ = gradients(draw_squared_beta, alpha, beta)
    square = alpha * (alpha + 1) / (alpha + beta) / (alpha + beta + 1)
    expected = square * (1 / alpha + 1 / (alpha + 1) - 1 / (alpha + beta) - 1 / (alpha + beta + 1))
    np.testing.assert_allclose(by_alpha / expected, 1.0, atol=0.12)


@ON_TORCH
def test_gamma_samples_of_extreme_concentrations_are_finite():
    alpha = np.repeat(np.array([1e-4, 1e-2, 1e4, 1e6], "float32"), 500)

    def drawn(alpha):
        return random.beta(alpha.shape, alpha, ops.flip(alpha), seed=2)

    value, (gradient,) = compiled(drawn, alpha), gradients(drawn, alpha)
    assert np.isfinite(value).all()
    assert value.min() >= 0
    assert value.max() <= 1
    assert np.isfinite(gradient).all()
    assert np.isfinite(compiled(lambda a: random.log_gamma(a.shape, a, seed=2), alpha)).all()
    large = compiled(lambda a: random.gamma(a.shape, a, seed=2), alpha[-500:])
    np.testing.assert_allclose([large.mean(), large.std()], [1e6, 1e3], rtol=0.1)


@NOT_ON_JAX
def test_beta_samples_depend_on_seed_alone():
    def draw(seed):
        return ops.convert_to_numpy(random.beta((20,), 2.0, 3.0, seed=seed))

    np.testing.assert_array_equal(draw(4), draw(4))
    assert not np.array_equal(draw(4), draw(5))
    assert not np.array_equal(draw(None), draw(None))
    first, second = (keras.random.SeedGenerator(9) for _ in range(2))
    a, b = draw(first), draw(first)
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(draw(second), a)
    np.testing.assert_array_equal(draw(second), b)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), np.array([1.0, -2.0])])
def test_gamma_and_beta_reject_wrong_concentrations(wrong):
    with pytest.raises(ValueError, match=r"positive and finite.*Received: alpha="):
        random.gamma((2,), wrong)
    with pytest.raises(ValueError, match=r"positive and finite.*Received: beta="):
        random.beta((2,), 1.0, wrong)


def test_compiled_beta_returns_nan_for_wrong_concentrations():
    alpha = np.array([1.0, -1.0, 0.0], "float32")
    drawn = compiled(lambda a: random.beta((3,), a, 2.0, seed=1), alpha)
    np.testing.assert_array_equal(np.isnan(drawn), [False, True, True])
