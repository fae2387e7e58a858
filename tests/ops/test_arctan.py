"""Tests of the arctangent for XLA over all numbers, and of the derivatives of the scaled one, eager and compiled."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.arctan import polynomial_arctan, scaled_arctan

BACKEND = keras.backend.backend()
SIZES = np.concatenate([np.linspace(0, 1.2, 200_001), np.logspace(-30, 30, 200_001)])
NUMBERS = np.concatenate([-SIZES[::-1], SIZES]).astype("float32")


def test_polynomial_arctan_is_accurate_to_rounding():
    exact = np.arctan(NUMBERS.astype("float64"))
    unit = np.spacing(np.abs(exact).astype("float32"))
    error = np.abs(ops.convert_to_numpy(polynomial_arctan(NUMBERS)) - exact) / unit
    assert error.max() < 2.5
    assert error.mean() < 0.4


def test_polynomial_arctan_handles_extreme_values():
    got = ops.convert_to_numpy(polynomial_arctan(np.array([0, np.inf, -np.inf, np.nan, 3e38, 1e-45], "float32")))
    np.testing.assert_allclose(got, [0, np.pi / 2, -np.pi / 2, np.nan, np.pi / 2, 0], rtol=1e-6, atol=1e-40)


def compiled(function):
    """Returns the function as it runs in a compiled step."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def value_and_gradients(x, a, b, upstream):
    """Returns the value, and the gradients of sum(upstream * value)."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([x, a, b])
            value = scaled_arctan(x, a, b)
        return value, tape.gradient(value, [x, a, b], output_gradients=upstream)
    import jax

    value, backward = jax.vjp(scaled_arctan, x, a, b)
    return value, backward(upstream)


@pytest.mark.skipif(
    BACKEND == "torch", reason="PyTorch uses its own arctangent, see tests/ops/test_weight_compander.py"
)
@pytest.mark.parametrize("wrap", [lambda function: function, compiled], ids=["eager", "compiled"])
def test_scaled_arctan_value_and_gradients_equal_formula(wrap, many_numbers):
    rng = np.random.default_rng(0)
    x, upstream = 3 * rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    a, b = 0.6, 1.3
    value, gradients = wrap(value_and_gradients)(
        *(ops.convert_to_tensor(value, "float32") for value in (x, a, b, upstream))
    )
    expected = (
        upstream * a * b / (b**2 + x**2),
        (upstream * np.arctan(x / b)).sum(),
        (-upstream * a * x / (b**2 + x**2)).sum(),
    )
    np.testing.assert_allclose(ops.convert_to_numpy(value), a * np.arctan(x / b), rtol=1e-6)
    for gradient, by_formula in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(gradient), by_formula, rtol=2e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow runs operations one by one in a compiled step")
def test_scaled_arctan_is_compiled_in_tensorflow_graphs_without_strategy():
    import tensorflow as tf

    def operations(function):
        x = tf.TensorSpec((4,), "float32")
        return {operation.type for operation in tf.function(function).get_concrete_function(x).graph.get_operations()}

    assert "Atan" not in operations(lambda x: scaled_arctan(x, 0.7, 0.8))
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        assert "Atan" in operations(lambda x: scaled_arctan(x, 0.7, 0.8))
    assert "Atan" in operations(lambda x: scaled_arctan(tf.cast(x, "float64"), 0.7, 0.8))
