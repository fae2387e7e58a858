"""Tests that parameters and kernels stay in float32 under mixed precision, and that XLA computes the same values."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.layers import WeightCompander, WeightNormalization
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import BACKEND, CLASSES, IMAGE, ROWS, SEQUENCE, L, array, effective, normal, trained, wrap

ARGUMENTS = {WeightCompander: {"learnable": True}, WeightNormalization: {"data_init": True}}


def round_to_bfloat16(value: np.ndarray) -> np.ndarray:
    return array(keras.ops.cast(keras.ops.cast(value, "bfloat16"), "float32"))


@ON_TORCH
@pytest.mark.parametrize(
    ("cls", "policy", "source"),
    [
        *((cls, "mixed_bfloat16", "layer") for cls in CLASSES),
        (CLASSES[0], "mixed_float16", "layer"),
        (CLASSES[0], "mixed_bfloat16", "global"),
    ],
)
def test_wrapped_layers_keep_parameters_in_float32_in_mixed_precision(policy, cls, source):
    if source == "global":
        keras.config.set_dtype_policy(policy)
    try:
        plain = L.Dense(4, dtype=None if source == "global" else policy)
        layer = wrap(cls, plain, **ARGUMENTS.get(cls, {}))
        model = keras.Sequential([keras.Input((5,)), layer])
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = layer(ROWS, training=True)
    half = policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(outputs.dtype) == half
    assert {v.dtype for v in layer.variables} - {"bool"} == {"float32"}
    (weight,) = effective(layer)
    assert weight.dtype == "float32"
    # The kernel is computed in float32: its values have more digits than 16 bits can represent.
    assert np.any(round_to_bfloat16(weight) != weight)
    expected = ROWS @ weight + array(layer.fold().bias)
    outputs = array(keras.ops.cast(layer(ROWS), "float32"))
    np.testing.assert_allclose(outputs, expected, rtol=0.02, atol=0.05)
    losses = trained(model, ROWS, normal(6, 4), 2)
    assert np.all(np.isfinite(losses))
    folded = layer.fold()
    assert folded.dtype_policy.name == policy
    assert folded.kernel.dtype == "float32"


@ON_TORCH
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16"])
def test_weight_map_receives_float32_in_calls(cls, policy):
    """Records the types of parameters and kernels in calls, in a model whose other layers cast."""
    recorded = []

    class Recorded(cls):
        def effective(self, kernel, parameter, training=False):
            weight = super().effective(kernel, parameter, training)
            recorded.append({keras.backend.standardize_dtype(value.dtype) for value in (parameter, weight)})
            return weight

    lstm = wrap(Recorded, L.LSTM(4, dtype=policy), **ARGUMENTS.get(cls, {}))
    model = keras.Sequential([keras.Input((6, 4)), L.Dense(4, dtype=policy), lstm, L.Dense(1, dtype=policy)])
    recorded.clear()
    trained(model, SEQUENCE, normal(3, 1), 1)
    assert recorded
    assert set.union(*recorded) == {"float32"}


@NOT_ON_JAX
@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no XLA")
@pytest.mark.parametrize("cls", CLASSES)
def test_wrapped_layers_train_the_same_with_xla_and_eagerly(cls):
    results = []
    for mode in ({"run_eagerly": True}, {"jit_compile": True}):
        keras.utils.set_random_seed(4)
        convolution = wrap(cls, L.Conv2D(4, 3, activation="relu"), **ARGUMENTS.get(cls, {}))
        head = wrap(cls, L.Dense(1), **ARGUMENTS.get(cls, {}))
        model = keras.Sequential([keras.Input(IMAGE.shape[1:]), convolution, L.Flatten(), head])
        losses = trained(model, IMAGE, normal(2, 1), 3, **mode)
        results.append((losses, model.predict(IMAGE, verbose=0)))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-4)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-4, atol=1e-4)
