"""Tests of soft orthogonality and its variants against golden numbers and singular value decompositions."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_reg.ops import soft_orthogonality
from keras_reg.ops.soft_orthogonality import mutual_coherence, relaxed_orthogonality, spectral_isometry
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches
from tests.support.gradients import value_and_gradient
from tests.support.tiers import ON_TORCH

SIDES = ("tall", "wide")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("function", "name"), [(soft_orthogonality, "sel_so"), (mutual_coherence, "mc")])
def test_soft_orthogonality_matches_golden_loss_and_gradient(function, name, side, floatx):
    loss, gradient = GOLDEN[f"so.{side}.{name}.value"], GOLDEN[f"so.{side}.{name}.grad"]
    assert_matches(function, GOLDEN[f"so.{side}.W"], loss, gradient, floatx)


@pytest.mark.parametrize("side", SIDES)
def test_spectral_isometry_matches_golden_loss_and_gradient(side, floatx):
    """Compares loss and gradient, with the start vector of the authors' run."""
    key = f"srip.{side}_wrn"
    start = GOLDEN[f"{key}.start"].astype(floatx)
    kernel, gradient = GOLDEN[f"{key}.W"].T, GOLDEN[f"{key}.grad"].T  # The authors' kernel is (outputs, inputs).
    assert_matches(lambda w: spectral_isometry(w, start), kernel, GOLDEN[f"{key}.value"], gradient, floatx)


@pytest.mark.parametrize("case", ["lam1_alpha1", "lam0_alpha1", "lam2_alpha5", "lam12_alpha1"])
@pytest.mark.parametrize("side", SIDES)
def test_relaxed_orthogonality_matches_golden_loss_and_gradient(side, case, floatx):
    key = f"lambda_orth.{side}.{case}"
    threshold, sharpness = (float(part.strip("lamph")) for part in case.split("_"))
    rows, columns = GOLDEN[f"{key}.W"].shape

    def penalty(w):
        # The golden numbers use W W^T for both sides. With the smaller Gram matrix, n^2 is smaller by a constant.
        return relaxed_orthogonality(soft_orthogonality(w) + max(0, rows - columns), threshold, sharpness)

    assert_matches(penalty, GOLDEN[f"{key}.W"], GOLDEN[f"{key}.value"], GOLDEN[f"{key}.grad"], floatx)


@ON_TORCH
@pytest.mark.parametrize("side", SIDES)
def test_orthogonality_penalties_equal_functions_of_singular_values(side, floatx):
    w = GOLDEN[f"so.{side}.W"]
    difference = np.linalg.svd(w, compute_uv=False) ** 2 - 1
    value, _ = value_and_gradient(soft_orthogonality, w.astype(floatx))
    np.testing.assert_allclose(value, np.sum(difference**2), **TOLERANCE[floatx])
    value, _ = value_and_gradient(lambda w: spectral_isometry(w, steps=60), w.astype(floatx), compiled=True)
    np.testing.assert_allclose(value, np.max(difference**2), rtol=1e-4)
    if side == "tall":  # Here the paper's W^T W is the smaller Gram matrix.
        exact = GOLDEN[f"so.{side}.srip_exact.value"]
        np.testing.assert_allclose(value, exact**2, rtol=1e-4)


@ON_TORCH
@pytest.mark.parametrize("seed", range(5))
def test_spectral_isometry_converges_from_fixed_start_in_a_few_steps(seed):
    w = np.random.default_rng(seed).normal(size=(64, 32), scale=0.12).astype("float32")
    value, _ = value_and_gradient(lambda w: spectral_isometry(w, steps=8), w, compiled=True)
    exact = np.max((np.linalg.svd(w, compute_uv=False) ** 2 - 1) ** 2)
    assert 0.8 * exact < value <= exact * 1.001


FUNCTIONS = {
    "frobenius": soft_orthogonality,
    "relaxed": lambda w: relaxed_orthogonality(soft_orthogonality(w), 1.0),
    "spectral": spectral_isometry,
    "coherence": mutual_coherence,
}


@ON_TORCH
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kernel", [np.zeros((3, 2)), np.eye(3), np.eye(2, 4), np.zeros((2, 2, 1, 3))])
def test_orthogonality_penalties_have_finite_gradients_at_zero(name, kernel):
    value, gradient = value_and_gradient(FUNCTIONS[name], kernel.astype("float32"), compiled=True)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if kernel.shape == (3, 3):
        np.testing.assert_allclose(value, 0.0, atol=1e-6)
        assert not gradient.any()


def test_soft_orthogonality_flattens_convolution_kernels_to_outputs():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("float32")
    value, _ = value_and_gradient(soft_orthogonality, kernel)
    expected, _ = value_and_gradient(soft_orthogonality, kernel.reshape(18, 4))
    np.testing.assert_array_equal(value, expected)


def test_soft_orthogonality_rejects_vectors():
    with pytest.raises(ValueError, match=r"Received: a variable of shape \(3,\)"):
        soft_orthogonality(np.zeros(3, "float32"))


def test_relaxed_orthogonality_has_no_gradient_below_threshold():
    far = ops.convert_to_tensor(np.float32(0.04))
    _, gradient = value_and_gradient(lambda x: relaxed_orthogonality(x, 12.0), np.float32(0.04))
    assert abs(gradient) < 1e-4
    assert float(ops.convert_to_numpy(relaxed_orthogonality(far, 0.0))) > 0.1
