"""Tests of factorized models, which compute the same outputs as models with truncated kernels."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning, low_rank_factorize
from keras_reg.layers import SigmaReparam
from keras_reg.ops.low_rank import truncate_rank
from keras_reg.surgery import low_rank_report
from tests.support.processes import run_python
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.surgery.test_reparameterize import (
    Subclassed,
    arrays,
    assert_equal,
    assert_values,
    data,
    subclassed,
    unbuilt,
    values,
)


def low_rank(model, rank=2):
    """Assigns kernels of a low rank plus noise, and other weights of a usual size."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.uniform(-0.3, 0.3, variable.shape)
        if len(variable.shape) > 1:
            factors = rng.normal(size=(*variable.shape[:-1], rank)), rng.normal(size=(rank, variable.shape[-1]))
            value = 0.1 * value + 0.3 * (factors[0] @ factors[1])
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return model


def sequential():
    parts = [layers.Dense(24, "tanh", name="first"), layers.BatchNormalization(), layers.Dense(5, name="last")]
    return keras.Sequential([keras.Input((16,)), *parts])


def nested():
    inputs, inner = keras.Input((16,)), keras.Input((16,))
    block = keras.Model(inner, inner + layers.Dense(16, use_bias=False, name="inner")(inner), name="block")
    backbone = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="first"), block], name="backbone")
    return keras.Model(inputs, layers.Dense(3, name="last")(backbone(inputs)))


def shared():
    """Returns a model that calls each layer on inputs of two sizes."""
    image, dense = keras.Input((6, 6, 8)), layers.Dense(8, "tanh", name="dense")
    conv = layers.Conv2D(8, 3, strides=2, padding="same", name="conv")
    large = conv(dense(image))
    return keras.Model(image, layers.Flatten()(large) @ ops.ones((72, 3)) + ops.mean(dense(conv(large)), (1, 2))[:, :3])


def time_distributed():
    return keras.Sequential([keras.Input((4, 16)), layers.TimeDistributed(layers.Dense(16, name="each"), name="steps")])


def einsums():
    """Returns a model of einsums: shared axes, an ellipsis, several output and summed axes, a transposed kernel."""
    inputs = keras.Input((4, 16))
    x = layers.EinsumDense("abc,cde->abde", (4, 4, 5), bias_axes="de", activation="relu", name="heads")(inputs)
    x = layers.EinsumDense("...de,def->...f", 16, name="merge")(x)
    return keras.Model(inputs, layers.EinsumDense("abc,dc->abd", (4, 18), name="transposed")(x))


def convolutions():
    image = keras.Input((9, 8, 6))
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu", name="strides")(image)
    x = layers.Conv2D(12, (2, 3), dilation_rate=(2, 1), padding="same", use_bias=False, name="dilation")(x)
    x = layers.Conv2D(13, (3, 2), strides=(1, 2), name="valid")(x)
    sequence = layers.Conv1D(14, 3, padding="causal", name="causal")(layers.Reshape((-1, 13))(x))
    volume = layers.Conv3D(12, (3, 2, 3), strides=(2, 1, 2), padding="same", name="volume")(
        layers.Reshape((3, 3, 2, 3))(layers.Dense(54, name="dense")(layers.Flatten()(x)))
    )
    return keras.Model(image, [sequence, volume])


def assert_near(model, other, tolerance=1e-5):
    """Compares outputs relative to the largest one, since outputs near 0 are sums of large numbers."""
    inputs = data(model)
    for got, expected in zip(arrays(model(inputs)), arrays(other(inputs)), strict=True):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        got, expected = got.astype("float32"), expected.astype("float32")
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def truncated(model, rows, split):
    """Returns a copy of the model with truncated kernels. NumPy reshapes those of einsums."""
    new = keras.models.clone_model(model)
    new.set_weights(model.get_weights())
    for row in rows:
        layer = new
        for name in row.layer.split("/"):
            layer = layer.get_layer(name) if isinstance(layer, keras.Model) else layer.layer
        kernel = ops.convert_to_numpy(layer.kernel)
        transposed = getattr(layer, "equation", "").startswith("abc,dc")
        inputs = 2 if "...de,def" in getattr(layer, "equation", "") else 1
        if hasattr(layer, "equation"):
            matrix = kernel.T if transposed else kernel.reshape(int(np.prod(kernel.shape[:inputs])), -1)
            matrix = ops.convert_to_numpy(truncate_rank(matrix, 0.9)[0])
            layer.kernel.assign(matrix.T if transposed else matrix.reshape(kernel.shape))
        else:
            layer.kernel.assign(truncate_rank(kernel, 0.9, split)[0])
    return new


MODELS = {
    sequential: {"first", "last"},
    nested: {"backbone/first", "backbone/block/inner", "last"},
    shared: {"dense", "conv"},
    time_distributed: {"steps/each"},
    einsums: {"heads", "merge", "transposed"},
    convolutions: {"strides", "dilation", "valid", "causal", "volume", "dense"},
}


# Only convolutions have a window, which `"spatial"` divides differently.
@ON_TORCH
@pytest.mark.parametrize(("build", "split"), [*((build, "channel") for build in MODELS), (convolutions, "spatial")])
def test_low_rank_model_equals_model_of_truncated_kernels(build, split):
    model = low_rank(build())
    before = values(model)
    rows = low_rank_report(model, 0.9, split=split)
    assert {row.layer for row in rows} == MODELS[build]
    factorized = [row for row in rows if not row.skip_reason]
    assert len(factorized) >= len(rows) - 1
    thin = low_rank_factorize(model, 0.9, split=split)
    assert_near(thin, truncated(model, factorized, split))
    assert thin.count_params() == model.count_params() - sum(row.before - row.after for row in factorized)
    names = [[layer.name for layer in either.layers if layer.weights] for either in (thin, model)]
    assert names[0] == names[1]
    assert_values(model, before)


@NOT_ON_JAX
@pytest.mark.parametrize("build", [nested, einsums, time_distributed])
def test_low_rank_factorize_commutes_with_saving(build, tmp_path):
    """Checks that a loaded model is factorized like the saved one, and that a factorized model can be loaded."""
    model = low_rank(build())
    thin = low_rank_factorize(model)
    model.save(tmp_path / "model.keras")
    assert_near(low_rank_factorize(keras.saving.load_model(tmp_path / "model.keras")), thin)
    thin.save(tmp_path / "thin.keras")
    assert_equal(keras.saving.load_model(tmp_path / "thin.keras"), thin)


@NOT_ON_JAX
def test_low_rank_factorize_accepts_channels_first():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolutions on CPUs")
    conv = layers.Conv2D(12, 3, padding="same", data_format="channels_first", name="conv")
    model = low_rank(keras.Sequential([keras.Input((8, 5, 6)), conv]))
    for split in ("channel", "spatial"):
        rows = low_rank_report(model, 0.9, split=split)
        assert_near(low_rank_factorize(model, 0.9, split=split), truncated(model, rows, split))


@NOT_ON_JAX
def test_low_rank_factorize_creates_documented_layers():
    model = low_rank(convolutions())
    block = low_rank_factorize(model, 0.9, split="spatial", include="strides").get_layer("strides")
    first, second = block.layers
    assert type(block) is keras.Sequential
    assert {type(first), type(second)} == {layers.Conv2D}
    assert (first.kernel_size, first.strides, first.use_bias) == ((3, 1), (2, 1), False)
    assert first.activation is keras.activations.linear
    assert (second.kernel_size, second.strides, second.use_bias) == ((1, 3), (1, 2), True)
    assert second.activation is keras.activations.relu
    block = low_rank_factorize(model, 0.9, split="channel", include="dilation").get_layer("dilation")
    first, second = block.layers
    assert (first.kernel_size, first.dilation_rate, first.padding) == ((2, 3), (2, 1), "same")
    assert (second.kernel_size, second.dilation_rate, second.use_bias) == ((1, 1), (1, 1), False)


def skipped_layers():
    image = keras.Input((6, 6, 8))
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(image)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = layers.Conv2DTranspose(8, 2, name="transposed")(x)
    x = layers.Reshape((-1, 8))(x)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.EinsumDense("bgi,gio->bgo", (16, 8), name="batched")(x)
    x = Custom(8, name="custom")(x)
    return keras.Model(image, layers.Dense(2, name="small")(layers.Flatten()(x)))


@keras.saving.register_keras_serializable("tests")
class Custom(layers.Dense):
    def call(self, inputs):
        return super().call(inputs) + 1


REASONS = {
    "grouped": "grouped convolution",
    "depthwise": "DepthwiseConv2D",
    "transposed": "Conv2DTranspose",
    "attention/query": "part of 'attention'",
    "attention/key": "part of 'attention'",
    "attention/value": "part of 'attention'",
    "attention/attention_output": "part of 'attention'",
    "batched": "equation",
    "custom": "Custom",
    "small": "not be smaller",
}


@NOT_ON_JAX
def test_low_rank_factorize_reports_skipped_layers_and_reasons():
    model = skipped_layers()
    rows = {row.layer: row for row in low_rank_report(model, 0.99)}
    assert set(rows) == set(REASONS)
    for name, reason in REASONS.items():
        assert reason in rows[name].skip_reason, name
        assert rows[name].before == rows[name].after, name
    with pytest.warns(NoEffectWarning, match="changed nothing.*'grouped': 'it is a grouped convolution'"):
        copy = low_rank_factorize(model, 0.99)
    assert_equal(copy, model)


def test_low_rank_factorize_skips_wrapped_and_lora_layers():
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="first"), layers.Dense(16, name="last")])
    low_rank(model).get_layer("last").enable_lora(2)
    wrapped = keras_reg.reparameterize(model, SigmaReparam, include="first")
    reasons = [row.skip_reason for row in low_rank_report(wrapped)]
    assert "fold the model first" in reasons[0]
    assert "LoRA" in reasons[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"include": "backbone"}, {"backbone/first", "backbone/block/inner"}),
        ({"include": layers.Dense, "exclude": "la*"}, {"backbone/first", "backbone/block/inner"}),
        ({"exclude": ["backbone/block/*", lambda layer: layer.units == 3]}, {"backbone/first"}),
    ],
)
def test_low_rank_factorize_selects_layers(arguments, expected):
    model = low_rank(nested())
    assert {row.layer for row in low_rank_report(model, **arguments)} == expected
    thin = low_rank_factorize(model, **arguments)
    backbone = thin.get_layer("backbone")
    selected = {
        "backbone/first": backbone.get_layer("first"),
        "backbone/block/inner": backbone.get_layer("block").get_layer("inner"),
        "last": thin.get_layer("last"),
    }
    assert {name for name, layer in selected.items() if isinstance(layer, keras.Sequential)} == expected


def test_low_rank_report_contains_ranks():
    model = low_rank(keras.Sequential([keras.Input((12,)), layers.Dense(20, name="dense")]))
    (row,) = low_rank_report(model, 0.9)
    _, rank = truncate_rank(model.layers[0].kernel, 0.9)
    expected = {"layer": "dense", "rank": int(rank), "full_rank": 12, "before": 240, "after": 32 * int(rank)}
    assert dataclasses.asdict(row) == {**expected, "skip_reason": ""}
    assert low_rank_report(model, 0.9999999)[0].rank > row.rank


def test_low_rank_factorize_keeps_settings_of_bias_and_outputs():
    """Checks that settings of bias and outputs are kept, and regularizers and constraints of the kernel are dropped."""
    arguments = {"kernel_regularizer": "l2", "kernel_constraint": "non_neg", "bias_regularizer": "l1"}
    arguments |= {"bias_constraint": "unit_norm", "activity_regularizer": "l1", "trainable": False}
    model = low_rank(keras.Sequential([keras.Input((16,)), layers.Dense(16, "relu", name="dense", **arguments)]))
    first, second = low_rank_factorize(model).get_layer("dense").layers
    for part in (first, second):
        assert part.kernel_regularizer is part.kernel_constraint is None
        assert not part.trainable_variables
    assert first.activity_regularizer is first.bias_regularizer is None
    assert second.bias_regularizer is not None
    assert second.bias_constraint is not None
    assert second.activity_regularizer is not None
    assert (first.name, second.name) == ("dense_in", "dense_out")


@NOT_ON_JAX
def test_low_rank_factorize_accepts_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = low_rank(sequential())
        thin = low_rank_factorize(model, 0.9)
        assert all(part.compute_dtype == "bfloat16" for part in thin.get_layer("first").layers)
        assert_near(thin, truncated(model, low_rank_report(model, 0.9), "channel"), 0.05)
    finally:
        keras.config.set_dtype_policy("float32")


@ON_TORCH
def test_low_rank_model_trains_and_shares_no_variables():
    model = low_rank(sequential())
    model.compile(keras.optimizers.SGD(0.05, momentum=0.5), "mse")
    thin = low_rank_factorize(model)
    assert thin.compiled
    assert thin.optimizer is not model.optimizer
    before, x = values(model), data(model)
    targets = np.ones((8, 5), "float32")
    losses = thin.fit(x, targets, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert_values(model, before)
    model.fit(x, targets, verbose=0)
    thin.predict(x, verbose=0)


@ON_TORCH
def test_low_rank_model_loads_without_the_package(tmp_path):
    thin = low_rank_factorize(low_rank(convolutions()), split="spatial")
    np.save(tmp_path / "x.npy", data(thin))
    thin.save(tmp_path / "thin.keras")
    program = (
        "import sys, keras, numpy as np; "
        f"model = keras.saving.load_model({str(tmp_path / 'thin.keras')!r}); "
        f"outputs = model.predict(np.load({str(tmp_path / 'x.npy')!r}), verbose=0); "
        f"np.save({str(tmp_path / 'y.npy')!r}, outputs[0]); assert 'keras_reg' not in sys.modules"
    )
    run_python("-c", program)
    expected = thin.predict(data(thin), verbose=0)[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [low_rank_factorize, low_rank_report])
@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (unbuilt, {}, "not built|built=False"),
        (lambda: "model", {}, "'model'"),
        (sequential, {"energy": 1.0}, "energy=1.0"),
        (sequential, {"energy": 0}, "energy=0"),
        (sequential, {"energy": True}, "energy=True"),
        (sequential, {"energy": "0.9"}, "energy='0.9'"),
        (sequential, {"split": "filter"}, "split='filter'"),
        (sequential, {"include": 3}, "include=3"),
        (sequential, {"exclude": [layers.Dense(3)]}, "exclude="),
    ],
)
def test_low_rank_surgery_rejects_bad_arguments(function, build, arguments, message):
    with pytest.raises(ValueError, match=f"Received:.*({message})"):
        function(build(), **arguments)


def test_low_rank_factorize_rejects_subclassed_models():
    with pytest.raises(ValueError, match="low_rank_factors"):
        low_rank_factorize(subclassed())
    (row,) = low_rank_report(subclassed())
    assert row.layer == "dense" or row.layer.startswith("dense_")


def test_low_rank_factorize_skips_inner_subclassed_models():
    inputs = keras.Input((16,))
    model = keras.Model(inputs, layers.Dense(16, name="outside")(Inside(name="inside")(inputs)))
    rows = {row.layer.split("/")[0]: row.skip_reason for row in low_rank_report(low_rank(model))}
    assert rows["inside"] == "it is a part of 'inside', which creates it"
    assert rows["outside"] == ""


@keras.saving.register_keras_serializable("tests")
class Inside(Subclassed):
    def __init__(self, **arguments):
        super().__init__()
        self.name = arguments.get("name", self.name)
