"""Tests of directional derivatives: the authors' linearized network, and finite differences for many layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.weight_response import response_gradients, weight_response
from keras_reg.training._derivatives import linearize, value_and_gradient
from tests.support import stn
from tests.support.tolerance import tolerance

L = keras.layers


def test_response_step_matches_golden_loss_and_gradients(floatx):
    """Compares the linearized network and the gradients of its response, with a direction for each sample."""
    weights, factors, scalings = stn.parameters("delta_net/param", floatx)
    x, y = stn.golden("delta_net/x", floatx), stn.golden("delta_net/y")
    weights, factors, scalings = (stn.tensors(arrays) for arrays in (weights, factors, scalings))
    losses, changes = [], []
    sums = [0.0] * 12
    for row, perturbation in enumerate(stn.golden("delta_net/pert", floatx)):
        direction = ops.convert_to_tensor(perturbation)
        shift = [weight_response(f, direction, s) for f, s in zip(factors, scalings, strict=True)]
        outputs, tangents, pullback = linearize(stn.network(x[row : row + 1]), weights, shift)
        value, errors = value_and_gradient(
            lambda tensors, row=row: stn.loss(y[row : row + 1], tensors[0]), [outputs[0] + tangents[0]]
        )
        losses.append(float(value))
        changes.append(ops.convert_to_numpy(tangents[0])[0])
        np.testing.assert_allclose(
            ops.convert_to_numpy(outputs[0])[0], stn.golden("delta_net/f0")[row], **tolerance(floatx)
        )
        pairs = [
            response_gradients(g, f, direction, s) for g, f, s in zip(pullback(errors), factors, scalings, strict=True)
        ]
        sums = [s + ops.convert_to_numpy(g) for s, g in zip(sums, sum(pairs, ()), strict=True)]
    np.testing.assert_allclose(changes, stn.GOLDEN["delta_net/jvp"], **tolerance(floatx))
    np.testing.assert_allclose(np.mean(losses), stn.GOLDEN["delta_net/response_loss"], **tolerance(floatx))
    _, of_factors, of_scalings = stn.parameters("delta_net/grad_response", floatx)
    expected = [array for pair in zip(of_factors, of_scalings, strict=True) for array in pair]
    for got, wanted in zip(sums, expected, strict=True):
        np.testing.assert_allclose(got / 5, wanted, **tolerance(floatx))


MODELS = {
    "normalized": lambda: [L.Dense(5), L.LayerNormalization(), L.Activation("gelu"), L.Dense(3)],
    "convolutions": lambda: [
        L.Reshape((4, 3, 1)),
        L.Conv2D(3, 2, activation="tanh"),
        L.BatchNormalization(),
        L.DepthwiseConv2D(2),
        L.Conv2DTranspose(2, 2),
        L.MaxPooling2D(2),
    ],
    "embedding": lambda: [L.Embedding(9, 4), L.GRU(3)],
    "lstm": lambda: [L.Reshape((4, 3)), L.LSTM(4)],
    "sums": lambda: [L.Reshape((4, 3)), L.Dense(4), Attention(), L.GroupNormalization(2)],
}


class Attention(keras.layers.Layer):
    def build(self, shape):
        self.attention = L.MultiHeadAttention(2, 3)
        self.attention.build(shape, shape)

    def call(self, x):
        return self.attention(x, x)


@pytest.mark.parametrize("name", MODELS)
def test_directional_derivatives_match_finite_differences_in_all_layers(name):
    """Compares with finite differences, and checks that tangent and pullback give the same inner product."""
    integers = name == "embedding"
    model = keras.Sequential([keras.Input((12,), dtype="int32" if integers else "float32"), *MODELS[name]()])
    random = np.random.default_rng(0)
    x = random.integers(0, 9, (2, 12)) if integers else random.normal(size=(2, 12)).astype("float32")
    x = ops.convert_to_tensor(x)
    others = [ops.convert_to_tensor(v) for v in model.non_trainable_variables]
    # Zero biases would hide their contribution, so all weights are random.
    weights = [0.7 * random.normal(size=v.shape).astype("float32") for v in model.trainable_variables]
    direction = [random.normal(size=v.shape).astype("float32") for v in model.trainable_variables]

    def forward(values):
        return [model.stateless_call(values, others, x, training=False)[0]]

    def all_three(weights, direction, cotangent):
        outputs, tangents, pullback = linearize(forward, weights, direction)
        return outputs[0], tangents[0], pullback([cotangent])

    cotangent = random.normal(size=(2, *model.output_shape[1:])).astype("float32")
    arguments = stn.tensors(weights), stn.tensors(direction), ops.convert_to_tensor(cotangent)
    got = compiled(all_three)(*arguments)
    outputs, tangents, pulled = keras.tree.map_structure(lambda t: np.asarray(ops.convert_to_numpy(t), "float64"), got)
    step = 2e-3

    def beside(length):
        moved = [w + length * d for w, d in zip(weights, direction, strict=True)]
        return ops.convert_to_numpy(forward(stn.tensors(moved))[0])

    above, below = beside(step), beside(-step)
    np.testing.assert_allclose(outputs, (above + below) / 2, atol=2e-3)
    np.testing.assert_allclose(tangents, (above - below) / (2 * step), rtol=0.02, atol=0.02 * np.abs(tangents).max())
    product = sum((p * d).sum() for p, d in zip(pulled, direction, strict=True))
    np.testing.assert_allclose(product, (tangents * cotangent).sum(), rtol=1e-3, atol=1e-3)


def compiled(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def test_gradient_of_unused_values_is_zero():
    tensors = stn.tensors([np.float32([2.0]), np.float32([3.0])])
    value, gradients = value_and_gradient(lambda values: ops.sum(values[0] ** 2), tensors)
    assert float(value) == 4.0
    assert [float(g[0]) for g in gradients] == [4.0, 0.0]
    _, gradients = value_and_gradient(lambda values: ops.zeros(()), tensors)
    assert [float(g[0]) for g in gradients] == [0.0, 0.0]
