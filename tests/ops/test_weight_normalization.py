"""Tests of weight normalization against the numbers of tensorflow-addons and independent derivations."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.weight_normalization import data_dependent_initialization, normalize_weight, weight_length
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
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
def test_normalize_weight_matches_golden_loss_and_gradients(kind, floatx):
    """Compares the gradients of the loss <ct, y>. The golden numbers are float32."""
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


def test_weight_length_and_normalize_weight_invert_each_other(floatx):
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=(3, 2, 4)).astype(floatx), rng.uniform(0.5, 2, (1, 1, 4)).astype(floatx)
    w = ops.convert_to_numpy(normalize_weight(v, g, (0, 1)))
    assert w.dtype == floatx
    limits = tolerance(floatx, ("tensorflow", "jax"))
    np.testing.assert_allclose(w, v * g / np.sqrt((v**2).sum((0, 1), keepdims=True)), **limits)
    np.testing.assert_allclose(ops.convert_to_numpy(weight_length(w, (0, 1))), g, **limits)
    back = normalize_weight(v, weight_length(v, (0, 1)), (0, 1))
    np.testing.assert_allclose(ops.convert_to_numpy(back), v, **limits)


@NOT_ON_JAX
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_normalize_weight_accepts_negative_axes(compiled, many_numbers):
    v = np.random.default_rng(0).normal(size=(9, 4, 3, 2)).astype("float32")
    length = ops.convert_to_tensor(np.arange(1, 19, dtype="float32").reshape(9, 1, 1, 2))
    cubes = [
        value_and_gradient(lambda v, axes=axes: ops.sum(normalize_weight(v, length, axes) ** 3), v, compiled)
        for axes in ((1, 2), (-3, -2))
    ]
    for from_the_front, from_the_end in zip(*cubes, strict=True):
        np.testing.assert_allclose(from_the_end, from_the_front, rtol=1e-5, atol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("rows", [5, 21])  # There are fewer and more rows than chains.
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_normalize_weight_gradient_equals_equation_3(floatx, compiled, rows, many_numbers):
    """Checks the gradients g / |v| (dw - (dw . v) v / |v|^2) for v (orthogonal to v), and dw . v / |v| for g."""
    rng = np.random.default_rng(1)
    v, dw = rng.normal(size=(2, rows, 3)).astype(floatx)
    g = np.array([[0.5, 1.0, 2.0]], floatx)
    upstream, length, direction = (ops.convert_to_tensor(value) for value in (dw, g, v))
    _, by_v = value_and_gradient(lambda v: ops.sum(upstream * normalize_weight(v, length, (0,))), v, compiled)
    _, by_g = value_and_gradient(lambda g: ops.sum(upstream * normalize_weight(direction, g, (0,))), g, compiled)
    limits = tolerance(floatx, ("tensorflow", "jax"))
    norm = np.sqrt((v**2).sum(0))
    np.testing.assert_allclose(by_v, g / norm * (dw - (dw * v).sum(0) * v / norm**2), **limits)
    np.testing.assert_allclose(by_g, (dw * v).sum(0, keepdims=True) / norm, **limits)
    np.testing.assert_allclose((by_v * v).sum(0), 0, atol=10 * limits["atol"])


def test_weight_length_of_zeros_has_finite_gradients():
    v = np.zeros((4, 2), "float32")
    value, gradient = value_and_gradient(lambda v: ops.sum(weight_length(v, (0,))), v)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_normalize_weight_scales_tiny_vectors_by_shortest_length(compiled, many_numbers):
    """Checks w = 1e6 g v for tiny vectors, and its gradient, which keeps the part along v."""
    v = np.array([[0.0, 6e-8, 3.0], [0.0, -8e-8, 4.0]], "float32")
    length, upstream = (
        ops.convert_to_tensor([[1.0, 2.0, 5.0]]),
        ops.convert_to_tensor([[1.0, 1.0, 3.0], [2.0, 0.5, 4.0]]),
    )
    _, gradient = value_and_gradient(lambda v: ops.sum(upstream * normalize_weight(v, length, (0,))), v, compiled)
    np.testing.assert_allclose(gradient, [[1e6, 2e6, 0], [2e6, 1e6, 0]], rtol=1e-5, atol=1e-5)
    _, by_length = value_and_gradient(
        lambda length: ops.sum(upstream * normalize_weight(ops.convert_to_tensor(v), length, (-2,))),
        np.array([1, 2, 5], "float32"),  # The lengths have fewer axes than the weights.
        compiled,
    )
    np.testing.assert_allclose(by_length, [0, 0.06 - 0.04, 5], rtol=1e-4)


@pytest.mark.parametrize("axes", [(), (2,), (-3,), (0, 2)])
def test_weight_normalization_functions_reject_missing_axes(axes):
    v = np.ones((4, 3), "float32")
    for function in (lambda: normalize_weight(v, np.ones((1, 3), "float32"), axes), lambda: weight_length(v, axes)):
        with pytest.raises(ValueError, match=re.escape(f"input_axes={axes}")):
            function()


@pytest.mark.parametrize("shape", [(1, 5), (4, 3), (4,), (1, 1, 3)])
def test_normalize_weight_rejects_lengths_of_another_shape(shape):
    with pytest.raises(
        ValueError, match=re.escape(f"(1, 3), or one that broadcasts to it. Received: length of shape {shape}")
    ):
        normalize_weight(np.ones((4, 3), "float32"), np.ones(shape, "float32"), (0,))


def test_data_dependent_initialization_gives_mean_0_and_variance_1():
    z = 3 + 2 * np.random.default_rng(0).normal(size=(50, 4)).astype(keras.config.floatx())
    factor, bias = data_dependent_initialization(z.mean(0), z.var(0))
    y = z * ops.convert_to_numpy(factor) + ops.convert_to_numpy(bias)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(0), 1, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends use their own gradient")
def test_normalize_weight_second_derivatives_match_backend(many_numbers):
    """Compares second derivatives, which self-tuning uses. In eager mode the gradient is TensorFlow's own."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    v, g, upstream = (ops.convert_to_tensor(rng.normal(size=size)) for size in ((21, 3), (1, 3), (21, 3)))

    def gradients_of_gradients(v, g):
        with tf.GradientTape() as outer:
            outer.watch([v, g])
            with tf.GradientTape() as inner:
                inner.watch([v, g])
                value = ops.sum(ops.sin(normalize_weight(v, g, (0,))) * upstream)
            by_v, by_g = inner.gradient(value, [v, g])
            total = ops.sum(by_v**3) + ops.sum(by_g**2)
        return outer.gradient(total, [v, g])

    expected = gradients_of_gradients(v, g)
    for compile_by_xla in (False, True):
        got = tf.function(gradients_of_gradients, jit_compile=compile_by_xla)(v, g)
        for compiled, eager in zip(got, expected, strict=True):
            np.testing.assert_allclose(compiled, eager, rtol=1e-10, atol=1e-12)
