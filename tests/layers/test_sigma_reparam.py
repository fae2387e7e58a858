"""Tests of `SigmaReparam`: the authors' numbers, and updates of the singular vector."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.layers import SigmaReparam
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import ROWS, SEQUENCE, HalfSquares, L, array, effective, normal, step_differences

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "sigma_reparam.npz", allow_pickle=False)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def golden_layer() -> tuple[SigmaReparam, keras.Variable]:
    layer = SigmaReparam(L.Dense(4))
    layer.build(GOLDEN["train.x"].shape)
    layer.layer.kernel.assign(GOLDEN["train.W"].T)
    layer.layer.bias.assign(GOLDEN["train.bias"])
    (gamma,) = (v for v in layer.variables if v.name == "kernel_gamma")
    gamma.assign(GOLDEN["train.gamma"])
    vector = layer.non_trainable_variables[0]
    vector.assign(GOLDEN["train.u0"])
    return layer, vector


def test_sigma_reparam_layer_matches_golden_loss_and_gradients(compile_modes):
    """Compares a training step, and an evaluation, which computes another iteration and stores nothing."""
    x, y = GOLDEN["train.x"].astype("float32"), np.zeros((3, 4), "float32")
    for mode in compile_modes:
        layer, vector = golden_layer()
        loss, gradient = step_differences(layer, HalfSquares(), x, y, **mode)
        assert loss == pytest.approx(0.5 * np.sum(GOLDEN["train.y"] ** 2), rel=1e-5)
        np.testing.assert_allclose(gradient["kernel"], GOLDEN["train.gradW"].T, **CLOSE)
        np.testing.assert_allclose(gradient["kernel_gamma"], GOLDEN["train.grad_gamma"][0], **CLOSE)
        np.testing.assert_allclose(array(vector), GOLDEN["train.u1"], **CLOSE)
    layer, vector = golden_layer()
    np.testing.assert_allclose(array(layer(x, training=True)), GOLDEN["train.y"], **CLOSE)
    for _ in range(2):
        np.testing.assert_allclose(array(layer(x)), GOLDEN["eval_after.y"], **CLOSE)
        np.testing.assert_allclose(array(vector), GOLDEN["eval_after.u_unchanged"], **CLOSE)
    np.testing.assert_allclose(array(layer.fold()(x)), GOLDEN["eval_after.y"], **CLOSE)


def test_sigma_reparam_layer_matches_golden_initial_values():
    plain = L.Dense(4)
    plain.build((None, 5))
    plain.kernel.assign(GOLDEN["init.W"].T)
    layer = SigmaReparam(plain)
    layer.build((None, 5))
    gamma, vector = (next(v for v in layer.variables if v.name.endswith(name)) for name in ("gamma", "vector"))
    np.testing.assert_allclose(array(gamma), GOLDEN["init.gamma0"][0], **CLOSE)
    np.testing.assert_allclose(abs(array(vector) @ GOLDEN["init.u0"]), 1, rtol=1e-5)


@ON_TORCH
def test_sigma_reparam_updates_singular_vector_in_training_only(compile_modes):
    for mode in compile_modes:
        model = keras.Sequential([keras.Input((5,)), SigmaReparam(L.Dense(4)), L.Dense(1)])
        (vector,) = model.non_trainable_variables
        vector.assign(np.eye(5)[0])
        model.compile(keras.optimizers.SGD(0.0), "mse", **mode)
        model.evaluate(ROWS, normal(6, 1), verbose=0)
        model.predict(ROWS, verbose=0)
        np.testing.assert_array_equal(array(vector), np.eye(5)[0])
        model.fit(ROWS, normal(6, 1), batch_size=1, epochs=10, verbose=0)
        left, _, _ = np.linalg.svd(array(model.layers[0].layer.kernel))
        assert abs(array(vector) @ left[:, 0]) > 0.99
        assert vector.trainable is False


@NOT_ON_JAX
@pytest.mark.parametrize("make", [lambda: L.Conv1D(5, 3), lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3))])
def test_sigma_reparam_reshapes_kernel_to_inputs_by_outputs(make):
    layer = SigmaReparam(make())
    layer(SEQUENCE)
    (gamma,) = (v for v in layer.variables if v.name == "kernel_gamma")
    gamma.assign(2.5)
    outputs = 6 if isinstance(layer.layer, L.EinsumDense) else 5
    matrix = effective(layer)[0].reshape(-1, outputs)  # The outputs of these kernels are the last axes.
    np.testing.assert_allclose(np.linalg.norm(matrix, 2), 2.5, rtol=1e-5)


@NOT_ON_JAX
def test_sigma_reparam_has_a_gamma_for_each_attention_projection():
    layer = SigmaReparam(L.MultiHeadAttention(2, 3))
    layer(SEQUENCE, SEQUENCE)
    gammas = [v for v in layer.trainable_variables if v.name.endswith("gamma")]
    assert sorted(v.name for v in gammas) == [
        f"{part}_kernel_gamma" for part in ("attention_output", "key", "query", "value")
    ]
    shapes = {"query": (4, -1), "key": (4, -1), "value": (4, -1), "attention_output": (-1, 4)}
    for kernel, gamma, weight in zip(layer.kernels, gammas, effective(layer), strict=True):
        part = kernel.name.removesuffix("_kernel")
        np.testing.assert_allclose(np.linalg.norm(weight.reshape(shapes[part]), 2), array(gamma), rtol=1e-4)


@ON_TORCH
def test_sigma_reparam_layer_trains_from_zero_kernel(compile_modes):
    """Compares the first step with that of the unwrapped layer. Then gamma, which starts near 0, grows."""
    x, y = ROWS - ROWS.mean(1, keepdims=True), normal(6, 4)

    def make_head() -> keras.Layer:
        return L.Dense(4, kernel_initializer="zeros")

    _, expected = step_differences(make_head(), HalfSquares(), x, y, **compile_modes[0])
    for mode in compile_modes:
        for built_before in (False, True):
            plain = make_head()
            if built_before:
                plain.build(x.shape)
            layer = SigmaReparam(plain)
            loss, gradient = step_differences(layer, HalfSquares(), x, y, **mode)
            assert loss == pytest.approx(0.5 * np.sum(y**2), rel=1e-5)
            np.testing.assert_allclose(gradient["kernel"], expected["kernel"], **CLOSE)
            model = keras.Sequential([keras.Input((5,)), layer])
            model.compile(keras.optimizers.SGD(0.1), "mse", **mode)
            losses = model.fit(x, y, batch_size=6, epochs=40, verbose=0).history["loss"]
            assert losses[-1] < 0.7 * losses[0]
            gamma = next(v for v in layer.variables if v.name == "kernel_gamma")
            np.testing.assert_allclose(np.linalg.norm(effective(layer)[0], 2), abs(array(gamma)), rtol=1e-2)
            assert abs(array(gamma)) > 0.1


def test_sigma_reparam_rejects_kernel_constraint():
    with pytest.raises(ValueError, match=r"constraint.*Received"):
        SigmaReparam(L.Dense(4, kernel_constraint="non_neg"))(ROWS)


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sigma_reparam_accepts_16_bit_layers(dtype):
    plain = L.Dense(4, dtype=dtype)
    plain.build(ROWS.shape)
    layer = SigmaReparam(plain)
    kernel = array(keras.ops.cast(plain.kernel, "float32"))
    np.testing.assert_allclose(array(layer(ROWS, training=True)), array(plain(ROWS)), rtol=3e-2, atol=3e-2)
    (gamma,) = (v for v in layer.variables if v.name == "kernel_gamma")
    assert gamma.dtype == dtype
    np.testing.assert_allclose(array(keras.ops.cast(gamma, "float32")), np.linalg.norm(kernel, 2), rtol=1e-2)
