"""Tests of wrapped and folded models: they are equivalent, share no variables, and are compiled as before."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning, fold, reparameterize
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.layers import ReparameterizedLayer, SigmaReparam, WeightCompander, WeightNormalization
from tests.support.processes import ask
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

CLASSES = (WeightCompander, WeightNormalization, SigmaReparam)
LEARNABLE = {WeightCompander: {"a": 0.9, "learnable": True}, WeightNormalization: {}, SigmaReparam: {}}


def randomized(model):
    """Assigns weights of a usual size, including biases and statistics."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        value = rng.uniform(-0.3, 0.3, variable.shape)
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)
    return model


def sequential():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="tanh", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, seed=3),
            layers.Dense(3, name="last"),
        ]
    )


def skips():
    """Returns a model of all kinds of convolutions, a skip connection, operations, and named inputs and outputs."""
    inputs = {"image": keras.Input((4, 4, 3), name="image"), "scale": keras.Input((1,), name="scale")}
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs["image"])
    y = layers.SeparableConv2D(4, 3, padding="same", name="separable")(layers.DepthwiseConv2D(2, padding="same")(x))
    # The window is odd, since Keras 3.12 raises an error for even ones on PyTorch, with this padding and no strides.
    y = layers.Conv2DTranspose(4, 3, padding="same", use_bias=False, name="transposed")(y)
    x = ops.mean(ops.relu(layers.Add()([x, y])) + 0.5 * x, axis=(1, 2)) * inputs["scale"]
    return keras.Model(inputs, {"logits": layers.Dense(2, name="head")(x), "features": x})


def nested():
    inputs = keras.Input((6,))
    inner = keras.Input((5,))
    block = keras.Model(inner, inner + layers.Dense(5, name="inner")(inner), name="block")
    backbone = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="first"), block], name="backbone")
    return keras.Model(inputs, layers.Dense(3, name="last")(backbone(inputs)))


def shared():
    inputs, dense = keras.Input((6,)), layers.Dense(6, activation="tanh", name="shared")
    return keras.Model(inputs, dense(dense(inputs)) + dense(inputs))


def time_distributed():
    return keras.Sequential([keras.Input((4, 6)), layers.TimeDistributed(layers.Dense(3, name="each"), name="steps")])


def time_distributed_model():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="each"), layers.BatchNormalization()])
    return keras.Sequential([keras.Input((4, 6)), layers.TimeDistributed(inner, name="steps"), layers.Dense(2)])


def attention():
    tokens = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 6, name="table")(tokens)
    x = x + layers.MultiHeadAttention(2, 3, dropout=0.2, seed=1, name="attention")(x, x, use_causal_mask=True)
    return keras.Model(tokens, layers.Dense(2, name="head")(layers.LayerNormalization()(x)))


def recurrent():
    inputs = keras.Input((4, 6))
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(inputs)
    return keras.Model(inputs, layers.RNN(layers.StackedRNNCells([layers.LSTMCell(3), layers.SimpleRNNCell(2)]))(x))


MODELS = (sequential, skips, nested, shared, time_distributed, time_distributed_model, attention, recurrent)
WRAPPED = dict(zip(MODELS, (2, 5, 3, 1, 1, 2, 3, 2), strict=True))


def inputs_and_outputs(model):
    if isinstance(model, keras.Sequential):
        # A Sequential model has inputs and outputs only in lists.
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def data(model, samples=8):
    rng = np.random.default_rng(1)

    def draw(tensor):
        shape = (samples, *tensor.shape[1:])
        return rng.integers(0, 7, shape) if "int" in tensor.dtype else rng.normal(size=shape).astype("float32")

    return keras.tree.map_structure(draw, inputs_and_outputs(model)[0])


def arrays(outputs):
    return [ops.convert_to_numpy(output) for output in keras.tree.flatten(outputs)]


def assert_equal(model, other, tolerance=1e-6, **call):
    inputs = data(model)
    for got, expected in zip(arrays(model(inputs, **call)), arrays(other(inputs, **call)), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def train(model, steps=3, rate=0.05):
    """Trains all outputs towards 1."""
    x = data(model)
    outputs = inputs_and_outputs(model)[1]
    y = keras.tree.map_structure(lambda output: np.ones((8, *output.shape[1:]), "float32"), outputs)
    if not model.compiled:
        model.compile(keras.optimizers.SGD(rate), keras.tree.map_structure(lambda _: "mse", outputs))
    return model.fit(x, y, epochs=steps, batch_size=8, shuffle=False, verbose=0).history["loss"]


def wrappers(model):
    return list(
        {id(layer): layer for layer, _ in iter_sublayers(model) if isinstance(layer, ReparameterizedLayer)}.values()
    )


def values(model):
    return [ops.convert_to_numpy(variable).copy() for variable in model.variables]


def assert_values(model, expected):
    for got, value in zip(values(model), expected, strict=True):
        np.testing.assert_array_equal(got, value)


# These pairs cover every model with one class, and every class with one model.
PAIRS = [(build, CLASSES[0]) for build in MODELS] + [(attention, layer_class) for layer_class in CLASSES[1:]]


@ON_TORCH
@pytest.mark.parametrize(("build", "layer_class"), PAIRS)
def test_wrapped_and_folded_models_predict_the_same(build, layer_class):
    model = randomized(build())
    wrapped = reparameterize(model, layer_class, **LEARNABLE[layer_class])
    assert len(wrappers(wrapped)) == WRAPPED[build]
    assert_equal(wrapped, model)
    assert wrapped.count_params() >= model.count_params()
    losses = train(wrapped)
    assert losses[-1] < losses[0]
    plain = fold(wrapped)
    assert not wrappers(plain)
    assert_equal(plain, wrapped)
    got, expected = ([(v.path.split("/")[-2:], v.shape, v.dtype) for v in m.variables] for m in (plain, model))
    assert [g[1:] for g in got] == [e[1:] for e in expected]
    assert [layer.name for layer in plain.layers if layer.variables] == [
        layer.name for layer in model.layers if layer.variables
    ]


@NOT_ON_JAX
def test_fold_names_layers_as_wrappers():
    inputs = keras.Input((4,))
    hidden = WeightCompander(layers.Dense(5, name="inside"), a=1.5, name="hidden")(inputs)
    heads = [WeightCompander(layers.Dense(1, name="inside"), a=1.5, name=name)(hidden) for name in ("out", "aux")]
    model = keras.Model(inputs, heads)
    model.compile("sgd", {"out": "mse", "aux": "mae"})
    plain = fold(model)
    assert [layer.name for layer in plain.layers[1:]] == ["hidden", "out", "aux"]
    x, y = np.ones((2, 4), "float32"), {"out": np.zeros((2, 1)), "aux": np.ones((2, 1))}
    np.testing.assert_allclose(plain.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)


def test_strip_removes_noise_inside_time_distributed_model():
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(6), keras_reg.layers.BetaNoise()])
    model = keras.Sequential([keras.Input((4, 6)), layers.TimeDistributed(inner)])
    plain = keras_reg.surgery.strip(model)
    assert not [layer for layer, _ in iter_sublayers(plain) if isinstance(layer, keras_reg.layers.BetaNoise)]
    assert_equal(plain, model)


def test_reparameterize_wraps_shared_layers_once():
    model = randomized(shared())
    wrapped = reparameterize(model, WeightCompander)
    assert len(wrapped.trainable_variables) == len(model.trainable_variables) == 2
    again = fold(wrapped)
    assert len(again.trainable_variables) == 2
    assert_equal(again, model)


def test_reparameterize_wraps_layers_shared_with_nested_models_once():
    inputs, inner, dense = keras.Input((6,)), keras.Input((6,)), layers.Dense(6, activation="tanh", name="shared")
    backbone = keras.Sequential([keras.Input((6,)), keras.Model(inner, dense(inner)), dense])
    model = randomized(keras.Model(inputs, dense(backbone(inputs))))
    wrapped = reparameterize(model, WeightCompander)
    assert len(wrapped.trainable_variables) == len(model.trainable_variables) == 2
    assert_equal(wrapped, model)
    assert_equal(fold(wrapped), model)


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["first", "inner", "last"]),
        ({"include": "*st"}, ["first", "last"]),
        ({"include": ["first", "inner"]}, ["first", "inner"]),
        ({"include": layers.Dense, "exclude": "la*"}, ["first", "inner"]),
        ({"include": "backbone"}, ["first", "inner"]),
        ({"include": "backbone/block/*"}, ["inner"]),
        ({"exclude": keras.Sequential}, ["last"]),
        ({"include": lambda layer: layer.units == 5}, ["first", "inner"]),
        ({"exclude": lambda layer: layer.units == 5}, ["last"]),
    ],
)
def test_reparameterize_wraps_selected_layers(arguments, expected):
    model = randomized(nested())
    wrapped = reparameterize(model, WeightCompander, **arguments)
    assert sorted(layer.name for layer in wrappers(wrapped)) == expected
    assert_equal(wrapped, model)


def test_reparameterize_keeps_wrapped_layers_of_another_class():
    """Checks that wrapped layers keep their parameters, and that the other layers are wrapped too."""
    model = randomized(nested())
    first = reparameterize(model, WeightCompander, include="first", learnable=True)
    both = reparameterize(first, SigmaReparam)
    assert sorted(type(layer).__name__ for layer in wrappers(both)) == [
        "SigmaReparam",
        "SigmaReparam",
        "WeightCompander",
    ]
    assert_equal(both, model)


def test_reparameterize_and_fold_warn_of_no_effect():
    model = randomized(sequential())
    for arguments in ({"include": "conv*"}, {"include": layers.BatchNormalization}, {"exclude": "*"}):
        with pytest.warns(NoEffectWarning, match="wrapped nothing"):
            copy = reparameterize(model, WeightCompander, **arguments)
        assert_equal(copy, model)
    with pytest.warns(NoEffectWarning, match="changed nothing"):
        copy = fold(model)
    assert copy is not model
    assert_equal(copy, model)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 2), "float32"))
    return model


def unbuilt():
    return keras.Sequential([layers.Dense(3)])


@pytest.mark.parametrize(
    ("build", "arguments", "message"),
    [
        (subclassed, {}, "subclassed"),
        (unbuilt, {}, "Input"),
        (lambda: "model", {}, "keras.Model"),
        (lambda: layers.Dense(3), {}, "keras.Model"),
        (sequential, {"layer_class": layers.Dense}, "layer_class="),
        (sequential, {"layer_class": "WeightCompander"}, "layer_class="),
        (sequential, {"layer_class": WeightCompander(layers.Dense(3))}, "layer_class="),
        (sequential, {"include": 3}, "include=3"),
        (sequential, {"exclude": [layers.Dense(3)]}, "exclude="),
        (sequential, {"a": -1.0}, "a=-1.0"),
        (sequential, {"alpha": 0.7}, "alpha"),
        (sequential, {"keep_weights": "no"}, "keep_weights='no'"),
        (sequential, {"keep_weights": 1}, "keep_weights=1"),
    ],
)
def test_reparameterize_rejects_bad_arguments(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        reparameterize(build(), **{"layer_class": WeightCompander, **arguments})


@pytest.mark.parametrize(
    ("build", "message"), [(subclassed, "layer.fold"), (unbuilt, "Input"), (lambda: 3, "keras.Model")]
)
def test_fold_rejects_bad_models(build, message):
    with pytest.raises(ValueError, match=message):
        fold(build())


@ON_TORCH
@pytest.mark.parametrize("layer_class", CLASSES)
def test_reparameterize_and_fold_share_no_variables(layer_class):
    """Checks that training one model leaves the others unchanged. On JAX, a step deletes the buffers of its inputs."""
    model = randomized(attention())
    wrapped = reparameterize(model, layer_class)
    plain = fold(wrapped)
    models = {"given": model, "wrapped": wrapped, "folded": plain}
    for name, trained in models.items():
        others = {other: values(m) for other, m in models.items() if other != name}
        before = values(trained)
        train(trained, 2)
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(before, values(trained), strict=True) if a.size)
        for other, expected in others.items():
            assert_values(models[other], expected)
            models[other](data(model))
    ids = [id(variable) for m in models.values() for variable in m.variables]
    assert len(ids) == len(set(ids))


def test_reparameterize_and_fold_keep_compile_settings():
    model = randomized(sequential())
    loss = keras.losses.MeanSquaredError()
    model.compile(keras.optimizers.SGD(0.25, momentum=0.5), loss, metrics=["mae"], jit_compile=False)
    x, y = np.ones((8, 6), "float32"), np.ones((8, 3), "float32")
    model.fit(x, y, verbose=0)
    for other in (wrapped := reparameterize(model, WeightCompander), fold(wrapped)):
        assert other.compiled
        assert other.optimizer is not model.optimizer
        assert other.optimizer.get_config() == model.optimizer.get_config()
        assert int(other.optimizer.iterations) == 0
        assert other.jit_compile is False
        got, expected = (m.evaluate(x, y, verbose=0, return_dict=True) for m in (other, model))
        assert got.keys() == expected.keys() == {"loss", "mae"}
        np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-5)


@NOT_ON_JAX
def test_reparameterize_keeps_custom_loss():
    model = randomized(shared())
    model.compile("sgd", loss=lambda y_true, y_pred: ops.mean(ops.abs(y_true - y_pred), -1))
    wrapped = reparameterize(model, WeightCompander)
    x, y = np.ones((4, 6), "float32"), np.zeros((4, 6), "float32")
    expected = model.evaluate(x, y, verbose=0)
    for other in (wrapped, fold(wrapped)):
        np.testing.assert_allclose(other.evaluate(x, y, verbose=0), expected, rtol=1e-5)


def custom_metric(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), -1)


def test_reparameterize_warns_of_unserializable_metric():
    model = randomized(shared())
    model.compile("sgd", "mse", metrics=[custom_metric])
    with pytest.warns(UserWarning, match="custom_metric"):
        wrapped = reparameterize(model, WeightCompander)
    assert model.compiled
    assert not wrapped.compiled
    assert_equal(wrapped, model)
    with keras.saving.custom_object_scope({"custom_metric": custom_metric}):
        assert reparameterize(model, WeightCompander).compiled


@NOT_ON_JAX
def test_reparameterize_without_keep_weights_initializes_new_weights():
    model = randomized(nested())
    wrapped = reparameterize(model, WeightCompander, keep_weights=False)
    first, other = (m.get_layer("last") for m in (fold(wrapped), model))
    assert np.abs(ops.convert_to_numpy(first.kernel) - ops.convert_to_numpy(other.kernel)).max() > 0.05
    np.testing.assert_array_equal(ops.convert_to_numpy(first.bias), 0)
    normalized = reparameterize(model, WeightNormalization, keep_weights=False)
    x = data(model)
    # The first training batch initializes the lengths and biases.
    normalized(x, training=True)
    outputs = arrays(normalized(x))[0]
    np.testing.assert_allclose([outputs.mean(0), outputs.std(0)], [[0] * 3, [1] * 3], atol=1e-3)
    kept = reparameterize(model, WeightNormalization)
    kept(x, training=True)
    assert_equal(kept, model)


@pytest.mark.parametrize("arguments", [{}, {"learnable": True}])
def test_reparameterize_rejects_or_clips_weights_beyond_bound(arguments):
    model = randomized(nested())
    kernel = model.get_layer("last").kernel
    kernel.assign(np.where(np.arange(15).reshape(5, 3) == 4, -2.0, ops.convert_to_numpy(kernel)))
    with pytest.raises(ValueError, match=r"'last'.*a=1\.4 .*Received: a=0\.7"):
        reparameterize(model, WeightCompander, a=0.7, **arguments)
    assert_equal(reparameterize(model, WeightCompander, a=1.4, **arguments), model)
    with pytest.warns(UserWarning, match="'last'.*clipped"):
        clipped = reparameterize(model, WeightCompander, a=0.7, overflow="clip", **arguments)
    expected = np.maximum(ops.convert_to_numpy(kernel), -0.99 * 0.7 * np.pi / 2)
    np.testing.assert_allclose(ops.convert_to_numpy(fold(clipped).get_layer("last").kernel), expected, rtol=1e-4)


@ON_TORCH
@pytest.mark.parametrize("layer_class", CLASSES[:2])
def test_reparameterize_keeps_frozen_layers_frozen(layer_class):
    model = randomized(nested())
    model.get_layer("backbone").get_layer("first").trainable = False
    wrapped = reparameterize(model, layer_class)
    frozen = [layer.name for layer in wrappers(wrapped) if not layer.trainable]
    assert frozen == ["first"]
    first = wrapped.get_layer("backbone").get_layer("first")
    before = values(first)
    train(wrapped)
    for got, expected in zip(values(first), before, strict=True):
        # The singular vector changes by rounding errors.
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)
    plain = fold(wrapped)
    assert [v.shape for v in plain.trainable_variables] == [v.shape for v in model.trainable_variables]
    train(plain)
    np.testing.assert_allclose(
        ops.convert_to_numpy(plain.get_layer("backbone").get_layer("first").kernel),
        ops.convert_to_numpy(model.get_layer("backbone").get_layer("first").kernel),
        rtol=1e-5,
        atol=1e-7,
    )


def test_reparameterize_keeps_frozen_models_frozen():
    model = randomized(nested())
    model.get_layer("backbone").trainable = False
    wrapped = reparameterize(model, WeightCompander)
    assert [v.shape for v in wrapped.trainable_variables] == [(5, 3), (3,)]
    assert [v.shape for v in fold(wrapped).trainable_variables] == [(5, 3), (3,)]
    model.trainable = False
    assert not reparameterize(model, WeightCompander).trainable_variables


@NOT_ON_JAX
def test_reparameterize_keeps_dropout_seeds():
    for build in (sequential, attention):
        model = randomized(build())
        train(model, 2)
        wrapped = reparameterize(model, WeightCompander)
        plain = fold(wrapped)
        expected = arrays(model(data(model), training=True))
        for other in (wrapped, plain):
            np.testing.assert_allclose(arrays(other(data(model), training=True))[0], expected[0], rtol=1e-5, atol=1e-5)
        different = arrays(model(data(model), training=True))
        assert np.abs(different[0] - expected[0]).max() > 1e-3


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_reparameterize_and_fold_keep_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = randomized(nested())
    finally:
        keras.config.set_dtype_policy("float32")
    for layer_class in CLASSES:
        # The current policy differs from the policy of the original model.
        wrapped = reparameterize(model, layer_class)
        assert {v.dtype for v in wrapped.trainable_variables} == {"float32"}
        tolerance = 2e-3 if policy == "mixed_float16" else 2e-2
        assert_mixed(wrapped, model, tolerance)
        losses = train(wrapped)
        assert np.isfinite(losses).all()
        assert losses[-1] < losses[0]
        plain = fold(wrapped)
        assert plain.get_layer("last").dtype_policy.name == policy
        assert_mixed(plain, wrapped, tolerance)


def assert_mixed(model, other, tolerance):
    got, expected = model(data(model)), other(data(model))
    assert keras.backend.standardize_dtype(got.dtype) == keras.backend.standardize_dtype(expected.dtype) != "float32"
    got, expected = (ops.convert_to_numpy(ops.cast(value, "float32")) for value in (got, expected))
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layer_class", CLASSES[:1])
def test_fold_merges_lora(layer_class):
    model = randomized(sequential())
    model.get_layer("first").enable_lora(2)
    for variable in model.get_layer("first").variables:
        if variable.name.startswith("lora"):
            variable.assign(np.random.default_rng(2).normal(size=variable.shape, scale=0.2))
    wrapped = reparameterize(model, layer_class)
    assert_equal(wrapped, model)
    train(wrapped)
    plain = fold(wrapped)
    assert len(plain.get_layer("first").weights) == 2
    assert_equal(plain, wrapped)


@ON_TORCH
def test_folded_models_load_without_the_package(tmp_path):
    """Checks all models in one process without the package."""
    files, expected = [], []
    for layer_class in CLASSES:
        wrapped = reparameterize(randomized(attention()), layer_class)
        wrapped.compile("adam", "mse")
        train(wrapped, 2)
        plain = fold(wrapped)
        files.append(str(tmp_path / f"{layer_class.__name__}.keras"))
        plain.save(files[-1])
        expected.append(plain.predict(data(plain), verbose=0))
    np.save(tmp_path / "x.npy", data(plain))
    ask("tests.conformance.load_plain_models", str(tmp_path / "x.npy"), *files)
    for file, prediction in zip(files, expected, strict=True):
        np.testing.assert_allclose(np.load(f"{file}.npy"), prediction, rtol=1e-6, atol=1e-6)


@ON_TORCH
def test_wrapped_models_are_saved_and_cloned(tmp_path):
    wrapped = reparameterize(randomized(attention()), SigmaReparam)
    train(wrapped, 2)
    wrapped.save(tmp_path / "model.keras")
    wrapped.save_weights(tmp_path / "model.weights.h5")
    assert_equal(keras.saving.load_model(tmp_path / "model.keras"), wrapped)
    copy = keras.models.clone_model(wrapped)
    copy.load_weights(tmp_path / "model.weights.h5")
    assert_equal(copy, wrapped)
    assert keras_reg.fold(copy).count_params() < copy.count_params()
