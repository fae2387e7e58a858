"""Tests of self-tuning for compander scales and label callbacks, against finite differences of training runs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from keras_reg.callbacks import SelfTuning, TunableLabelSmoothing, TunableMixup
from keras_reg.layers import WeightCompander
from keras_reg.tune import Float
from tests.support.tiers import ON_TORCH

L = keras.layers
EPSILON = 1e-3
FEATURES, SAMPLES = 4, 60


def gradient_of(solve, tuning_loss, value):
    """Computes the derivative of the tuning loss at the trained weights from two solutions of the training problem."""
    losses = [tuning_loss(solve(value + sign * EPSILON), value + sign * EPSILON) for sign in (1, -1)]
    return (losses[0] - losses[1]) / (2 * EPSILON)


def minimize(gradient, start):
    """Returns the minimum of a smooth convex function with this gradient."""
    shape = np.shape(start)
    result = scipy.optimize.root(lambda point: gradient(point.reshape(shape)).ravel(), np.ravel(start), tol=1e-12)
    point = result.x.reshape(shape)
    assert np.abs(gradient(point)).max() < 1e-9
    return point


def hypergradient(model, data, tuning_data, repeated=50, steps=300, averaged=20, callbacks=()):
    """Returns the gradients of SelfTuning at fixed weights. Repeated samples average over perturbations."""
    tuning = SelfTuning(
        tuning_data,
        train_steps=1,
        warmup_steps=steps - averaged,
        scale=0.25,
        learning_rate=1e-9,
        response_optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, steps)),
        seed=0,
    )
    x, y = (np.concatenate([array] * repeated) for array in data)
    batches = ((x, y) for _ in range(steps))
    model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[*callbacks, tuning])
    return tuning.gradients


def regression():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2 * SAMPLES, FEATURES))
    y = x @ np.array([0.6, -0.3, 0.2, 0.1]) + 0.5 * rng.normal(size=2 * SAMPLES)
    return (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])


def float32(pair):
    return pair[0].astype("float32"), pair[1].astype("float32")[:, None]


@ON_TORCH
@pytest.mark.parametrize("tuned", ["a", "b"])
def test_self_tuning_hypergradient_matches_compander_scales(tuned):
    """Checks a regression with a penalty on the parameter, whose response opposes the change of the scale."""
    (x, y), (x_tuning, y_tuning) = regression()
    scales, strength = {"a": 2.0, "b": 1.5}, 1.0

    def scales_at(value):
        return {**scales, tuned: value}

    def solve(value):
        a, b = scales_at(value).values()

        def gradient(v):
            residual = x @ (a * np.arctan(v / b)) - y
            return 2 / SAMPLES * (x.T @ residual) * a * b / (b**2 + v**2) + 2 * strength * v

        return minimize(gradient, np.zeros(FEATURES))

    def tuning_loss(v, value):
        a, b = scales_at(value).values()
        return np.mean((x_tuning @ (a * np.arctan(v / b)) - y_tuning) ** 2)

    handle = Float(tuned, scales[tuned], low=0.05, log=True)
    dense = L.Dense(1, use_bias=False, kernel_regularizer=keras.regularizers.L2(strength))
    layer = WeightCompander(dense, **{**scales, tuned: handle}, decay_on="parameter")
    model = keras.Sequential([keras.Input((FEATURES,)), layer])
    layer.layer.kernel.assign(solve(scales[tuned])[:, None])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    expected = gradient_of(solve, tuning_loss, scales[tuned]) * (scales[tuned] - 0.05)
    data = float32((x, y)), float32((x_tuning, y_tuning))
    gradient = hypergradient(model, *data, repeated=1, steps=400, averaged=200)[tuned]
    assert gradient == pytest.approx(expected, rel=0.2)


def classes():
    """Returns training and tuning data with three classes that overlap."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 2 * SAMPLES)
    x = rng.normal(size=(2 * SAMPLES, FEATURES)) + 1.2 * np.eye(FEATURES)[y]
    return (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


DECAY = 0.02


def softmax_regression(x, targets):
    """Returns the weights with the least cross-entropy with these labels plus a penalty."""

    def gradient(kernel):
        return x.T @ (np.exp(log_softmax(x @ kernel)) - targets) / len(x) + 2 * DECAY * kernel

    return minimize(gradient, np.zeros((FEATURES, 3)))


def cross_entropy_of(data):
    x, y = data
    return lambda kernel, value: -np.mean(log_softmax(x @ kernel)[np.arange(len(y)), y])


def linear(kernel, loss):
    dense = L.Dense(3, use_bias=False, kernel_regularizer=keras.regularizers.L2(DECAY))
    model = keras.Sequential([keras.Input((FEATURES,)), dense])
    dense.kernel.assign(kernel)
    model.compile(keras.optimizers.SGD(0.0), loss)
    return model


@ON_TORCH
@pytest.mark.parametrize("sparse", [True, False])
def test_self_tuning_hypergradient_matches_label_smoothing_rate(sparse):
    training, tuning = classes()
    value, high = 0.2, 0.5

    def solve(rate):
        return softmax_regression(training[0], (1 - rate) * np.eye(3)[training[1]] + rate / 3)

    losses = keras.losses
    loss = (losses.SparseCategoricalCrossentropy if sparse else losses.CategoricalCrossentropy)(from_logits=True)
    data = [(x.astype("float32"), y if sparse else np.eye(3, dtype="float32")[y]) for x, y in (training, tuning)]
    rate = Float("rate", value, low=0.0, high=high)
    gradient = hypergradient(linear(solve(value), loss), *data, callbacks=[TunableLabelSmoothing(rate)])["rate"]
    expected = gradient_of(solve, cross_entropy_of(tuning), value) * value * (1 - value / high)
    assert abs(expected) > 5e-3
    assert gradient == pytest.approx(expected, rel=0.12)


@ON_TORCH
def test_self_tuning_hypergradient_matches_mixup_strength():
    """Compares with the mean loss over all pairs and over quantiles of the distribution of their shares."""
    (x, y), tuning = classes()
    value, targets = 0.8, np.eye(3)[y]
    first, second = (grid.ravel() for grid in np.meshgrid(np.arange(SAMPLES), np.arange(SAMPLES)))

    def solve(alpha):
        shares = scipy.stats.beta(alpha, alpha).ppf(0.5 + (np.arange(8) + 0.5) / 16)
        mixed, labels = (
            np.concatenate([share * array[first] + (1 - share) * array[second] for share in shares])
            for array in (x, targets)
        )
        return softmax_regression(mixed, labels)

    model = linear(solve(value), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = [(inputs.astype("float32"), labels) for inputs, labels in ((x, y), tuning)]
    mixup = TunableMixup(Float("alpha", value, low=0.0, log=True), seed=1)
    gradient = hypergradient(model, *data, callbacks=[mixup])["alpha"]
    expected = gradient_of(solve, cross_entropy_of(tuning), value) * value
    assert abs(expected) > 2e-3
    assert gradient == pytest.approx(expected, rel=0.25)
