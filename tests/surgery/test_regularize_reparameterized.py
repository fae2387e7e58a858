"""Tests of regularizers of reparameterized layers, which apply to the weight or to the parameter."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import apply_regularizer, fold, remove_regularizers
from keras_reg.layers import ReparameterizedLayer, SigmaReparam, WeightCompander

HALF = keras.regularizers.L2(0.5)


def companded(**arguments):
    layer = WeightCompander(layers.Dense(3, name="dense"), a=0.9, b=0.4, **arguments)
    return keras.Sequential([keras.Input((4,)), layer])


def penalty(kernel):
    return 0.5 * float(np.sum(ops.convert_to_numpy(kernel) ** 2))


@pytest.mark.parametrize(
    ("arguments", "on_weight"),
    [
        ({}, True),
        ({"learnable": True}, False),
        ({"decay_on": "parameter"}, False),
        ({"decay_on": "weight", "learnable": True}, True),
    ],
)
def test_applied_regularizer_acts_on_weight_or_parameter_of_compander(arguments, on_weight, tmp_path):
    model = companded(**arguments)
    (changed,) = apply_regularizer(model, HALF)
    parameter, weight = penalty(changed), penalty(fold(model).layers[0].kernel)
    assert abs(parameter - weight) > 0.01 * weight
    expected = weight if on_weight else parameter
    np.testing.assert_allclose([float(ops.convert_to_numpy(loss)) for loss in model.losses], [expected], rtol=1e-5)
    # The second regularizer replaces the first one and does not wrap it.
    apply_regularizer(model, HALF)
    np.testing.assert_allclose([float(ops.convert_to_numpy(loss)) for loss in model.losses], [expected], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose([float(ops.convert_to_numpy(loss)) for loss in loaded.losses], [expected], rtol=1e-5)
    np.testing.assert_allclose(float(ops.convert_to_numpy(fold(model).losses[0])), weight, rtol=1e-5)
    assert remove_regularizers(model) == [changed]
    assert not model.losses


class Halved(ReparameterizedLayer):
    """A layer whose regularizer is a function."""

    def effective(self, kernel, parameter, training=False):
        return parameter

    def set_effective(self, kernel, weight):
        kernel.variable.assign(weight)

    def regularizer(self, kernel, regularizer):
        return lambda parameter: 0.5 * regularizer(parameter)


def test_reparameterized_layer_may_return_function_as_regularizer():
    layer = Halved(layers.Dense(3, kernel_regularizer=keras.regularizers.L2(1.0)))
    model = keras.Sequential([keras.Input((4,)), layer])
    (kernel,) = (variable for variable in model.weights if variable.name == "kernel")
    np.testing.assert_allclose(float(ops.convert_to_numpy(model.losses[0])), penalty(kernel), rtol=1e-5)
    apply_regularizer(model, HALF)
    np.testing.assert_allclose(float(ops.convert_to_numpy(model.losses[0])), 0.5 * penalty(kernel), rtol=1e-5)


def test_applied_regularizer_counts_shared_companders_once():
    inputs = keras.Input((3,))
    layer = WeightCompander(layers.Dense(3, name="dense"))
    block = keras.Model(inputs, layer(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="plain")(block(layer(inputs))))
    assert len(apply_regularizer(model, HALF)) == 2
    folded = fold(model)
    kernels = {v.path: v for v in folded.trainable_variables if v.name == "kernel"}.values()
    expected = sorted(penalty(kernel) for kernel in kernels)
    got = sorted(float(ops.convert_to_numpy(loss)) for loss in model.losses)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_applied_regularizer_acts_on_parameter_of_other_wrappers():
    model = keras.Sequential([keras.Input((4,)), SigmaReparam(layers.Dense(3))])
    (changed,) = apply_regularizer(model, HALF)
    assert changed.regularizer is HALF
    np.testing.assert_allclose(float(ops.convert_to_numpy(model.losses[0])), penalty(changed), rtol=1e-5)


def test_regularizer_of_companded_kernel_is_in_the_gradient():
    """Checks a step of gradient descent on the penalty alone: v - rate * w(v) * w'(v)."""
    model = companded()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    (changed,) = apply_regularizer(model, HALF)
    v = ops.convert_to_numpy(changed).astype("float64")
    model.fit(np.zeros((8, 4), "float32"), np.zeros((8, 3), "float32"), verbose=0)
    expected = v - 0.1 * 0.9 * np.arctan(v / 0.4) * 0.9 * 0.4 / (0.4**2 + v**2)
    np.testing.assert_allclose(ops.convert_to_numpy(changed), expected, rtol=1e-5, atol=1e-6)


def test_strength_of_companded_kernel_changes_without_retracing():
    """Checks that the model tracks the strength. JAX would compile an untracked array into the step as a constant."""
    model = companded()
    strength = keras_reg.tune.Float("decay", init=0.5, low=0.0)
    (changed,) = apply_regularizer(model, keras_reg.regularizers.TunableL2(strength))
    assert keras_reg.tune.hyperparameters(model) == {"decay": [strength]}
    model.compile(keras.optimizers.SGD(0.0), "mse")
    # The penalty is half of the sum of squares.
    weight = penalty(fold(model).layers[0].kernel)
    data = np.zeros((8, 4), "float32"), np.zeros((8, 3), "float32")
    for value in (0.5, 2.0):
        strength.set(value)
        loss = model.fit(*data, batch_size=8, verbose=0).history["loss"][0]
        np.testing.assert_allclose(loss, 2 * value * weight, rtol=1e-5)
    assert abs(penalty(changed) - weight) > 0.01 * weight
