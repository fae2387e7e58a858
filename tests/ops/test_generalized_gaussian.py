"""Tests of the generalized Gaussian prior against the step of the authors' code and the formula."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from keras_reg.ops import generalized_gaussian_penalty
from keras_reg.ops.generalized_gaussian import generalized_gaussian_ratio, generalized_gaussian_shape
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches, cases, numeric_gradient
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX

SHAPES = np.load(pathlib.Path(__file__).parents[1] / "golden" / "gaussian_shape.npz", allow_pickle=False)
NUM_WEIGHTS = 3050  # The authors' model has this many weights. The golden file contains some rows of them.


@pytest.mark.parametrize("case", ["nu0.8", "nu1.3", "nu2"])
@pytest.mark.parametrize("variable", ["a", "b"])
def test_generalized_gaussian_penalty_matches_golden_loss_and_gradient(case, variable, floatx):
    key = f"backslash.{case}"
    weights, shape = GOLDEN[f"{key}.{variable}"], float(GOLDEN[f"{key}.nu_hat"])
    strength = float(GOLDEN[f"{key}.rdo"]) / NUM_WEIGHTS
    step = weights - GOLDEN[f"{key}.{variable}_new"]  # The authors compute it in float64 with a float32 shape.
    loss = strength * np.sum((np.abs(weights) + 1.0) ** shape - 1.0)
    _, gradient = value_and_gradient(
        lambda w: strength * generalized_gaussian_penalty(w, shape), weights.astype(floatx)
    )
    np.testing.assert_allclose(gradient, step, **TOLERANCE[floatx])
    assert_matches(lambda w: strength * generalized_gaussian_penalty(w, shape), weights, loss, step, floatx)


@pytest.mark.parametrize(("shape", "offset"), [(0.5, 1.0), (0.5, 0.01), (1.0, 0.0), (1.5, 0.0), (2.0, 0.3)])
def test_generalized_gaussian_penalty_equals_formula(shape, offset, floatx):
    weights = np.random.default_rng(0).normal(size=(4, 3))

    def formula(w):
        return np.sum((np.abs(w) + offset) ** shape - offset**shape)

    expected = formula(weights), numeric_gradient(formula, weights)
    got = value_and_gradient(
        lambda w: generalized_gaussian_penalty(w, shape, offset), weights.astype(floatx), compiled=True
    )
    np.testing.assert_allclose(got[0], expected[0], **TOLERANCE[floatx])
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "offset"), [(0.5, 1.0), (0.5, 1e-3), (1.0, 0.0), (2.0, 0.0), (1.0, 1.0)])
def test_generalized_gaussian_penalty_of_zeros_has_zero_gradient(shape, offset):
    value, gradient = value_and_gradient(
        lambda w: generalized_gaussian_penalty(w, shape, offset), np.zeros((3, 2), "float32"), compiled=True
    )
    np.testing.assert_allclose(value, 0.0, atol=1e-6)
    assert not gradient.any()


def test_generalized_gaussian_penalty_of_shape_2_equals_weight_decay():
    weights = np.float32([3.0, -1.0, 0.0])
    value, gradient = value_and_gradient(lambda w: generalized_gaussian_penalty(w, 2.0, 0.0), weights)
    assert value == pytest.approx(10.0)
    np.testing.assert_allclose(gradient, 2 * weights)


def test_generalized_gaussian_tests_use_all_golden_cases():
    assert {case.split(".")[0] for case in cases("backslash")} == {"nu0", "nu1", "nu2"}


def test_generalized_gaussian_ratio_matches_golden_values():
    table = zip(SHAPES["backslash.table.nu"], SHAPES["backslash.table.rho"], strict=True)
    assert all(
        generalized_gaussian_ratio(float(shape)) == pytest.approx(float(ratio), rel=1e-5) for shape, ratio in table
    )


@pytest.mark.parametrize("case", ["nu0.8", "nu1.3", "nu2"])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_generalized_gaussian_shape_matches_golden_values(case, scale):
    """Compares with the authors' shape of all variables together, the nearest one in a table with steps of 0.01."""
    weights = [(scale * SHAPES[f"backslash.{case}.{variable}"]).astype("float32") for variable in "ab"]
    assert abs(float(generalized_gaussian_shape(weights)) - SHAPES[f"backslash.{case}.nu_hat"]) < 0.0051
    joined = np.concatenate([w.ravel() for w in weights])
    assert float(generalized_gaussian_shape(joined)) == pytest.approx(
        float(generalized_gaussian_shape(weights)), rel=1e-4
    )


@NOT_ON_JAX
@pytest.mark.parametrize("shape", [0.105, 0.3333, 0.5, 1.0, 1.2345, 2.0, 2.996])
def test_generalized_gaussian_shape_inverts_ratio(shape):
    """Checks shapes between those of the table too, with ones and zeros, whose ratio is 1 over the share of ones."""
    ratio = generalized_gaussian_ratio(shape)
    weights = np.concatenate([np.ones(10_000), np.zeros(round(10_000 * (ratio - 1)))]).astype("float32")
    assert float(generalized_gaussian_shape(weights)) == pytest.approx(shape, abs=2e-3)


@pytest.mark.parametrize(
    ("weights", "shape"),
    [(np.zeros((3, 2)), 0.1), (np.eye(400), 0.1), (np.ones(5), 3.0), (np.linspace(-1, 1, 99), 3.0)],
)
def test_generalized_gaussian_shape_is_clipped_to_table(weights, shape):
    assert float(generalized_gaussian_shape(weights.astype("float32"))) == pytest.approx(shape, abs=1e-5)


def test_generalized_gaussian_shape_has_no_gradient():
    _, gradient = value_and_gradient(lambda w: generalized_gaussian_shape(w) + 0 * w[0], np.float32([1, 2, 3]))
    assert not gradient.any()


def test_generalized_gaussian_shape_accepts_16_bit_weights():
    weights = 1e-3 * SHAPES["backslash.nu0.8.a"]
    assert float(generalized_gaussian_shape(weights.astype("float16"))) == pytest.approx(0.79, abs=0.01)
