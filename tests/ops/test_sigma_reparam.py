"""Tests of sigma reparameterization against the authors' numbers and NumPy's singular values."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.sigma_reparam import spectral_norm_step, top_singular
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sigma_reparam.npz", allow_pickle=False)


def outputs(x, matrix, gamma, vector, bias):
    sigma, _ = spectral_norm_step(matrix, vector)
    return ops.matmul(x, matrix * (gamma / sigma)) + bias


def test_sigma_reparam_ops_match_golden_loss_and_gradients(floatx):
    """Compares half the sum of squared outputs. PyTorch transposes the matrices of Keras."""
    x, matrix, gamma, vector, bias = (
        np.asarray(GOLDEN[f"train.{name}"], floatx) for name in ("x", "W", "gamma", "u0", "bias")
    )
    matrix = np.ascontiguousarray(matrix.T)
    sigma, stepped = spectral_norm_step(matrix, vector)
    np.testing.assert_allclose(ops.convert_to_numpy(sigma), GOLDEN["train.sigma"], **tolerance(floatx))
    np.testing.assert_allclose(ops.convert_to_numpy(stepped), GOLDEN["train.u1"], **tolerance(floatx))
    x, vector, bias, w, g = (ops.convert_to_tensor(value) for value in (x, vector, bias, matrix, gamma))
    y = outputs(x, w, g, vector, bias)
    np.testing.assert_allclose(ops.convert_to_numpy(y), GOLDEN["train.y"], **tolerance(floatx))
    # The authors' evaluation steps from the stored vector again.
    y = outputs(x, w, g, ops.convert_to_tensor(stepped), bias)
    np.testing.assert_allclose(ops.convert_to_numpy(y), GOLDEN["eval_after.y"], **tolerance(floatx))

    def loss(w, g):
        return 0.5 * ops.sum(ops.square(outputs(x, w, g, vector, bias)))

    value, gradient = value_and_gradient(lambda w: loss(w, g), matrix)
    assert value == pytest.approx(0.5 * np.sum(GOLDEN["train.y"] ** 2), rel=1e-5)
    np.testing.assert_allclose(gradient, GOLDEN["train.gradW"].T, **tolerance(floatx))
    _, gradient = value_and_gradient(lambda g: loss(w, g), gamma)
    np.testing.assert_allclose(gradient, GOLDEN["train.grad_gamma"][0], **tolerance(floatx))


def test_top_singular_matches_golden_initial_values(floatx):
    gamma, vector = (ops.convert_to_numpy(part) for part in top_singular(GOLDEN["init.W"].T.astype(floatx)))
    np.testing.assert_allclose(gamma, GOLDEN["init.gamma0"][0], **tolerance(floatx))
    sign = np.sign(vector @ GOLDEN["init.u0"])
    np.testing.assert_allclose(sign * vector, GOLDEN["init.u0"], rtol=0, atol=100 * tolerance(floatx)["atol"])


def test_spectral_norm_step_stops_gradient_of_vectors(floatx):
    """Checks that the gradient of sigma is the outer product of the vectors, without a part from the start vector."""
    rng = np.random.default_rng(0)
    matrix, vector = rng.normal(size=(4, 3)).astype(floatx), rng.normal(size=4).astype(floatx)
    right = vector @ matrix
    right /= np.linalg.norm(right)
    left = matrix @ right
    left /= np.linalg.norm(left)
    _, gradient = value_and_gradient(lambda w: spectral_norm_step(w, ops.convert_to_tensor(vector))[0], matrix)
    np.testing.assert_allclose(gradient, np.outer(left, right), **tolerance(floatx))
    step = 1e-3  # A finite difference includes the power iteration, so its value differs.
    moved = np.array(matrix)
    moved[0, 0] += step
    difference = (float(spectral_norm_step(moved, vector)[0]) - left @ matrix @ right) / step
    assert abs(difference - gradient[0, 0]) > 1e-2


@ON_TORCH
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (1, 3), (3, 1)])
def test_power_iteration_finds_largest_singular_value(shape, floatx):
    matrix = np.random.default_rng(3).normal(size=shape).astype(floatx)
    left, values, _ = np.linalg.svd(matrix)
    gamma, top = (ops.convert_to_numpy(part) for part in top_singular(matrix))
    np.testing.assert_allclose(gamma, values[0], **tolerance(floatx))
    np.testing.assert_allclose(abs(top @ left[:, 0]), 1, rtol=1e-5)
    vector = np.ones(shape[0], floatx)
    for _ in range(200):
        sigma, vector = spectral_norm_step(matrix, vector)
    np.testing.assert_allclose(ops.convert_to_numpy(sigma), values[0], rtol=1e-5)
    sigma, same = spectral_norm_step(matrix, top)  # The singular vector does not change.
    np.testing.assert_allclose(ops.convert_to_numpy(sigma), values[0], rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(same), top, atol=1e-5)


@NOT_ON_JAX
@pytest.mark.parametrize("shape", [(3, 2), (2, 3)])
def test_spectral_norm_step_keeps_vector_of_zero_matrix(shape, floatx):
    zeros = np.zeros(shape, floatx)
    gamma, top = top_singular(zeros)
    sigma, vector = spectral_norm_step(zeros, top)
    top, vector = ops.convert_to_numpy(top), ops.convert_to_numpy(vector)
    np.testing.assert_allclose([float(gamma), float(sigma)], 1e-6, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(top), 1, rtol=1e-5)
    np.testing.assert_array_equal(vector, top)
    assert abs(np.sum(top)) > 0.1  # Otherwise it would be orthogonal to outputs of layer normalization.
    assert np.all(top != 0)
    # The division by sigma and the product with gamma cancel, for the matrix and for its gradient.
    value, gradient = value_and_gradient(lambda w: ops.sum(w / spectral_norm_step(w, vector)[0]) * gamma, zeros)
    assert value == 0
    np.testing.assert_allclose(gradient, np.ones(shape), rtol=1e-5)
