"""Tests of Self-Tuning Networks: the authors' three steps in a `fit`, and models of layers that respond."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg import fold
from keras_reg.callbacks import SelfTuning
from keras_reg.callbacks._self_tuning import stn_steps
from keras_reg.layers import HyperDense, TunableDropout
from keras_reg.tune import Float
from tests.support.stn import GOLDEN, LAYERS, TAU
from tests.support.tiers import ON_TORCH

CROSSENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
UNITS = (6, 5, 3)


def network(prefix):
    """Returns the authors' network, which does not train a factor of the general weights."""
    handles = [Float("dropout", 0.05, low=0.0, high=0.95), Float("l2", 0.02, low=0.0)]
    layers = [
        HyperDense(units, "relu" if units > 3 else None, hyperparameters=handles, centered=False) for units in UNITS
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    for layer in layers:
        layer.responses[0].scalar.trainable = False
    for variable, value in zip(model.trainable_variables, weights(prefix), strict=True):
        variable.assign(value)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), CROSSENTROPY)
    return model


def weights(prefix):
    """Yields the golden weights in the order of the variables of the layers."""
    for layer in range(LAYERS):
        names = ("general_weight", "general_bias", "response_weight", "response_bias", "hyper_bottleneck.weight")
        yield from (GOLDEN[f"{prefix}/layers.{layer}.{name}"].T for name in names)


def test_stn_matches_golden_loss_and_gradients_of_three_steps(monkeypatch):
    """Compares two training steps with perturbed hyperparameters, and one step of hyperparameters and scales."""
    # Each step draws noise for the hyperparameter step too. The first of these draws is not used.
    noise = [GOLDEN["steps_stn/noise0"], np.zeros((5, 2)), GOLDEN["steps_stn/noise1"], GOLDEN["steps_stn/noise2"]]
    traced = []

    def draw_golden(shape, seed):
        traced.append(ops.convert_to_tensor(noise[len(traced)].astype("float32")))
        return traced[-1]

    monkeypatch.setattr(stn_steps, "standard_normal", draw_golden)
    model = network("steps_stn/init")
    model.run_eagerly = True  # A compiled step would draw numbers only once.
    data = [tuple(GOLDEN[f"delta_net/{name}"] for name in names) for names in (("x", "y"), ("xv", "yv"))]
    data = [(x.astype("float32"), y.astype("int32")) for x, y in data]
    tuning = SelfTuning(
        data[1], kind="stn", train_steps=2, warmup_steps=0, tune_scale=True, entropy_weight=TAU, max_step=1.0
    )
    start = {"on_train_begin": lambda logs=None: tuning._tuned.scales.assign(GOLDEN["steps_stn/init/h_scale"])}
    x, y = (np.concatenate(parts) for parts in zip(*data, strict=True))
    callbacks = [tuning, keras.callbacks.LambdaCallback(**start)]
    history = model.fit(x, y, batch_size=5, shuffle=False, verbose=0, callbacks=callbacks).history
    losses = [GOLDEN[f"steps_stn/loss{index}"] for index in (0, 1)]
    np.testing.assert_allclose(history["loss"][0], np.mean(losses), rtol=1e-5)
    for variable, expected in zip(model.trainable_variables, weights("steps_stn/after2"), strict=True):
        value = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6, err_msg=variable.path)
    for variable, name in ((tuning._tuned.free, "h_tensor"), (tuning._tuned.scales, "h_scale")):
        value = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(value, GOLDEN[f"steps_stn/after2/{name}"], rtol=1e-5, atol=2e-6, err_msg=name)


@ON_TORCH
@pytest.mark.parametrize("centered", [True, False])
def test_stn_lowers_a_too_large_strength(digits, centered):
    """Checks both forms of the layers, and that the folded model makes the same predictions."""
    x, y = digits
    keras.utils.set_random_seed(0)
    decay, rate = Float("l2", 0.03, low=0.0, log=True), Float("rate", 0.1, low=0.0, high=0.9)
    both = {"hyperparameters": [decay, rate], "centered": centered, "l2": decay}
    layers = [HyperDense(16, "relu", **both), TunableDropout(rate, seed=1), HyperDense(10, **both)]
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), CROSSENTROPY)
    tuning = SelfTuning(
        (x[200:], y[200:]), [decay], kind="stn", warmup_steps=60, train_steps=2, learning_rate=0.05, seed=0
    )
    history = model.fit(x[:120], y[:120], batch_size=20, epochs=30, verbose=0, callbacks=[tuning]).history
    assert history["l2"][-1] < 0.015
    assert history["tuning_loss"][-1] < history["tuning_loss"][0]  # The first epoch after the warm-up.
    np.testing.assert_allclose(fold(model).predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_stn_rejects_model_of_ordinary_layers(digits):
    model = keras.Sequential(
        [keras.Input((64,)), TunableDropout(Float("rate", 0.1, low=0.0, high=0.9)), keras.layers.Dense(10)]
    )
    model.compile("sgd", CROSSENTROPY)
    with pytest.raises(ValueError, match="weights respond"):
        model.fit(*digits, verbose=0, callbacks=[SelfTuning((digits[0] + 0, digits[1] + 0), kind="stn")])
    with pytest.raises(ValueError, match="kind='beta'"):
        SelfTuning(kind="beta")
