"""Tests of StableMax against the authors' code and the formula, and of the collapse of softmax."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.ops import log_stablemax, stablemax_cross_entropy
from keras_reg.ops.stable_max import softmax_collapse
from tests.support.golden import numeric_gradient
from tests.support.gradients import value_and_gradient
from tests.support.tiers import ON_TORCH
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "grokking.npz", allow_pickle=False)
LOGITS, LABELS = GOLDEN["stablemax.ce.logits"], GOLDEN["stablemax.ce.labels"]
numpy = keras.ops.convert_to_numpy


def mean_loss(logits):
    targets = np.eye(logits.shape[-1])[LABELS]
    return keras.ops.sum(stablemax_cross_entropy(targets, logits)) / len(LABELS)


@pytest.mark.parametrize("compiled", [False, True])
def test_stablemax_cross_entropy_matches_golden_loss_and_gradient(floatx, compiled):
    loss, gradient = value_and_gradient(mean_loss, LOGITS.astype(floatx), compiled)
    assert loss.dtype == gradient.dtype == floatx
    exact = tolerance(floatx, ("tensorflow", "jax", "torch"))
    np.testing.assert_allclose(loss, GOLDEN["stablemax.ce.value"], **exact)
    np.testing.assert_allclose(gradient, GOLDEN["stablemax.ce.grad"], **exact)
    np.testing.assert_allclose(numpy(log_stablemax(LOGITS.astype(floatx))), GOLDEN["stablemax.ce.logp"], **exact)


def formula(logits):
    s = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
    return np.log(s / s.sum(-1, keepdims=True))


def test_stablemax_equals_formula_at_zero():
    """Checks the slope at 0, which is 1 for both branches, but would be 0 for a function of the absolute value."""
    logits = np.array([[0.0, 0.0, -2.0], [0.0, 5.0, -0.1]])
    upstream = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 1.0]])
    weights = upstream.astype("float32")
    value, gradient = value_and_gradient(
        lambda z: keras.ops.sum(keras.ops.multiply(log_stablemax(z), weights)), logits.astype("float32"), True
    )
    np.testing.assert_allclose(value, np.sum(formula(logits) * upstream), rtol=1e-5)
    expected = numeric_gradient(lambda z: np.sum(formula(z) * upstream), logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("size", [1e30, 3e38])
def test_stablemax_of_large_logits_is_finite_with_nonzero_gradient(size):
    logits = np.array([[size, -size, 0.0]], "float32")
    for target in np.eye(3):
        value, gradient = value_and_gradient(
            lambda z, target=target: keras.ops.sum(stablemax_cross_entropy(target, z)), logits, True
        )
        assert np.isfinite([value, *gradient.ravel()]).all()
    moderate = np.array([[60.0, -60.0]], "float32")
    _, gradient = value_and_gradient(lambda z: keras.ops.sum(stablemax_cross_entropy(np.eye(2)[:1], z)), moderate, True)
    assert np.abs(gradient).min() > 1e-7


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_log_stablemax_computes_16_bit_floats_in_float32(dtype):
    logits = keras.ops.cast(np.array([[60000.0, -60000.0]], "float32"), dtype)
    result = log_stablemax(logits)
    assert keras.backend.standardize_dtype(result.dtype) == "float32"
    assert np.isfinite(numpy(result)).all()


def test_softmax_collapse_marks_zero_gradient_of_label_logit():
    """Checks that float32 drops exp(-z) below 2**-24 beside 1, from z = 16.6 on, even if all logits are shifted."""
    gaps = np.array([0.0, 10.0, 16.0, 16.8, 30.0, 200.0], "float32")
    logits = np.stack([gaps, np.zeros_like(gaps)], 1)
    collapsed = numpy(softmax_collapse(np.zeros(6, "int32"), logits))
    np.testing.assert_array_equal(collapsed, [False, False, False, True, True, True])
    assert not numpy(softmax_collapse(np.ones(6, "int32"), logits)).any()
    for shift in (-1e4, 1e4):
        np.testing.assert_array_equal(numpy(softmax_collapse(np.zeros(6, "int32"), logits[4:5] + shift)), [True] * 6)
