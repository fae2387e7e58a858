"""Tests of weights that respond to hyperparameters, against the authors' numbers and against weights per sample."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.hyper_response import along_samples, free_numbers, hyper_linear, hyper_squares, hyper_weight
from keras_reg.ops.hyperparameters import bounded, unbounded
from tests.support.gradients import value_and_gradient, value_and_gradients
from tests.support.tiers import NOT_ON_JAX
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stn.npz", allow_pickle=False)

#: The names of general, response and matrix weights in the cases of the dense layer. Some kernels have a mask.
CASES = {
    "stn_linear": ("elem_weight", "hnet_weight", "htensor_to_scalars.weight", "elem_scalar"),
    "stn_linear_nobias": ("elem_weight", "hnet_weight", "htensor_to_scalars.weight", "elem_scalar"),
    "stn_lstm_linear": ("elem_weight_raw", "hnet_weight_raw", "hnet_tensor_to_scalars.weight", None),
    "delta_linear": ("general_weight", "response_weight", "hyper_bottleneck.weight", None),
}
#: On PyTorch, Keras multiplies matrices of float64 in float32.
EXACT = ("tensorflow", "jax")
RANGES = [
    {},
    {"low": -1.0, "high": 2.0},
    {"low": 0.5},
    {"high": 3.0},
    {"low": 0.0, "log": True},
    {"low": 1e-3, "high": 10.0, "log": True},
]


def outputs(case, values):
    """Returns the outputs of a dense layer of golden weights. PyTorch transposes the matrices of Keras."""
    general, response, matrix, scalar = CASES[case]
    units = values[general].shape[0]
    scalar = None if scalar is None else values[scalar]
    mask = values.get("mask", 1.0)
    factors = ops.matmul(values["h"], ops.transpose(values[matrix]))

    def linear(kernel):
        return ops.matmul(values["x"], ops.transpose(kernel * mask))

    # The functions expect the units on the last axis, also for weights.
    kernels = [values[general], values[response]]
    y = hyper_linear(
        lambda kernel: linear(ops.transpose(kernel)), *map(ops.transpose, kernels), factors[:, :units], scalar
    )
    biases = [name.replace("weight", "bias").removesuffix("_raw") for name in (general, response)]
    if biases[0] in values:
        y = y + hyper_weight(*(values[name] for name in biases), factors[:, units:], scalar)
    return y


@pytest.mark.parametrize("case", CASES)
def test_hyper_response_matches_golden_loss_and_gradients(case, floatx):
    """Compares the gradients of a sum of outputs times golden numbers, for weights, inputs and hyperparameters."""
    values = {"x": GOLDEN[f"{case}/x"], "h": GOLDEN[f"{case}/h"]}
    if f"{case}/mask" in GOLDEN.files:
        values["mask"] = GOLDEN[f"{case}/mask"]
    prefix = f"{case}/param/"
    values |= {name.removeprefix(prefix): GOLDEN[name] for name in GOLDEN.files if name.startswith(prefix)}
    mask = {name: ops.convert_to_tensor(values.pop(name).astype(floatx)) for name in ["mask"] if name in values}
    values = {name: value.astype(floatx) for name, value in values.items()}
    got = ops.convert_to_numpy(outputs(case, {name: ops.convert_to_tensor(v) for name, v in values.items()} | mask))
    np.testing.assert_allclose(got, GOLDEN[f"{case}/out"], **tolerance(floatx, EXACT))
    upstream = ops.convert_to_tensor(GOLDEN[f"{case}/ct"].astype(floatx))
    loss, gradients = value_and_gradients(lambda v: ops.sum(outputs(case, v | mask) * upstream), values)
    assert loss == pytest.approx(np.sum(GOLDEN[f"{case}/out"] * GOLDEN[f"{case}/ct"]), rel=1e-4)
    assert {f"{case}/grad/{name}" for name in gradients} == {n for n in GOLDEN.files if n.startswith(f"{case}/grad/")}
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, GOLDEN[f"{case}/grad/{name}"], err_msg=name, **tolerance(floatx, EXACT))


def test_hyper_response_fold_matches_golden_weights(floatx):
    values = {name: GOLDEN[f"stn_linear/param/{name}"].astype(floatx) for name in (*CASES["stn_linear"], "elem_bias")}
    matrix = values["htensor_to_scalars.weight"]
    factors = matrix @ GOLDEN["stn_linear/folded_h"].astype(floatx)
    weight = hyper_weight(values["elem_weight"].T, values["hnet_weight"].T, factors[:3], values["elem_scalar"][0])
    np.testing.assert_allclose(
        ops.convert_to_numpy(weight), GOLDEN["stn_linear/folded_weight"].T, **tolerance(floatx, EXACT)
    )
    # Factors that all samples share are applied to the weight before the linear map.
    x = GOLDEN["stn_linear/x"].astype(floatx)
    kernels = values["elem_weight"].T, values["hnet_weight"].T
    y = hyper_linear(lambda kernel: ops.matmul(x, kernel), *kernels, factors[:3], values["elem_scalar"][0])
    expected = GOLDEN["stn_linear/folded_out"] - GOLDEN["stn_linear/folded_bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, **tolerance(floatx, EXACT))


@NOT_ON_JAX
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 2, 4, 3)])
@pytest.mark.parametrize("scalar", [None, 0.7])
def test_hyper_response_squares_equal_squared_weights_of_samples(shape, scalar, floatx):
    rng = np.random.default_rng(0)
    general, response = rng.normal(size=shape).astype(floatx), rng.normal(size=shape).astype(floatx)
    factors, upstream = rng.normal(size=(5, 3)).astype(floatx), rng.normal(size=5)

    def weight_of(sample, general=general):
        return (scalar or 1.0) * general + sample * response

    got = hyper_squares(general, response, factors, scalar)
    np.testing.assert_allclose(
        ops.convert_to_numpy(got), [np.sum(weight_of(sample) ** 2) for sample in factors], **tolerance(floatx, EXACT)
    )
    shared = ops.convert_to_numpy(hyper_squares(general, response, factors[0], scalar))
    np.testing.assert_allclose(shared, np.sum(weight_of(factors[0]) ** 2), **tolerance(floatx, EXACT))
    weights = ops.convert_to_tensor(upstream.astype(floatx))
    response, factors = ops.convert_to_tensor(response), ops.convert_to_tensor(factors)
    _, gradient = value_and_gradient(lambda g: ops.sum(weights * hyper_squares(g, response, factors, scalar)), general)
    response, factors = ops.convert_to_numpy(response), ops.convert_to_numpy(factors)
    expected = sum(2 * (scalar or 1.0) * u * weight_of(sample) for u, sample in zip(upstream, factors, strict=True))
    np.testing.assert_allclose(gradient, expected, **tolerance(floatx, EXACT))


@NOT_ON_JAX
@pytest.mark.parametrize("bounds", RANGES)
def test_free_numbers_invert_bounded(bounds, floatx):
    free = np.array([-2.5, -0.3, 0.0, 1.7, 2.9], floatx)
    values = ops.convert_to_numpy(bounded(free, **bounds))
    close = {"rtol": 1e-4, "atol": 1e-4} if floatx == "float32" else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(ops.convert_to_numpy(free_numbers(values, **bounds)), free, **close)
    exact = [unbounded(float(value), **bounds) for value in values]
    np.testing.assert_allclose(ops.convert_to_numpy(free_numbers(values, **bounds)), exact, **close)
    # The gradient through both functions is 1. A tuner changes the unconstrained number through the value.
    _, gradient = value_and_gradient(lambda u: ops.sum(free_numbers(bounded(u, **bounds), **bounds)), free)
    np.testing.assert_allclose(gradient, np.ones(5), **close)


@pytest.mark.parametrize("bounds", RANGES[1:])
def test_free_numbers_of_bounds_are_finite(bounds, floatx):
    for value in (bounds.get("low"), bounds.get("high")):
        if value is not None:
            number = float(free_numbers(np.array(value, floatx), **bounds))
            assert math.isfinite(number)
            assert abs(number) > 5  # The number is finite, but large.


@pytest.mark.parametrize(
    ("shape", "rank", "expected"), [((3,), 4, (3,)), ((5, 3), 2, (5, 3)), ((5, 3), 4, (5, 1, 1, 3))]
)
def test_along_samples_puts_samples_on_first_axis(shape, rank, expected):
    assert tuple(along_samples(np.ones(shape), rank).shape) == expected
