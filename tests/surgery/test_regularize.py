"""Tests of regularizing existing models: the gradient before and after a `fit`, and saved models."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg import NoEffectWarning, apply_regularizer, remove_regularizers
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

LAYERS = keras.layers
X, Y = np.zeros((8, 6), "float32"), np.zeros((8, 3), "float32")
# With zero inputs and targets, a step of SGD(0.1) multiplies kernels by 0.8.
SHRINK = keras.regularizers.L2(1.0)


class Block(LAYERS.Layer):
    """Contains a layer in a list and a layer in a dictionary, and references a layer that it does not own."""

    def __init__(self, other=None, **arguments):
        super().__init__(**arguments)
        self.parts = [LAYERS.Dense(6, name="listed"), {"deep": LAYERS.Dense(6, name="deep")}]
        self.__dict__["referenced"] = other

    def call(self, inputs):
        return self.parts[1]["deep"](self.parts[0](inputs))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block(name="block")
        self.out = LAYERS.Dense(3, name="out")

    def build(self, shape):
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="kernel")
        super().build(shape)

    def call(self, inputs):
        return self.out(self.block(inputs)) * self.scale


def sequential():
    return keras.Sequential([keras.Input((6,)), LAYERS.Dense(5, name="first"), LAYERS.Dense(3, name="second")])


def nested():
    inputs = keras.Input((6,))
    backbone = keras.Sequential([keras.Input((6,)), LAYERS.Dense(5, name="first")], name="backbone")
    return keras.Model(inputs, LAYERS.Dense(3, name="second")(Block(name="block")(backbone(inputs))))


def subclassed():
    model = Subclassed()
    model(X)
    return model


def compiled(build, **arguments):
    model = build()
    model.compile(keras.optimizers.SGD(0.1), "mse", **arguments)
    return model


def factors(model, **fit):
    """Returns the factor by which a `fit` multiplies each variable."""
    before = {v.path: keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables}
    model.fit(X, Y, batch_size=8, verbose=0, **fit)
    after = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    return {
        path: round(float(np.sum(after[path] * value) / np.sum(value * value)), 4) if value.any() else 1.0
        for path, value in before.items()
    }


def names(variables):
    return sorted("/".join(variable.path.split("/")[-2:]) for variable in variables)


@NOT_ON_JAX
@pytest.mark.parametrize("build", [sequential, nested, subclassed])
def test_applied_regularizer_takes_effect_before_and_after_fit(build, compile_modes):
    for mode in compile_modes:
        model = compiled(build, **mode)
        changed = {v.path for v in apply_regularizer(model, SHRINK)}
        assert {path for path in changed if path.endswith("kernel")} == changed
        for expected in (0.8, 0.8, 1.0, 0.8):
            if expected == 1.0:
                remove_regularizers(model)
            elif model.train_function is not None and not model.losses:
                apply_regularizer(model, SHRINK)
            got = factors(model)
            assert {path: got[path] for path in changed} == pytest.approx(dict.fromkeys(changed, expected)), mode
            assert all(value == 1.0 for path, value in got.items() if path not in changed)


@pytest.mark.parametrize("build", [sequential, nested, subclassed])
def test_evaluate_includes_applied_regularizer(build):
    model = compiled(build)
    assert model.evaluate(X, Y, verbose=0) == 0.0
    kernels = apply_regularizer(model, SHRINK)
    expected = sum(float(np.sum(keras.ops.convert_to_numpy(v) ** 2)) for v in kernels)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-5)


def test_apply_regularizer_takes_effect_within_fit():
    class Switch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                apply_regularizer(self.model, SHRINK)

    first, *_ = factors(compiled(sequential), epochs=2, callbacks=[Switch()]).values()
    assert first == pytest.approx(0.8)


def test_apply_regularizer_rebuilds_steps_of_inner_model():
    model = nested()
    inner = model.get_layer("backbone")
    inner.compile(keras.optimizers.SGD(0.1), "mse")
    inner.fit(X, np.zeros((8, 5), "float32"), verbose=0)
    apply_regularizer(model, SHRINK)
    before = inner.get_weights()[0]
    inner.fit(X, np.zeros((8, 5), "float32"), verbose=0, batch_size=8)
    np.testing.assert_allclose(inner.get_weights()[0], 0.8 * before, rtol=1e-5)


@ON_TORCH
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["deep/kernel", "first/kernel", "listed/kernel", "second/kernel"]),
        ({"include": "s*"}, ["second/kernel"]),
        ({"include": ["first", "deep"]}, ["deep/kernel", "first/kernel"]),
        ({"include": "backbone"}, ["first/kernel"]),
        ({"include": "backbone/*"}, ["first/kernel"]),
        ({"include": "block/deep"}, ["deep/kernel"]),
        ({"include": Block}, ["deep/kernel", "listed/kernel"]),
        ({"exclude": Block}, ["first/kernel", "second/kernel"]),
        ({"include": LAYERS.Dense, "exclude": ["block", "fi*"]}, ["second/kernel"]),
        ({"include": lambda layer: layer.units == 5}, ["first/kernel"]),
        ({"exclude": lambda layer: layer.units == 6}, ["first/kernel", "second/kernel"]),
        ({"include": "second", "variables": "*"}, ["second/bias", "second/kernel"]),
        ({"include": "second", "variables": "bias"}, ["second/bias"]),
        ({"include": "s*", "variables": ["bias", "k*"]}, ["second/bias", "second/kernel"]),
        ({"variables": lambda variable: variable.shape == (5,)}, ["first/bias"]),
    ],
)
def test_apply_regularizer_matches_selected_variables(arguments, expected):
    model = nested()
    changed = apply_regularizer(model, SHRINK, **arguments)
    assert names(changed) == expected
    assert names(v for v in model.variables if v.regularizer is SHRINK) == expected
    assert len(model.losses) == len(expected)
    assert names(remove_regularizers(model)) == expected
    assert not model.losses


def test_apply_regularizer_ignores_layers_referenced_but_not_owned():
    other = LAYERS.Dense(2, name="other")
    other(X)
    model = subclassed()
    model.block.__dict__["referenced"] = other
    # These are three kernels of `Dense` layers and the model's own weight.
    assert len(apply_regularizer(model, SHRINK)) == 4
    assert other.kernel.regularizer is None


def test_apply_regularizer_counts_shared_variables_once():
    shared, inputs = LAYERS.Dense(6, name="shared"), keras.Input((6,))
    model = keras.Model(inputs, shared(keras.Sequential([keras.Input((6,)), shared])(inputs)))
    assert len(apply_regularizer(model, SHRINK)) == 1
    assert len(model.losses) == 1


def test_apply_regularizer_replaces_earlier_regularizer_of_any_kind():
    model = sequential()
    for regularizer in ("l2", lambda kernel: keras.ops.sum(kernel), SHRINK):
        apply_regularizer(model, regularizer)
        assert len(model.losses) == 2
    assert model.layers[0].kernel.regularizer is SHRINK


@keras.saving.register_keras_serializable("tests")
def absolute_sum(kernel):
    return keras.ops.sum(keras.ops.absolute(kernel))


@ON_TORCH
def test_saved_and_copied_models_keep_functions_of_variables(tmp_path):
    model = sequential()
    touched = apply_regularizer(model, absolute_sum)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    folded = keras_reg.fold(keras_reg.reparameterize(model, keras_reg.layers.WeightCompander))
    expected = [np.sum(np.abs(keras.ops.convert_to_numpy(variable))) for variable in touched]
    for copy in (model, loaded, folded):
        losses = [float(keras.ops.convert_to_numpy(loss)) for loss in copy.losses]
        np.testing.assert_allclose(losses, expected, rtol=1e-5)


class PerLayer(keras.regularizers.Regularizer):
    def for_layer(self, layer):
        return keras.regularizers.L2(layer.units) if layer.units < 5 else None


def test_apply_regularizer_uses_for_layer():
    model = sequential()
    assert names(apply_regularizer(model, PerLayer())) == ["second/kernel"]
    assert float(model.layers[1].kernel.regularizer.l2) == 3.0
    assert model.layers[0].kernel.regularizer is None


def conv_and_norm():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            LAYERS.Conv2D(4, 3),
            LAYERS.DepthwiseConv2D(3),
            LAYERS.SeparableConv2D(4, 3),
            LAYERS.BatchNormalization(),
            LAYERS.Reshape((-1, 4)),
            LAYERS.LSTM(3),
            LAYERS.Dense(2),
        ]
    )


@NOT_ON_JAX
def test_saved_model_keeps_regularizers_of_layers_with_argument(tmp_path):
    model = conv_and_norm()
    changed = apply_regularizer(model, keras.regularizers.L2(0.5), variables=["*kernel", "gamma"])
    assert len(changed) == 8
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.losses) == 8
    np.testing.assert_allclose(
        float(keras.ops.convert_to_numpy(sum(loaded.losses))),
        0.5 * sum(np.sum(keras.ops.convert_to_numpy(v) ** 2) for v in changed),
        rtol=1e-5,
    )
    remove_regularizers(loaded, variables="gamma")
    loaded.save(tmp_path / "model.keras")
    assert len(keras.saving.load_model(tmp_path / "model.keras").losses) == 7


@NOT_ON_JAX
def test_saved_attention_loses_applied_regularizer(tmp_path):
    inputs = keras.Input((4, 6))
    model = keras.Model(inputs, LAYERS.MultiHeadAttention(2, 3, name="attention")(inputs, inputs))
    assert len(apply_regularizer(model, SHRINK, include=LAYERS.MultiHeadAttention)) == 4
    assert len(model.losses) == 4
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not loaded.losses
    apply_regularizer(loaded, SHRINK)
    assert len(loaded.losses) == 4


def test_apply_regularizer_warns_of_no_effect():
    model = sequential()
    with pytest.warns(NoEffectWarning, match="No variable matched.*include='conv*"):
        assert apply_regularizer(model, SHRINK, include="conv*") == []
    with pytest.warns(NoEffectWarning, match="has a regularizer"):
        assert remove_regularizers(model) == []
    model.trainable = False
    with pytest.warns(NoEffectWarning, match="frozen"):
        assert len(apply_regularizer(model, SHRINK)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnet"}, "model='resnet'"),
        ({"model": keras.Sequential([LAYERS.Dense(2)])}, "To build it first"),
        ({"regularizer": None}, "remove_regularizers"),
        ({"regularizer": "no such thing"}, "regularizer='no such thing'"),
        ({"regularizer": 0.5}, "regularizer=0.5"),
        ({"regularizer": keras.regularizers.L2}, "instance"),
        ({"include": 3}, "include=3"),
        ({"include": [LAYERS.Dense, None]}, "include="),
        ({"exclude": LAYERS.Dense(3)}, "exclude="),
        ({"variables": None}, "variables=None"),
        ({"variables": ["kernel", 3]}, "variables="),
    ],
)
def test_apply_regularizer_rejects_wrong_arguments(arguments, message):
    arguments = {"model": sequential(), "regularizer": SHRINK, **arguments}
    with pytest.raises(ValueError, match="Received: ") as error:
        apply_regularizer(**arguments)
    assert message in str(error.value)
    if "regularizer" not in message and "instance" not in message:
        arguments.pop("regularizer")
        with pytest.raises(ValueError, match="Received: "):
            remove_regularizers(**arguments)


def test_failed_apply_regularizer_keeps_model_unchanged():
    class Fails(keras.regularizers.Regularizer):
        def for_layer(self, layer):
            if layer.name == "second":
                raise ValueError("not this layer")
            return self

    model = sequential()
    with pytest.raises(ValueError, match="not this layer"):
        apply_regularizer(model, Fails())
    assert model.layers[0].kernel.regularizer is None


def test_no_effect_warning_is_one_class():
    assert keras_reg.NoEffectWarning is NoEffectWarning
