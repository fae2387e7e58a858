"""Tests of which steps and kernels are cut, and of the logs. The conformance suite tests the trained weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning
from keras_reg.callbacks import TrainedRankPruning
from keras_reg.ops.low_rank import truncate_rank
from tests.support.tiers import ON_TORCH

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).normal(size=(40, 5)).astype("float32")


def rank(kernel):
    return int(np.linalg.matrix_rank(np.asarray(ops.convert_to_numpy(kernel), "float32"), tol=1e-4))


class RankRecorder(keras.callbacks.Callback):
    """Records the rank of a kernel at the start of each batch."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel, self.ranks = kernel, []

    def on_train_batch_begin(self, batch, logs=None):
        if self.model is not None:  # Reading `model` updates the variables on JAX.
            self.ranks.append(rank(self.kernel))


def ranks_at_each_step(optimizer=None, epochs=2, **compile_arguments):
    """Returns a mask of the steps that start with a cut kernel, for 5 steps per epoch and `every_n_steps=3`."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **compile_arguments)
    recorder = RankRecorder(model.layers[0].kernel)
    model.fit(X, Y, 8, epochs, verbose=0, callbacks=[TrainedRankPruning(0.5, every_n_steps=3), recorder])
    return np.array(recorder.ranks) < 5


def test_rank_pruning_truncates_kernels_every_third_step(compile_modes):
    for mode in compile_modes:
        np.testing.assert_array_equal(np.flatnonzero(ranks_at_each_step(**mode)), [0, 3, 6, 9])


def test_rank_pruning_truncates_with_steps_per_execution():
    """Checks that executions of the steps 0-1, 2-3, 4, 5-6, 7-8 and 9 are cut if they contain 0, 3, 6 or 9."""
    if keras.backend.backend() == "torch":
        pytest.skip("Keras runs one step per execution on PyTorch")
    np.testing.assert_array_equal(ranks_at_each_step(steps_per_execution=2), [True, True, False, True, False, True])


@ON_TORCH
def test_rank_pruning_counts_gradient_accumulation_steps():
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    cut = ranks_at_each_step(optimizer, epochs=4)
    # There is no update after the steps 0, 6, 12 and 18, so kernels are still cut at the next step.
    np.testing.assert_array_equal(np.flatnonzero(cut), [0, 1, 3, 6, 7, 9, 12, 13, 15, 18, 19])


def test_rank_pruning_counts_steps_of_scaled_losses():
    """Checks an optimizer that scales the loss, and whose own step count stays at 0."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    np.testing.assert_array_equal(np.flatnonzero(ranks_at_each_step(optimizer)), [0, 3, 6, 9])


def conv_model():
    image = keras.Input((6, 6, 4))
    x = layers.Conv2D(8, 3, name="conv")(image)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(layers.DepthwiseConv2D(2, name="depthwise")(x))
    x = layers.Reshape((-1, 8))(x)
    x = layers.Conv1D(6, 1, name="pointwise")(x)
    x = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = layers.Dense(5, trainable=False, name="frozen")(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(4, name="head")(x))
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def fit_images(model, pruning, epochs=1):
    rng = np.random.default_rng(2)
    images, targets = rng.normal(size=(8, 6, 6, 4)).astype("float32"), rng.normal(size=(8, 4)).astype("float32")
    return model.fit(images, targets, 4, epochs, verbose=0, callbacks=[pruning]).history


PROJECTIONS = {f"attention/{name}" for name in ("query", "key", "value", "attention_output")}


@ON_TORCH
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, {"conv", "pointwise", "head", *PROJECTIONS}),
        ({"include": layers.Dense}, {"head"}),
        ({"exclude": ["attention", "p*"]}, {"conv", "head"}),
        (
            {"include": "attention/*e*", "exclude": lambda part: part.name == "value"},
            PROJECTIONS - {"attention/value"},
        ),
    ],
)
def test_rank_pruning_selects_layers(arguments, expected):
    model, pruning = conv_model(), TrainedRankPruning(0.5, every_n_steps=1000, **arguments)
    before = [np.array(value) for value in model.get_weights()]
    model.optimizer.learning_rate = 0.0
    fit_images(model, pruning)
    assert set(pruning.ranks) == expected
    changed = {
        "/".join(variable.path.split("/")[:-1])
        for variable, value in zip(model.weights, before, strict=True)
        if np.abs(ops.convert_to_numpy(variable) - value).max() > 1e-4
    }
    assert changed == expected


@ON_TORCH
@pytest.mark.parametrize("split", ["channel", "spatial", "filter"])
def test_rank_pruning_logs_ranks_of_last_kernels(split):
    model, pruning = conv_model(), TrainedRankPruning(0.8, every_n_steps=2, split=split, include=["conv", "head"])
    history = fit_images(model, pruning, epochs=3)
    kernels = {name: ops.convert_to_numpy(model.get_layer(name).kernel) for name in ("conv", "head")}
    full = {"channel": (8, 4), "spatial": (12, 4), "filter": (4, 1)}[split]
    ranks = {name: ops.convert_to_numpy(truncate_rank(kernel, 0.8, split)[1]) for name, kernel in kernels.items()}
    assert pruning.ranks == {name: value.tolist() for name, value in ranks.items()}
    shares = [np.mean(value) / whole for value, whole in zip(ranks.values(), full, strict=True)]
    assert len(history["rank_share"]) == 3
    np.testing.assert_allclose(history["rank_share"][-1], np.mean(shares), rtol=1e-6)


@ON_TORCH
def test_rank_pruning_continues_after_divergence():
    """Checks that a kernel with NaN stays unchanged, and that the log is NaN."""
    model, pruning = conv_model(), TrainedRankPruning(0.8, every_n_steps=1, include=["conv", "head"])
    fit_images(model, pruning)
    assert set(pruning.ranks) == {"conv", "head"}
    kernel = ops.convert_to_numpy(model.get_layer("conv").kernel)
    hole = np.where(np.arange(kernel.size).reshape(kernel.shape) == 3, np.nan, kernel)
    model.get_layer("conv").kernel.assign(hole)
    model.optimizer.learning_rate = 0.0
    pruning.on_train_batch_begin(0)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.get_layer("conv").kernel), hole)
    logs = {}
    pruning.on_epoch_end(1, logs)
    assert np.isnan(logs["rank_share"])
    assert set(pruning.ranks) == {"head"}


@ON_TORCH
def test_rank_pruning_truncates_attention_projections_as_matrices():
    """Checks kernels of shape (inputs, heads, size) and (heads, size, outputs), which training does not change."""
    model = conv_model()
    model.optimizer.learning_rate = 0.0
    fit_images(model, TrainedRankPruning(0.3, every_n_steps=1))
    for name, shape in (("query", (6, 6)), ("attention_output", (6, 6))):
        (kernel,) = (v for v in model.weights if v.path.endswith(f"{name}/kernel"))
        assert rank(ops.convert_to_numpy(kernel).reshape(shape)) < 3


@ON_TORCH
def test_rank_pruning_with_nuclear_norm_finds_low_rank():
    """Learns a map of rank 1 with noise. The kernel gets rank 1, and the loss is near the noise."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    keras_reg.apply_regularizer(model, keras_reg.regularizers.NuclearNorm(0.02))
    pruning = TrainedRankPruning(0.9, every_n_steps=5)
    targets = X[:, :1] * np.ones(5, "float32") + 0.1 * Y
    history = model.fit(X, targets, 8, 20, verbose=0, callbacks=[pruning]).history
    assert list(pruning.ranks.values()) == [1]
    assert history["rank_share"][0] > history["rank_share"][-1] == 0.2
    assert model.evaluate(X, targets, verbose=0) < 0.1


def test_rank_pruning_truncates_16_bit_variables():
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        model.fit(X, Y, 8, verbose=0, callbacks=[TrainedRankPruning(0.5, every_n_steps=2)])
    finally:
        keras.config.set_dtype_policy("float32")
    kernel = model.layers[0].kernel
    assert keras.backend.standardize_dtype(kernel.dtype) == "bfloat16"
    sigma = np.linalg.svd(np.asarray(ops.convert_to_numpy(kernel), "float32"), compute_uv=False)
    assert sigma[3] < 0.01 * sigma[0]


@ON_TORCH
def test_rank_pruning_warns_of_skipped_layers():
    model = conv_model()
    pruning = TrainedRankPruning(include=["grouped", "depthwise", "frozen"])
    with pytest.warns(NoEffectWarning, match=r"grouped convolution.*'frozen': 'it is frozen'"):
        history = fit_images(model, pruning)
    assert "rank_share" not in history
    plain = keras.Sequential([keras.Input((6,)), layers.Dense(5)])
    wrapped = keras_reg.reparameterize(plain, keras_reg.layers.SigmaReparam)
    wrapped.compile("sgd", "mse")
    with pytest.warns(NoEffectWarning, match="fold the model first"):
        wrapped.fit(X, Y, verbose=0, callbacks=[TrainedRankPruning()])


@keras.saving.register_keras_serializable("tests")
def is_wide(layer):
    return layer.units > 5


def test_rank_pruning_config_restores_all_kinds_of_patterns():
    pruning = TrainedRankPruning(include=is_wide, exclude=("head", layers.Conv2D, is_wide))
    again = TrainedRankPruning.from_config(pruning.get_config())
    assert again.include is is_wide
    assert again.exclude == ["head", layers.Conv2D, is_wide]
