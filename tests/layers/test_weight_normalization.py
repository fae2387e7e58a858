"""Tests of `WeightNormalization`: golden numbers from tensorflow-addons, and the initialization from data."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.layers import WeightNormalization
from tests.support.tiers import ON_TORCH
from tests.support.wrapped import BACKEND, IMAGE, ROWS, HalfSquares, L, array, normal, step_differences, trained

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "weight_normalization.npz", allow_pickle=False)
CASES = ("dense_init0", "dense_init1", "conv2d_init0", "conv2d_init1")
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def golden_layer(case: str, golden: dict[str, np.ndarray], data_init: bool) -> WeightNormalization:
    """Returns a layer with the golden v, and with the lengths and biases of tensorflow-addons in the recorded call."""
    plain = L.Dense(4) if "dense" in case else L.Conv2D(4, 3, strides=2, padding="same")
    layer = WeightNormalization(plain, data_init=data_init)
    layer.build(golden["x"].shape)
    if data_init:
        # Other inputs initialize the layer, whose additional variables then have values other than 0.
        layer(1 + 3 * golden["x"][::-1], training=True)
    (length,), bias = [v for v in layer.trainable_variables if v.name == "kernel_length"], layer.layer.bias
    layer.layer.kernel.assign(golden["v"])
    length.assign(array(length) + np.reshape(golden["g_after"], length.shape) - array(layer.lengths[0]))
    effective_bias = layer.other_values().get(id(bias), bias.value)
    bias.assign(array(bias) + golden["b_after"] - array(effective_bias))
    return layer


@pytest.mark.parametrize("data_init", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_weight_normalization_layer_matches_golden_loss_and_gradients(case, data_init, compile_modes, many_numbers):
    """Compares the calls after the initialization, because the kernel that initialized TFA is not recorded.

    The upstream gradient is ct.
    """
    golden = {name: GOLDEN[f"{case}/{name}"] for name in ("x", "v", "g_after", "b_after", "y", "ct", "dv", "dg", "db")}
    for mode in compile_modes:
        layer = golden_layer(case, golden, data_init)
        for training in (False, True):
            np.testing.assert_allclose(array(layer(golden["x"], training=training)), golden["y"], **CLOSE)
        loss, gradient = step_differences(layer, HalfSquares(), golden["x"], golden["y"] - golden["ct"], **mode)
        assert loss == pytest.approx(0.5 * np.sum(golden["ct"] ** 2), rel=1e-4)
        np.testing.assert_allclose(gradient["kernel"], golden["dv"], **CLOSE)
        np.testing.assert_allclose(gradient["kernel_length"].ravel(), golden["dg"], **CLOSE)
        np.testing.assert_allclose(gradient["bias"], golden["db"], **CLOSE)


INITIALIZED = {
    "Dense": (lambda: L.Dense(4, activation="relu"), ROWS),
    "no bias": (lambda: L.Dense(4, use_bias=False), ROWS - ROWS.mean(0)),
    "EinsumDense": (lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de"), normal(5, 6, 4)),
    "Conv2D": (lambda: L.Conv2D(4, 3, activation="relu"), IMAGE),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 2), IMAGE),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
}


@ON_TORCH
@pytest.mark.parametrize("name", INITIALIZED)
def test_weight_normalization_initializes_outputs_to_mean_0_and_variance_1(name):
    """Checks outputs before the activation over the first training batch. A second batch changes nothing."""
    make, x = INITIALIZED[name]
    layer = WeightNormalization(make())
    inference = array(layer(x))
    plain = layer.fold()
    np.testing.assert_allclose(array(plain(x)), inference, **CLOSE)  # Inference initializes nothing.
    first = array(layer(x, training=True))
    activation, layer.layer.activation = layer.layer.activation, None
    z = array(layer(x)).astype("float64")
    layer.layer.activation = activation
    axes = tuple(range(z.ndim - (2 if name == "EinsumDense" else 1)))
    np.testing.assert_allclose(z.mean(axes), 0, atol=1e-4)
    np.testing.assert_allclose(z.var(axes), 1, rtol=1e-3)
    values = [array(variable) for variable in layer.variables]
    layer(2 * x + 1, training=True)
    for before, variable in zip(values, layer.variables, strict=True):
        np.testing.assert_array_equal(array(variable), before)
    np.testing.assert_allclose(array(layer(x)), first, **CLOSE)


def test_weight_normalization_initialization_matches_numpy():
    layer = WeightNormalization(L.Dense(4, bias_initializer="ones"))
    layer.build(ROWS.shape)
    layer(ROWS, training=True)
    v = array(layer.layer.kernel)
    z = ROWS @ v + 1
    np.testing.assert_allclose(array(layer.lengths[0])[0], np.sqrt((v**2).sum(0)) / z.std(0), rtol=1e-4)
    np.testing.assert_allclose(array(layer.fold().bias), -z.mean(0) / z.std(0), rtol=1e-4, atol=1e-5)


def model_with(layer: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((5,)), layer, L.Dense(1)])


def test_weight_normalization_initializes_once_in_fit(compile_modes, tmp_path, many_numbers):
    """Checks every way to compile a step. A loaded model continues and does not initialize again."""
    y = normal(6, 1)
    for mode in compile_modes:
        model = model_with(WeightNormalization(L.Dense(4)))
        layer = model.layers[0]
        model.compile(keras.optimizers.SGD(0.0), "mse", **mode)
        model.fit(ROWS, y, batch_size=3, shuffle=False, verbose=0)
        z = array(layer(ROWS[:3])).astype("float64")
        np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(z.var(0), 1, rtol=1e-3)
        lengths = array(layer.lengths[0])
        model.save(tmp_path / "model.keras")
        resumed = keras.models.load_model(tmp_path / "model.keras")
        resumed.fit(3 * ROWS + 1, y, verbose=0)
        np.testing.assert_array_equal(array(resumed.layers[0].lengths[0]), lengths)
        fresh = model_with(WeightNormalization(L.Dense(4)))
        model.save_weights(tmp_path / "model.weights.h5")
        fresh.load_weights(tmp_path / "model.weights.h5")
        fresh(3 * ROWS + 1, training=True)
        np.testing.assert_array_equal(array(fresh.layers[0].lengths[0]), lengths)


def test_weight_normalization_initializes_after_loading_untrained_model(tmp_path):
    model = model_with(WeightNormalization(L.Dense(4)))
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    model(ROWS, training=True)
    np.testing.assert_allclose(array(model.layers[0](ROWS)).var(0), 1, rtol=1e-3)


def test_weight_normalization_keeps_forward_pass_of_built_layers():
    plain = L.Dense(4)
    expected = array(plain(ROWS))
    layer = WeightNormalization(plain)
    np.testing.assert_allclose(array(layer(ROWS, training=True)), expected, **CLOSE)


def test_weight_normalization_trains_lengths_and_directions():
    model = model_with(WeightNormalization(L.Dense(4, kernel_regularizer=keras.regularizers.L2(0.1))))
    layer = model.layers[0]
    before = [array(layer.layer.kernel), array(layer.lengths[0])]
    np.testing.assert_allclose(array(model.losses[0]), 0.1 * (before[0] ** 2).sum(), rtol=1e-5)  # On v, as in TFA.
    trained(model, ROWS, normal(6, 1), jit_compile=BACKEND == "jax")
    after = [array(layer.layer.kernel), array(layer.lengths[0])]
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(after, before, strict=True))
    effective = array(layer.effective(layer.kernels[0], layer.layer.kernel.value))
    np.testing.assert_allclose(np.sqrt((effective**2).sum(0)), np.abs(after[1][0]), rtol=1e-5)


def test_weight_normalization_rejects_constraints_and_wrong_arguments():
    with pytest.raises(ValueError, match=r"constraint.*Received"):
        WeightNormalization(L.Dense(4, kernel_constraint="max_norm"))(ROWS)
    with pytest.raises(ValueError, match="data_init"):
        WeightNormalization(L.Dense(4), data_init="yes")
