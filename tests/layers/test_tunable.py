"""Tests of dropout and Gaussian noise with changing hyperparameters: values, gradients, one value per sample."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.layers import TunableDropout, TunableGaussianNoise
from keras_reg.tune import Float, Int
from keras_reg.tune._override import override_values
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

X = np.random.default_rng(0).uniform(1.0, 2.0, (64, 50)).astype("float32")


def to_numpy(tensor):
    return ops.convert_to_numpy(tensor)


def make_rate(value):
    return Float("dropout", value, low=0.0, high=0.9)


def test_tunable_dropout_equals_keras_dropout():
    """Checks the share of zeros, and that the other values are divided by 1 - rate."""
    layer = TunableDropout(make_rate(0.2), seed=1)
    for rate in (0.2, 0.75):
        layer.rate.set(rate)
        out = to_numpy(layer(X, training=True))
        nonzero = out != 0
        np.testing.assert_allclose(out[nonzero], X[nonzero] / (1 - rate), rtol=1e-6)
        assert np.mean(~nonzero) == pytest.approx(rate, abs=0.03)
    layer.rate.set(0.0)
    np.testing.assert_array_equal(to_numpy(layer(X, training=True)), X)
    layer.rate.set(0.5)
    np.testing.assert_array_equal(to_numpy(layer(X)), X)


@ON_TORCH
def test_tunable_dropout_passes_gradients_of_kept_units():
    for compiled in (False, True):
        layer = TunableDropout(make_rate(0.5), seed=1)
        value, gradient = value_and_gradient(lambda x, f=layer: ops.sum(f(x, training=True)), X, compiled)
        assert set(np.unique(gradient)) == {0.0, 2.0}
        np.testing.assert_allclose(value, np.sum(gradient * X), rtol=1e-5)
        noise = TunableGaussianNoise(Float("noise", 0.5, low=0.0), seed=1)
        _, gradient = value_and_gradient(lambda x, f=noise: ops.sum(f(x, training=True) * x), X, compiled)
        # The derivative of (x + n) x is 2 x + n, and n is a normal number times 0.5.
        assert np.std(gradient - 2 * X) == pytest.approx(0.5, rel=0.05)


def test_tunable_dropout_drops_whole_channels_by_noise_shape():
    images = np.ones((16, 3, 3, 8), "float32")
    out = to_numpy(TunableDropout(make_rate(0.5), noise_shape=(None, 1, 1, None), seed=1)(images, training=True))
    assert set(np.unique(out)) == {0.0, 2.0}
    np.testing.assert_array_equal(out, np.broadcast_to(out[:, :1, :1], out.shape))


def test_tunable_gaussian_noise_is_normal():
    layer = TunableGaussianNoise(Float("noise", 0.1, low=0.0), seed=1)
    layer.stddev.set(2.0)
    noise = (to_numpy(layer(np.zeros((400, 250), "float32"), training=True)) / 2).astype("float64").ravel()
    for power, moment in enumerate((0.0, 1.0, 0.0, 3.0), 1):
        assert np.mean(noise**power) == pytest.approx(moment, abs=0.1 if power == 4 else 0.03)
    np.testing.assert_allclose(np.quantile(noise, [0.0228, 0.1587, 0.8413]), [-2, -1, 1], atol=0.03)
    np.testing.assert_array_equal(to_numpy(layer(X)), X)
    layer.stddev.set(0.0)
    np.testing.assert_array_equal(to_numpy(layer(X, training=True)), X)


@NOT_ON_JAX
@pytest.mark.parametrize("shape", [(6, 5), (6, 4, 5), (6, 3, 3, 5)])
def test_tunable_layers_use_perturbed_value_of_each_sample(shape):
    values = np.float32([0.0, 0.1, 0.2, 0.4, 0.6, 0.8])
    factors = values.reshape(-1, *[1] * (len(shape) - 1))
    images = np.ones(shape, "float32")

    def run(cls, name, value):
        with override_values({name: ops.convert_to_tensor(value)}):
            return to_numpy(cls(Float(name, 0.5, low=0.0, high=0.9), seed=1)(images, training=True))

    out = run(TunableDropout, "dropout", values)
    np.testing.assert_allclose(out, np.where(out == 0, 0, np.broadcast_to(1 / (1 - factors), shape)), rtol=1e-5)
    assert np.all(out[0] == 1)
    noise = run(TunableGaussianNoise, "noise", values) - 1
    unit_noise = run(TunableGaussianNoise, "noise", np.float32(1.0)) - 1
    np.testing.assert_allclose(noise, factors * unit_noise, rtol=1e-5, atol=1e-6)


def test_override_values_applies_only_inside_context():
    rate = make_rate(0.5)
    with override_values({"dropout": ops.convert_to_tensor(np.float32(0.1))}):
        with override_values({"other": ops.convert_to_tensor(np.float32(0.3))}):
            assert to_numpy(rate.read()) == np.float32(0.1)
        assert to_numpy(rate.read()) == np.float32(0.1)
    assert to_numpy(rate.read()) == 0.5


@NOT_ON_JAX
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_tunable_dropout_rate_is_exact_in_mixed_precision(policy):
    for layer in (
        TunableDropout(make_rate(0.5), seed=1, dtype=policy),
        TunableGaussianNoise(Float("noise", 0.5, low=0.0), seed=1, dtype=policy),
    ):
        out = layer(X, training=True)
        assert keras.backend.standardize_dtype(out.dtype) == policy.removeprefix("mixed_")
        assert np.all(np.isfinite(to_numpy(ops.cast(out, "float32"))))
        assert not layer.weights
        assert {variable.dtype for variable in layer.variables} == {"float32", layer.seed_generator.state.dtype}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TunableDropout(0.5), r"`rate` must be a `keras_reg.tune.Float`. Received: rate=0.5"),
        (lambda: TunableDropout(Float("r", 0.5, low=0.0)), r"`high` below 1. Received: rate=.*low=0.0, high=None"),
        (lambda: TunableDropout(Float("r", 0.5, low=0.0, high=1.0)), r"below 1. Received: .* high=1.0"),
        (lambda: TunableDropout(Float("r", 0.5, low=-1.0, high=0.9)), r"at least 0 .* Received: .* low=-1.0"),
        (lambda: TunableGaussianNoise(Float("s", 0.5)), r"`low` of at least 0. Received: stddev=.*low=None"),
        (lambda: TunableGaussianNoise("0.5"), r"`stddev` must be .* Received: stddev='0.5'"),
        (lambda: TunableDropout(make_rate(0.5))(np.ones((2, 3), "int32"), training=True), "Received: inputs of type"),
        (lambda: TunableDropout(make_rate(0.5), noise_shape=(1,))(X, training=True), r"as many axes .* Received:"),
        (lambda: TunableDropout(make_rate(0.5), noise_shape=5), r"tuple of integers .* Received: noise_shape=5"),
    ],
)
def test_tunable_layers_reject_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_tunable_gaussian_noise_accepts_integer_hyperparameter():
    assert to_numpy(TunableGaussianNoise(Int("noise", 0, low=0))(X, training=True)).std() == pytest.approx(X.std())
