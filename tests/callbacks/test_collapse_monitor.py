"""Tests of the collapse monitor: measures in the logs, the warning, and unchanged training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.callbacks import CollapseMonitor
from keras_reg.ops import effective_rank
from keras_reg.ops.collapse import uniformity
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

X = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")


def build_model(scale: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(1)
    start = keras.initializers.RandomNormal(stddev=scale)
    hidden = keras.layers.Dense(4, "tanh", name="hidden", kernel_initializer=start, bias_initializer="ones")
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(1, name="head")])
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    return model


@ON_TORCH
def test_collapse_monitor_logs_measures_and_keeps_training_unchanged():
    model, plain = build_model(), build_model()
    monitor = CollapseMonitor("hidden", X)
    history = model.fit(X, X[:, :1], epochs=2, shuffle=False, verbose=0, callbacks=[monitor]).history
    expected = plain.fit(X, X[:, :1], epochs=2, shuffle=False, verbose=0).history
    np.testing.assert_array_equal(history["loss"], expected["loss"])
    kernel, bias = model.get_weights()[:2]
    features = np.tanh(X @ kernel + bias).astype("float32")
    np.testing.assert_allclose(monitor.deviations, features.std(0), rtol=1e-4)
    measures = features.std(0).mean(), float(effective_rank(features)), float(uniformity(features))
    names = ("collapse_deviation", "collapse_rank", "collapse_uniformity")
    np.testing.assert_allclose([history[name][-1] for name in names], measures, rtol=1e-4)
    assert all(len(history[name]) == 2 for name in names)


@ON_TORCH
def test_collapse_monitor_warns_once_of_collapse():
    model = build_model(1e-5)  # Every feature almost equals the bias.
    with pytest.warns(UserWarning, match="representations have collapsed in epoch 1") as seen:
        model.fit(X, X[:, :1], epochs=3, verbose=0, callbacks=[CollapseMonitor("hidden", X)])
    assert sum("collapsed" in str(warning.message) for warning in seen) == 1


@ON_TORCH
def test_collapse_monitor_warns_again_in_second_fit():
    model, monitor = build_model(1e-5), CollapseMonitor("hidden", X)
    for _ in range(2):
        with pytest.warns(UserWarning, match="representations have collapsed in epoch 1"):
            model.fit(X, X[:, :1], verbose=0, callbacks=[monitor])


@NOT_ON_JAX
def test_collapse_monitor_accepts_functions_and_model_outputs():
    model = build_model()
    monitor = CollapseMonitor(lambda data: np.stack([data, 2 * data], axis=1), X)
    model.fit(X, X[:, :1], verbose=0, callbacks=[monitor, CollapseMonitor(None, X, min_rank=0.0)])
    np.testing.assert_allclose(monitor.deviations, np.concatenate([X.std(0), 2 * X.std(0)]), rtol=1e-5)


@NOT_ON_JAX
def test_collapse_monitor_logs_nan_after_divergence():
    model = build_model()
    model.layers[0].kernel.assign(np.full((6, 4), np.nan))
    logs = model.fit(X, X[:, :1], verbose=0, callbacks=[CollapseMonitor("hidden", X)]).history
    assert np.isnan([logs[f"collapse_{name}"][0] for name in ("deviation", "rank", "uniformity")]).all()


def test_collapse_monitor_rejects_unknown_layer():
    with pytest.raises(ValueError, match="Received: layer_or_function='middle'"):
        build_model().fit(X, X[:, :1], verbose=0, callbacks=[CollapseMonitor("middle", X)])
