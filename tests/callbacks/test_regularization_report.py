"""Tests of the regularization report against NumPy: logs, history and plot."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning
from keras_reg.callbacks import RegularizationReport
from tests.support.tiers import ON_TORCH


def regularized() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, "tanh", kernel_regularizer="l2", bias_regularizer="l1", name="a"),
            layers.Dense(3, name="b"),
            layers.Dense(2, kernel_regularizer=keras_reg.regularizers.NuclearNorm(0.1), name="c"),
        ]
    )
    model.compile("sgd", "mse")
    return model


def fit(model, *callbacks, epochs=2):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 2))
    return model.fit(x, y, epochs=epochs, batch_size=8, verbose=0, callbacks=list(callbacks)).history


@ON_TORCH
def test_regularization_report_measures_weights_at_epoch_end():
    model, report = regularized(), RegularizationReport(zero_threshold=0.5)
    logs = fit(model, report)
    kernels = {name: np.array(ops.convert_to_numpy(model.get_layer(name).kernel), "float64") for name in "ac"}
    bias = np.array(ops.convert_to_numpy(model.get_layer("a").bias), "float64")
    singular = {name: np.linalg.svd(kernel, compute_uv=False) for name, kernel in kernels.items()}
    expected = {
        "a/kernel": 0.01 * np.sum(kernels["a"] ** 2),
        "a/bias": 0.01 * np.sum(np.abs(bias)),
        "c/kernel": 0.1 * singular["c"].sum(),
    }
    measured = {path.split("/", 1)[-1] if path.count("/") > 1 else path: m for path, m in report.history.items()}
    assert {path: len(m["penalty"]) for path, m in measured.items()} == dict.fromkeys(expected, 2)
    for path, penalty in expected.items():
        np.testing.assert_allclose(measured[path]["penalty"][-1], penalty, rtol=1e-4)
    share = sum(expected.values()) / logs["loss"][-1]
    np.testing.assert_allclose(logs["regularization_share"][-1], share, rtol=1e-4)
    np.testing.assert_allclose(logs["spectral_norm"][-1], max(s[0] for s in singular.values()), rtol=1e-5)
    ranks = []
    for s in singular.values():
        p = s / s.sum()
        ranks.append(np.exp(-np.sum(p * np.log(p))) / len(s))
    np.testing.assert_allclose(logs["effective_rank"][-1], np.mean(ranks), rtol=1e-4)
    small = [np.abs(w) <= 0.5 * np.sqrt(np.mean(w**2)) for w in (kernels["a"], bias, kernels["c"])]
    np.testing.assert_allclose(logs["sparsity"][-1], np.mean(np.concatenate([s.ravel() for s in small])), rtol=1e-5)
    assert set(measured["a/bias"]) == {"penalty", "sparsity"}


def test_regularization_report_logs_nan_after_divergence():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2, kernel_regularizer="l2")])
    model.compile("sgd", "mse")
    model.layers[0].kernel.assign(np.full((5, 2), np.nan))
    logs = fit(model, RegularizationReport(), epochs=1)
    names = ("regularization_share", "spectral_norm", "effective_rank", "sparsity")
    np.testing.assert_array_equal([logs[name][0] for name in names], [np.nan, np.nan, np.nan, 0])


@ON_TORCH
def test_regularization_report_measures_every_n_epochs_and_resets_each_fit():
    model, report = regularized(), RegularizationReport(every_n_epochs=2)
    fit(model, report, epochs=5)
    assert report.epochs == [0, 2, 4]
    assert all(len(m["penalty"]) == 3 for m in report.history.values())
    fit(model, report, epochs=1)
    assert report.epochs == [0]


@ON_TORCH
def test_regularization_report_keeps_training_unchanged():
    plain, watched = [], []
    for callbacks, weights in (([], plain), ([RegularizationReport()], watched)):
        keras.utils.set_random_seed(0)
        model = regularized()
        fit(model, *callbacks)
        weights.extend(model.get_weights())
    for value, expected in zip(watched, plain, strict=True):
        np.testing.assert_array_equal(value, expected)


@ON_TORCH
def test_regularization_report_plots_each_weight_and_measure():
    model, report = regularized(), RegularizationReport()
    with pytest.raises(ValueError, match="before `fit`"):
        report.plot()
    fit(model, report)
    lines = [len(axis.lines) for axis in report.plot().axes]
    assert lines == [3, 2, 2, 3]  # Penalty, spectral norm, effective rank, sparsity.


def test_regularization_report_warns_without_regularizers():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.warns(NoEffectWarning, match="nothing to report"):
        logs = fit(model, RegularizationReport())
    assert "sparsity" not in logs
