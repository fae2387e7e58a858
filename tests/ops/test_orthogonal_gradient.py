"""Tests of the projected gradient against the authors' code."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.ops.orthogonal_gradient import orthogonal_gradient
from tests.support.gradients import value_and_gradient
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "grokking.npz", allow_pickle=False)
numpy = keras.ops.convert_to_numpy


def test_orthogonal_gradient_matches_golden_projection_of_loss_gradient(floatx):
    """Uses the loss <g, w>, whose gradient g is the input of the authors' optimizer."""
    weight, upstream = (GOLDEN[f"perpgrad.case.{name}"].astype(floatx) for name in "wg")
    # From Keras 3.16 on, `ops.multiply` computes in float32 on PyTorch.
    loss, gradient = value_and_gradient(lambda w: keras.ops.sum(w * keras.ops.convert_to_tensor(upstream)), weight)
    np.testing.assert_allclose(loss, np.sum(weight * upstream), rtol=1e-6)
    projected = numpy(orthogonal_gradient(gradient, weight))
    assert projected.dtype == floatx
    exact = tolerance(floatx, ("tensorflow", "jax", "torch"))
    np.testing.assert_allclose(projected, GOLDEN["perpgrad.case.out"], **exact)


def test_orthogonal_gradient_is_orthogonal_and_keeps_norm():
    rng = np.random.default_rng(0)
    for scale in (1e-12, 1.0, 1e8):
        gradient = scale * rng.normal(size=(3, 3, 4, 5)).astype("float32")
        weight = rng.normal(size=gradient.shape).astype("float32")
        projected = numpy(orthogonal_gradient(gradient, weight)).astype("float64")
        assert abs(np.sum(projected * weight)) < 1e-5 * np.linalg.norm(projected) * np.linalg.norm(weight)
        np.testing.assert_allclose(np.linalg.norm(projected), np.linalg.norm(gradient.astype("float64")), rtol=1e-5)
        assert np.sum(projected * gradient) > 0


def test_orthogonal_gradient_of_zero_or_parallel_gradient_is_zero():
    gradient = np.arange(1.0, 5.0, dtype="float32")
    zeros = np.zeros(4, "float32")
    np.testing.assert_array_equal(numpy(orthogonal_gradient(gradient, zeros)), gradient)
    np.testing.assert_array_equal(numpy(orthogonal_gradient(zeros, gradient)), zeros)
    for factor in (1.0, -1.0, 1.37, 1e-9):  # The remainder is rounding. Scaled up, it could have any direction.
        np.testing.assert_array_equal(numpy(orthogonal_gradient(np.float32(factor) * gradient, gradient)), zeros)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_orthogonal_gradient_computes_16_bit_floats_in_float32(dtype):
    """Checks sums over many weights, and a gradient that points along the weights up to rounding."""
    rng = np.random.default_rng(0)
    gradient, weight = (keras.ops.cast(3 * rng.normal(size=(128, 128)), dtype) for _ in range(2))
    exact = numpy(orthogonal_gradient(*(keras.ops.cast(x, "float32") for x in (gradient, weight))))
    projected = orthogonal_gradient(gradient, weight)
    assert keras.backend.standardize_dtype(projected.dtype) == dtype
    np.testing.assert_allclose(numpy(keras.ops.cast(projected, "float32")), exact, rtol=1e-2, atol=1e-2)
    along = orthogonal_gradient(keras.ops.cast(0.37 * keras.ops.cast(weight, "float32"), dtype), weight)
    assert not np.any(numpy(keras.ops.cast(along, "float32")))


def test_orthogonal_gradient_matches_golden_value_for_zero_weights():
    out = GOLDEN["perpgrad.zero_w.out"].astype("float32")
    np.testing.assert_allclose(numpy(orthogonal_gradient(out, np.zeros_like(out))), out)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_orthogonal_gradient_accepts_weights_of_any_scale(size):
    """Uses weights and gradients whose squares overflow or underflow in float32."""
    rng = np.random.default_rng(1)
    gradient, weight = rng.normal(size=6).astype("float32"), rng.normal(size=6).astype("float32")
    expected = numpy(orthogonal_gradient(gradient, weight))
    np.testing.assert_allclose(numpy(orthogonal_gradient(gradient, np.float32(size) * weight)), expected, rtol=1e-5)
    small = numpy(orthogonal_gradient(np.float32(size) * gradient, weight))
    np.testing.assert_allclose(small / np.float32(size), expected, rtol=1e-5)
