"""Weight normalization's functions against the numbers of tensorflow-addons and independent derivations."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops import data_dependent_initialization, normalize_weight, weight_length
from tests.support.gradients import value_and_gradient
from tests.support.tolerance import tolerance

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "weight_normalization.npz", allow_pickle=False)
KINDS = ("dense", "conv2d")


def output(kind, x, v, g, b):
    axes = tuple(range(len(v.shape) - 1))
    w = normalize_weight(v, ops.reshape(g, (1,) * len(axes) + (-1,)), axes)
    if kind == "conv2d":
        return ops.conv(x, w, strides=2, padding="same", data_format="channels_last") + b
    return ops.matmul(x, w) + b


def arrays(case, dtype, *names):
    return [GOLDEN[f"{case}/{name}"].astype(dtype) for name in names]


@pytest.mark.parametrize("kind", KINDS)
def test_golden_loss_and_gradients(kind, floatx):
    """Gradients of the loss <ct, y>; the golden numbers are float32 ones."""
    case = f"{kind}_init0"
    x, ct, *parameters = arrays(case, floatx, "x", "ct", "v", "g_in", "b_in")
    x, ct = ops.convert_to_tensor(x), ops.convert_to_tensor(ct)
    tensors = [ops.convert_to_tensor(array) for array in parameters]
    y = ops.convert_to_numpy(output(kind, x, *tensors))
    np.testing.assert_allclose(y, GOLDEN[f"{case}/y"], rtol=1e-5, atol=1e-5)
    for place, name in enumerate(("dv", "dg", "db")):

        def loss(value, place=place):
            return ops.sum(ct * output(kind, x, *tensors[:place], value, *tensors[place + 1 :]))

        value, gradient = value_and_gradient(loss, parameters[place])
        np.testing.assert_allclose(value, np.sum(GOLDEN[f"{case}/ct"] * GOLDEN[f"{case}/y"]), rtol=1e-4)
        np.testing.assert_allclose(gradient, GOLDEN[f"{case}/{name}"], rtol=1e-5, atol=1e-5, err_msg=name)


def test_lengths_and_directions(floatx):
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=(3, 2, 4)).astype(floatx), rng.uniform(0.5, 2, (1, 1, 4)).astype(floatx)
    w = ops.convert_to_numpy(normalize_weight(v, g, (0, 1)))
    assert w.dtype == floatx
    limits = tolerance(floatx, ("tensorflow", "jax"))
    np.testing.assert_allclose(w, v * g / np.sqrt((v**2).sum((0, 1), keepdims=True)), **limits)
    np.testing.assert_allclose(ops.convert_to_numpy(weight_length(w, (0, 1))), g, **limits)
    back = normalize_weight(v, weight_length(v, (0, 1)), (0, 1))
    np.testing.assert_allclose(ops.convert_to_numpy(back), v, **limits)


def test_gradient_is_the_one_of_equation_3(floatx):
    """Gradient by v: g / |v| (dw - (dw . v) v / |v|^2), orthogonal to v; by g: dw . v / |v|."""
    rng = np.random.default_rng(1)
    v, dw = rng.normal(size=(2, 5, 3)).astype(floatx)
    g = np.array([[0.5, 1.0, 2.0]], floatx)
    upstream, length, direction = (ops.convert_to_tensor(value) for value in (dw, g, v))
    _, by_v = value_and_gradient(lambda v: ops.sum(upstream * normalize_weight(v, length, (0,))), v)
    _, by_g = value_and_gradient(lambda g: ops.sum(upstream * normalize_weight(direction, g, (0,))), g)
    limits = tolerance(floatx, ("tensorflow", "jax"))
    norm = np.sqrt((v**2).sum(0))
    np.testing.assert_allclose(by_v, g / norm * (dw - (dw * v).sum(0) * v / norm**2), **limits)
    np.testing.assert_allclose(by_g, (dw * v).sum(0, keepdims=True) / norm, **limits)
    np.testing.assert_allclose((by_v * v).sum(0), 0, atol=10 * limits["atol"])


def test_vectors_of_zeros_have_finite_gradients():
    v = np.zeros((4, 2), "float32")
    for function in (lambda v: normalize_weight(v, np.ones((1, 2), "float32"), (0,)), lambda v: weight_length(v, (0,))):
        value, gradient = value_and_gradient(lambda v, f=function: ops.sum(f(v)), v)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


def test_initialized_outputs_have_mean_0_and_variance_1():
    z = 3 + 2 * np.random.default_rng(0).normal(size=(50, 4)).astype(keras.config.floatx())
    factor, bias = data_dependent_initialization(z.mean(0), z.var(0))
    y = z * ops.convert_to_numpy(factor) + ops.convert_to_numpy(bias)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(0), 1, rtol=1e-5)
