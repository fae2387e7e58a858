"""Tests of convolutions in branches and loops on JAX: equal results, and the order of axes that is fast on CPUs."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from keras_reg.training._derivatives import value_and_gradient

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX needs it")

LAYERS = {
    "plain": keras.layers.Conv2D(4, 3, strides=2, padding="same"),
    "dilated": keras.layers.Conv2D(4, 3, dilation_rate=2),
    "grouped": keras.layers.Conv2D(4, 3, groups=2),
    "depthwise": keras.layers.DepthwiseConv2D(3, depth_multiplier=2),
    "channels first": keras.layers.Conv2D(4, 3, data_format="channels_first"),
    "transposed": keras.layers.Conv2DTranspose(4, 3, strides=2),
    "of sequences": keras.layers.Conv1D(4, 3),
    "of volumes": keras.layers.Conv3D(4, 2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_convolution_gradients_in_branch_equal_gradients_outside(name):
    import jax

    layer = LAYERS[name]
    rank = {"of sequences": 1, "of volumes": 3}.get(name, 2)
    x = np.random.default_rng(0).normal(size=(3, *[6] * rank, 6)).astype("float32")
    layer.build(x.shape)
    values = [np.asarray(variable) for variable in layer.trainable_variables]

    def loss(tensors):
        *own, images = tensors
        return keras.ops.sum(keras.ops.square(layer.stateless_call(own, [], images)[0]))

    expected = jax.value_and_grad(loss)([*values, x])

    def branch(due, *tensors):
        zeros = [keras.ops.zeros_like(tensor) for tensor in tensors]
        nothing = (keras.ops.zeros(()), zeros)
        return jax.lax.cond(due, lambda: value_and_gradient(loss, list(tensors)), lambda: nothing)

    program = jax.jit(branch).lower(True, *values, x)
    orders = set(re.findall(r"dim_labels=([\w>-]+)", program.as_text("hlo")))
    space = "012"[:rank]
    assert orders == {f"b{space}f_{space}io->b{space}f"}
    found = program.compile()(True, *values, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)  # The order of this long sum differs.
    for mine, theirs in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


def test_convolution_rewrite_keeps_other_operations():
    import jax

    def loss(tensors):
        (x,) = tensors
        # The program has a custom gradient, a loop, a constant, and unused results.
        total = keras.ops.sum(jax.nn.relu(x)) + keras.ops.sum(keras.ops.sort(x, axis=0)[0])
        return keras.ops.fori_loop(0, 3, lambda i, carry: carry * 1.5, total) + 2.0

    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    value, (gradient,) = value_and_gradient(loss, [x])
    expected, (theirs,) = jax.value_and_grad(loss)([x])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs, rtol=1e-6)
