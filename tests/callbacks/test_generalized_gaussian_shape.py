"""Tests of the logged shape of the weights, and of priors that follow it without retracing in each epoch."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg import NoEffectWarning, apply_regularizer
from keras_reg.callbacks import GeneralizedGaussianShape
from keras_reg.ops import generalized_gaussian_penalty
from keras_reg.ops.generalized_gaussian import generalized_gaussian_shape
from keras_reg.regularizers import GeneralizedGaussianPrior
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import array

X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
NAME = "generalized_gaussian_shape"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(8, "tanh", name="hidden"), keras.layers.Dense(6, name="head")]

    def call(self, inputs):
        return self.parts[1](self.parts[0](inputs))


def network(build="sequential", strength=None, **prior):
    keras.utils.set_random_seed(1)
    if build == "subclassed":
        model = Subclassed()
        model(X)
    else:
        model = keras.Sequential([keras.Input((6,)), *Subclassed().parts])
    rng = np.random.default_rng(2)
    model.set_weights([0.3 * rng.laplace(size=w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    if strength is not None:
        apply_regularizer(model, GeneralizedGaussianPrior(strength, **prior), variables="kernel")
    return model


def prior_of(model):
    return model.trainable_variables[0].regularizer


def fit(model, *callbacks, epochs=3, **arguments):
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(X, X, epochs=epochs, callbacks=list(callbacks), **arguments).history


def shape_of(*variables):
    return float(generalized_gaussian_shape([array(variable) for variable in variables]))


class Recorder(keras.callbacks.Callback):
    """Records the shape of the prior in each epoch, and the step functions."""

    def __init__(self):
        super().__init__()
        self.shapes, self.steps, self.losses = [], set(), []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.shapes.append(prior_of(self.model).shape)
        self.steps.add(self.model.train_function)


@ON_TORCH
def test_gaussian_shape_callback_logs_shape_and_keeps_training_unchanged():
    model, plain = network(), network()
    history = fit(model, GeneralizedGaussianShape())
    np.testing.assert_array_equal(history["loss"], fit(plain)["loss"])
    assert len(history[NAME]) == 3
    assert history[NAME][-1] == pytest.approx(shape_of(*model.trainable_variables), rel=1e-6)
    assert history[NAME][0] != history[NAME][-1]


@NOT_ON_JAX
def test_gaussian_shape_callback_selects_weights():
    patterns = {"include": "hidden", "variables": "kernel"}
    model = network()
    model.layers[1].trainable = False
    assert fit(model, GeneralizedGaussianShape(**patterns))[NAME][-1] == pytest.approx(shape_of(model.layers[0].kernel))
    history = fit(model, GeneralizedGaussianShape())
    assert history[NAME][-1] == pytest.approx(shape_of(*model.layers[0].variables))  # Frozen weights are not included.


@ON_TORCH
@pytest.mark.parametrize("build", ["sequential", "subclassed"])
def test_generalized_gaussian_prior_follows_weights_each_epoch(build, compile_modes):
    """Checks that the penalty of each epoch has the shape from the start of the epoch, also in compiled steps."""
    for mode in compile_modes:
        model = network(build, 0.05, offset=0.01)
        model.compile(keras.optimizers.SGD(0.05), "mse", **mode)
        recorder = Recorder()
        expected = []

        def simulate(epoch, logs, model=model, expected=expected):
            expected.append(round(20 * shape_of(*model.trainable_variables)) / 20)

        before = keras.callbacks.LambdaCallback(on_epoch_begin=simulate)
        fit(model, before, GeneralizedGaussianShape(adapt=True), recorder, epochs=4)
        assert recorder.shapes == pytest.approx(expected)
        assert len(set(expected)) > 1, "the shape of the weights never changed"
        kernels = model.trainable_variables[::2]
        penalty = sum(float(generalized_gaussian_penalty(array(k), prior_of(model).shape, 0.01)) for k in kernels)
        np.testing.assert_allclose(float(sum(array(loss) for loss in model.losses)), 0.05 * penalty, rtol=1e-5)


@NOT_ON_JAX
def test_generalized_gaussian_gradient_uses_adapted_shape():
    """Checks one step with a loss that is always 0, so only the prior changes the weights."""
    model = network(strength=0.5, shape=2.9, offset=0.01)
    kernel = model.layers[0].kernel
    before = array(kernel)
    shape = round(20 * shape_of(*model.trainable_variables)) / 20
    model.compile(keras.optimizers.SGD(0.01), lambda y_true, y_pred: 0.0 * keras.ops.sum(y_pred, -1))
    model.fit(X, X, batch_size=24, verbose=0, callbacks=[GeneralizedGaussianShape(adapt=True)])
    gradient = 0.5 * shape * np.sign(before) * (np.abs(before) + 0.01) ** (shape - 1)
    np.testing.assert_allclose(array(kernel), before - 0.01 * gradient, rtol=1e-4, atol=1e-6)
    assert shape < 2


def test_gaussian_shape_callback_traces_no_step_for_equal_rounded_shape():
    model, recorder = network(strength=1e-6), Recorder()
    model.optimizer.learning_rate = 1e-6
    fit(model, GeneralizedGaussianShape(adapt=True, step=0.5), recorder, epochs=4)
    assert len(set(recorder.shapes)) == 1
    assert len(recorder.steps) == 1


@ON_TORCH
def test_gaussian_shape_callback_resumes_exactly(tmp_path):
    """Checks resumed training. The shape depends only on the weights at the start of an epoch."""
    straight = network(strength=0.05, offset=0.01)
    fit(straight, GeneralizedGaussianShape(adapt=True), epochs=4)
    stopped = network(strength=0.05, offset=0.01)
    fit(stopped, GeneralizedGaussianShape(adapt=True), epochs=2)
    stopped.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    fit(resumed, GeneralizedGaussianShape(adapt=True), epochs=4, initial_epoch=2)
    for value, expected in zip(resumed.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_prior_without_offset_keeps_shape_of_1_or_more():
    model = network(strength=1e-4, offset=0.0)
    model.layers[0].kernel.assign(np.eye(6, 8))
    callback = GeneralizedGaussianShape(adapt=True, include="hidden", variables="kernel")
    assert fit(model, callback, epochs=1)[NAME][0] < 1
    assert prior_of(model).shape == 1.0


@ON_TORCH
def test_gaussian_shape_callback_warns_of_no_effect():
    with pytest.warns(NoEffectWarning, match="no shape is adapted.*Received: adapt=True"):
        fit(network(), GeneralizedGaussianShape(adapt=True))
    with pytest.warns(NoEffectWarning, match="no shape is measured.*Received: include='nowhere'"):
        history = fit(network(), GeneralizedGaussianShape(include="nowhere"))
    assert NAME not in history
