"""Tests of saving, loading, exporting and folding wrapped layers, with LoRA and in a new process."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_reg.layers import SigmaReparam, WeightCompander, WeightNormalization
from tests.support.tiers import ON_TORCH
from tests.support.wrapped import BACKEND, CLASSES, ROWS, SEQUENCE, TOKENS, L, array, normal, trained, wrap

KINDS = {
    "WeightCompander": (WeightCompander, {}),
    "learnable": (WeightCompander, {"learnable": True, "a": 1.6, "b": 1.1, "decay_on": "weight"}),
    "erf": (WeightCompander, {"function": "erf", "overflow": "clip", "a": 2.0}),
    "WeightNormalization": (WeightNormalization, {"data_init": True}),
    "SigmaReparam": (SigmaReparam, {}),
}


def model_of(cls, arguments):
    """Returns a model with layers of one, two and four kernels. One has a name, and one was built before."""
    built = L.Dense(3)
    built.build((None, 4))
    inputs = keras.Input((6, 4))
    x = wrap(cls, L.Conv1D(4, 2, kernel_regularizer="l2"), name="first", **arguments)(inputs)
    if arguments.get("learnable"):  # One variant is enough for layers that contain layers.
        x = wrap(cls, L.MultiHeadAttention(2, 2), **arguments)(x, x)
    x = wrap(cls, L.Bidirectional(L.GRU(2)) if arguments.get("learnable") else L.SimpleRNN(4), **arguments)(x)
    return keras.Model(inputs, wrap(cls, built, **arguments)(x))


@ON_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_saved_wrapped_layers_load_exactly(kind, tmp_path):
    cls, arguments = KINDS[kind]
    model = model_of(cls, arguments)
    trained(model, SEQUENCE, normal(3, 3), 1)
    expected = array(model(SEQUENCE))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(SEQUENCE)), expected)
    assert [v.name for v in loaded.variables] == [v.name for v in model.variables]
    first, second = (next(la for la in m.layers if isinstance(la, cls)) for m in (model, loaded))
    assert second.get_config() == first.get_config()
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = model_of(cls, arguments)
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(fresh(SEQUENCE)), expected)
    # Both models continue with the same losses.
    np.testing.assert_allclose(
        loaded.fit(SEQUENCE, normal(3, 3), verbose=0).history["loss"],
        model.fit(SEQUENCE, normal(3, 3), verbose=0).history["loss"],
        rtol=1e-5,
    )


@ON_TORCH
def test_wrapped_layers_load_in_a_fresh_process(tmp_path):
    inputs = keras.Input((5,))
    x = inputs
    for cls, arguments in KINDS.values():
        x = wrap(cls, L.Dense(5), **arguments)(x)
    model = keras.Model(inputs, x)
    trained(model, ROWS, normal(6, 5), 1)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", ROWS)
    program = (
        "import keras, keras_reg, numpy as np; model = keras.models.load_model('model.keras');"
        "np.save('y.npy', keras.ops.convert_to_numpy(model(np.load('x.npy'))))"
    )
    root = str(pathlib.Path(__file__).parents[2])
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "PYTHONPATH": root}
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-2000:]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), array(model(ROWS)))


LORA = {
    "Dense": (lambda: L.Dense(4), ROWS, (5,)),
    "EinsumDense": (lambda: L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), SEQUENCE, (6, 4)),
    "Embedding": (lambda: L.Embedding(6, 4), TOKENS, (4,)),
    "Conv1D": (lambda: L.Conv1D(4, 2), SEQUENCE, (6, 4)),
}


@ON_TORCH
@pytest.mark.parametrize(
    ("name", "cls"), [*((name, CLASSES[0]) for name in LORA), ("Dense", CLASSES[1]), ("Dense", CLASSES[2])]
)
def test_lora_adapts_effective_kernel_of_wrapped_layer(name, cls, tmp_path):
    """Trains the factors of LoRA, which adapt the effective kernel, are saved separately and are merged by `fold`."""
    make, x, shape = LORA[name]

    def build():
        inputs = keras.Input(shape, dtype=x.dtype)
        layer = wrap(cls, make())
        return keras.Model(inputs, layer(inputs)), layer

    model, layer = build()
    before = array(model(x))
    layer.layer.enable_lora(2)
    np.testing.assert_array_equal(array(model(x)), before)
    values = {v.path: array(v) for v in layer.variables}
    trained(model, x, np.zeros_like(before), 3)
    assert np.abs(array(model(x)) - before).max() > 1e-4
    moved = {v.path.split("/")[-1] for v in layer.variables if np.any(array(v) != values[v.path])}
    allowed = {"bias", "length", "gamma", "vector"}
    assert {"lora_kernel_a", "lora_kernel_b"} <= moved or {"lora_embeddings_a", "lora_embeddings_b"} <= moved
    assert not [path for path in moved if "lora" not in path and path.split("_")[-1] not in allowed]
    expected = array(model(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(x)), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    other, inner = build()
    inner.layer.enable_lora(2)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(other(x)), expected)
    folded = layer.fold()
    assert not getattr(folded, "lora_enabled", False)
    np.testing.assert_allclose(array(folded(x)), expected, rtol=1e-4, atol=1e-5)


def test_large_lora_of_weight_compander_does_not_wrap_around():
    """Folds a kernel that exceeds the bound of the weight compander because of LoRA."""
    layer = wrap(CLASSES[0], L.Dense(4), a=0.9)
    layer(ROWS)
    layer.layer.enable_lora(2)
    layer.layer.lora_kernel_a.assign(np.ones((5, 2)))
    layer.layer.lora_kernel_b.assign(np.ones((2, 4)))
    folded = layer.fold()
    assert array(folded.kernel).min() > 0.9
    np.testing.assert_allclose(array(folded(ROWS)), array(layer(ROWS)), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="writes TensorFlow's SavedModel")
@pytest.mark.parametrize("kind", ["learnable", "WeightNormalization"])
def test_exported_wrapped_layers_predict_the_same(kind, tmp_path):
    import tensorflow as tf

    cls, arguments = KINDS[kind]
    model = keras.Sequential(
        [keras.Input((6, 4)), wrap(cls, L.GRU(3), **arguments), wrap(cls, L.Dense(2), **arguments)]
    )
    trained(model, SEQUENCE, normal(3, 2), 1)
    model.export(str(tmp_path / "saved"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(served.serve(SEQUENCE).numpy(), array(model(SEQUENCE)), rtol=1e-5, atol=1e-6)
