"""Tests of the weight compander against golden numbers (from PyTorch's autograd) and finite differences."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.weight_compander import (
    compand_weight,
    invert_weight_compander,
    weight_compander_bound,
    weight_compander_slope,
)
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "weight_compander.npz", allow_pickle=False)
PAIRS = range(len(GOLDEN["ab"]))
FUNCTIONS = {"arctan": "", "erf": "erf_", "asinh": "asinh_"}


def arrays(dtype, pair, *names):
    """Returns arrays of a pair (a, b) in a type."""
    return [np.asarray(GOLDEN[name] if name == "v" else GOLDEN[name][pair], dtype) for name in names]


def assert_golden(got, name, pair, floatx):
    got = ops.convert_to_numpy(got)
    if keras.backend.backend() == "tensorflow":
        assert got.dtype == floatx
    np.testing.assert_allclose(got, GOLDEN[name][pair], **tolerance(floatx), err_msg=f"{name} of pair {pair}")


def test_compand_weight_matches_golden_weights_and_gradients(floatx):
    """Compares the gradients of the loss <upstream, psi(v; a, b)> with respect to v, a and b."""
    for pair in PAIRS:
        upstream = ops.convert_to_tensor(arrays(floatx, pair, "upstream")[0])
        values = (GOLDEN["v"].astype(floatx), *GOLDEN["ab"][pair].astype(floatx))
        tensors = [ops.convert_to_tensor(value) for value in values]
        assert_golden(compand_weight(*tensors), "psi", pair, floatx)
        for place, name in enumerate(("grad_v", "grad_a", "grad_b")):

            def loss(x, place=place, tensors=tensors, upstream=upstream):
                return ops.sum(upstream * compand_weight(*tensors[:place], x, *tensors[place + 1 :]))

            _, gradient = value_and_gradient(loss, values[place])
            assert_golden(gradient, name, pair, floatx)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_weight_compander_matches_golden_slopes_and_inverses(function, floatx):
    prefix = FUNCTIONS[function]
    slopes = f"{prefix}d" if prefix else "dpsi_dv"
    for pair in PAIRS:
        a, b = (float(scale) for scale in GOLDEN["ab"][pair])
        v, w = arrays(floatx, pair, "v", "erf_w" if function == "erf" else "w")
        assert_golden(compand_weight(v, a, b, function), f"{prefix}psi", pair, floatx)
        assert_golden(weight_compander_slope(v, a, b, function), slopes, pair, floatx)
        assert_golden(invert_weight_compander(w, a, b, function), f"{prefix}inv", pair, floatx)
        _, gradient = value_and_gradient(lambda v, a=a, b=b: ops.sum(compand_weight(v, a, b, function)), v)
        assert_golden(gradient, slopes, pair, floatx)


def test_weight_compander_penalty_matches_golden_values(floatx):
    """Compares equation 5 on the weight, as for fixed a and b, and on the parameter, as for learned a and b."""
    strength, v = float(GOLDEN["lam"]), GOLDEN["v"].astype(floatx)
    for pair in PAIRS:
        a, b = (float(scale) for scale in GOLDEN["ab"][pair])
        for name, weight in (("pen_on_w", lambda v, a=a, b=b: compand_weight(v, a, b)), ("pen_on_v", lambda v: v)):
            value, gradient = value_and_gradient(lambda v, weight=weight: strength * ops.sum(weight(v) ** 2), v)
            assert_golden(value, name, pair, floatx)
            assert_golden(gradient, f"grad_{name}_dv", pair, floatx)


def test_invert_weight_compander_matches_golden_initial_values(floatx):
    a, b = (float(scale) for scale in GOLDEN["init_ab"])
    v = invert_weight_compander(GOLDEN["init_w0"].astype(floatx), a, b)
    np.testing.assert_allclose(ops.convert_to_numpy(v), GOLDEN["init_v0"], **tolerance(floatx))
    np.testing.assert_allclose(ops.convert_to_numpy(compand_weight(v, a, b)), GOLDEN["init_w0"], **tolerance(floatx))


@NOT_ON_JAX
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("a", "b"), [(0.7, 0.8), (1.3, 0.4)])
def test_weight_compander_slope_matches_finite_differences(function, a, b, floatx):
    v = np.linspace(-2, 2, 9).astype(floatx)
    exact = tolerance(floatx)["rtol"] < 1e-6
    step = 1e-5 if exact else 1e-2
    ahead, behind = (ops.convert_to_numpy(compand_weight(v + h, a, b, function)) for h in (step, -step))
    slope = ops.convert_to_numpy(weight_compander_slope(v, a, b, function))
    limit = 1e-8 if exact else 2e-3 * a / b
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), atol=limit)
    # The slope is also compared with an independent formula, and with the peak of equation 3.
    if function == "arctan":
        np.testing.assert_allclose(slope, a * b / (b * b + v * v), rtol=1e-5)
        np.testing.assert_allclose(slope[4], a / b, rtol=1e-6)


@pytest.mark.parametrize(("function", "bound"), [("arctan", np.pi / 4), ("erf", 0.5), ("asinh", np.inf)])
def test_weight_compander_bound_limits_weights(function, bound):
    assert weight_compander_bound(0.5, function) == pytest.approx(bound)
    far = ops.convert_to_numpy(compand_weight(np.array([-1e30, 1e30], "float32"), 0.5, 0.8, function))
    assert np.all(np.isfinite(far))
    if function != "asinh":
        np.testing.assert_allclose(far, [-bound, bound], rtol=1e-6)


def test_compand_weight_gradients_of_large_values_are_zero():
    v = np.array([-1e30, -1e15, 0.0, 1e15, 1e30], "float32")
    for function in FUNCTIONS:
        _, gradient = value_and_gradient(lambda v, f=function: ops.sum(compand_weight(v, 0.7, 0.8, f)), v)
        np.testing.assert_allclose(gradient[[0, 1, 3, 4]], 0, atol=1e-10, err_msg=function)


def test_invert_weight_compander_wraps_around_beyond_bound():
    """Shows what the layer must reject: with a = 0.5, a weight of 1 is reproduced as 1 - a pi."""
    back = compand_weight(invert_weight_compander(np.array([1.0], "float32"), 0.5, 0.5), 0.5, 0.5)
    np.testing.assert_allclose(ops.convert_to_numpy(back), [1 - np.pi / 2], rtol=1e-4)
