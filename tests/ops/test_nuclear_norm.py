"""Tests of the nuclear norm against golden numbers and singular value decompositions."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_reg.ops import nuclear_norm
from keras_reg.ops.nuclear_norm import polar_factor
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches
from tests.support.gradients import value_and_gradient
from tests.support.tiers import ON_TORCH


@pytest.mark.parametrize("transposed", [False, True])
def test_nuclear_norm_matches_golden_loss_and_gradient(transposed, floatx):
    kernel, gradient = GOLDEN["nuclear.full.W"], GOLDEN["nuclear.full.subgrad"]
    if transposed:
        kernel, gradient = kernel.T, gradient.T
    assert_matches(nuclear_norm, kernel, GOLDEN["nuclear.full.value"], gradient, floatx)
    np.testing.assert_allclose(GOLDEN["nuclear.full.value"], GOLDEN["nuclear.full.sigma"].sum(), rtol=1e-12)


@ON_TORCH
@pytest.mark.parametrize("shape", [(5, 5), (3, 3, 2, 7), (2, 30)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_nuclear_norm_equals_sum_of_singular_values(shape, scale, floatx):
    kernel = scale * np.random.default_rng(3).normal(size=shape)
    matrix = kernel.reshape(-1, shape[-1])
    u, sigma, v = np.linalg.svd(matrix, full_matrices=False)
    assert sigma.min() > 1e-3 * np.linalg.norm(matrix)
    value, gradient = value_and_gradient(lambda w: nuclear_norm(w, 30), kernel.astype(floatx), compiled=True)
    np.testing.assert_allclose(value / scale, sigma.sum() / scale, **TOLERANCE[floatx])
    np.testing.assert_allclose(gradient, (u @ v).reshape(shape), rtol=1e-4, atol=1e-5)


def test_nuclear_norm_is_finite_for_zeros_and_deficient_rank():
    value, gradient = value_and_gradient(nuclear_norm, np.zeros((4, 3), "float32"))
    assert value == 0.0
    assert not gradient.any()
    rng = np.random.default_rng(0)
    low = (rng.normal(size=(6, 2)) @ rng.normal(size=(2, 5))).astype("float32")
    value, gradient = value_and_gradient(nuclear_norm, low, compiled=True)
    np.testing.assert_allclose(value, np.linalg.svd(low, compute_uv=False).sum(), rtol=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("relative", "steps", "expected"), [(1e-3, 20, 0.99), (1e-4, 30, 0.99), (1e-4, 20, 0.32)])
def test_polar_factor_converges_by_step_count_for_small_singular_values(relative, steps, expected):
    factor = ops.convert_to_numpy(polar_factor(np.diag([1.0, relative]).astype("float32"), steps))
    np.testing.assert_allclose(np.diag(factor), [1.0, expected], atol=0.02)
