"""Tests of pruned models, which are smaller and make the same predictions if the channels had no effect."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

RNG = np.random.default_rng(0)


def fill(model: keras.Model) -> None:
    """Assigns random values to all weights, including statistics. Variances are above 0."""
    for variable in model.weights:
        value = RNG.normal(size=variable.shape) * 0.5
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)


def zero_scales(normalization, channels) -> None:
    scale = np.full(normalization.gamma.shape, 0.7, "float32")
    scale[channels] = 0.0
    normalization.gamma.assign(scale)


def zero_kernel(layer, channels) -> None:
    kernel = np.array(ops.convert_to_numpy(layer.kernel))
    kernel[..., channels] = 0.0
    layer.kernel.assign(kernel)


def predictions(model, shape) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    return model.predict(x, verbose=0)


def convolutional(bias: bool, activation: str = "relu") -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((9, 9, 2)),
            layers.Conv2D(6, 3, use_bias=bias, name="first"),
            layers.BatchNormalization(name="norm1"),
            layers.Activation(activation),
            layers.DepthwiseConv2D(2, activation="tanh"),
            layers.MaxPooling2D(2),
            layers.Conv2D(5, 2, use_bias=bias, name="second"),
            layers.BatchNormalization(name="norm2"),
            layers.LeakyReLU(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(7, "gelu", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )


@ON_TORCH
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_prune_removes_zero_channels_and_keeps_predictions(bias, activation):
    """Checks models with large shifts and moving means, whose removed channels have constants that must be kept."""
    model = convolutional(bias, activation)
    fill(model)
    zero_scales(model.get_layer("norm1"), [0, 4])
    zero_kernel(model.get_layer("second"), [1, 2])
    zero_kernel(model.get_layer("hidden"), [6])
    before = [w.copy() for w in model.get_weights()]
    smaller = keras_reg.prune(model, threshold=0.0)
    sizes = {
        layer.name: layer.bias.shape[0] if layer.use_bias else layer.kernel.shape[-1]
        for layer in (smaller.get_layer(name) for name in ("first", "second", "hidden", "head"))
    }
    assert sizes == {"first": 4, "second": 3, "hidden": 6, "head": 3}
    assert smaller.get_layer("hidden").kernel.shape[0] == 2 * 2 * 3
    np.testing.assert_allclose(predictions(smaller, (9, 9, 2)), predictions(model, (9, 9, 2)), rtol=1e-4, atol=1e-5)
    for after, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(after, expected)


@pytest.mark.any_backend
def test_prune_removes_channels_of_scales_below_threshold():
    model = convolutional(True)
    fill(model)
    zero_scales(model.get_layer("norm1"), [3])
    zero_scales(model.get_layer("norm2"), [])
    almost = np.array(ops.convert_to_numpy(model.get_layer("norm1").gamma))
    almost[[1, 5]] = 0.009, -0.009
    model.get_layer("norm1").gamma.assign(almost)
    smaller = keras_reg.prune(model)
    assert smaller.get_layer("first").filters == 3
    np.testing.assert_allclose(
        ops.convert_to_numpy(smaller.get_layer("first").kernel),
        ops.convert_to_numpy(model.get_layer("first").kernel)[..., [0, 2, 4]],
    )
    np.testing.assert_allclose(predictions(smaller, (9, 9, 2)), predictions(model, (9, 9, 2)), rtol=0.1, atol=0.1)
    assert keras_reg.prune(model, threshold=0.008).get_layer("first").filters == 5


@NOT_ON_JAX
def test_prune_moves_constants_into_unpruned_normalization():
    model = convolutional(bias=False)
    fill(model)
    zero_scales(model.get_layer("norm1"), [2])
    mask = keras_reg.regularizers.MaskSparsity(mask=[1, 0, 0, 0, 0])
    keras_reg.apply_regularizer(model, mask, include="norm2", variables="gamma")
    smaller = keras_reg.prune(model, 0.0)
    assert smaller.get_layer("second").filters == 5
    assert smaller.get_layer("norm2").gamma_regularizer.mask == [1, 0, 0, 0, 0]
    np.testing.assert_allclose(predictions(smaller, (9, 9, 2)), predictions(model, (9, 9, 2)), rtol=1e-4, atol=1e-5)


def residual() -> keras.Model:
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    y = layers.Conv2D(6, 1, name="inner", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization(name="norm")(y))
    left, right = layers.Conv2D(4, 1, name="left")(y), layers.Conv2D(4, 3, name="right")(y)
    x = layers.Add()([x, left])
    pooled = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(right)]
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Concatenate()(pooled)))


@NOT_ON_JAX
def test_prune_removes_channels_inside_residual_block():
    model = residual()
    fill(model)
    zero_scales(model.get_layer("norm"), [0, 1, 5])
    for name in ("stem", "left", "right"):
        # These channels are inputs of a sum or a concatenation.
        zero_kernel(model.get_layer(name), [2])
    smaller = keras_reg.prune(model, 0.0)
    filters = {name: smaller.get_layer(name).filters for name in ("stem", "inner", "left", "right")}
    assert filters == {"stem": 4, "inner": 3, "left": 4, "right": 4}
    np.testing.assert_allclose(predictions(smaller, (8, 8, 2)), predictions(model, (8, 8, 2)), rtol=1e-4, atol=1e-5)


@ON_TORCH
@pytest.mark.any_backend
@pytest.mark.parametrize(
    "apply",
    [
        lambda x: layers.Softmax()(x),
        lambda x: layers.Activation("softmax")(x),
        lambda x: layers.LayerNormalization()(x),
        lambda x: layers.Reshape((2, 2))(x),
        lambda x: layers.BatchNormalization()(layers.Flatten()(layers.Reshape((2, 2))(x))),
        lambda x: ops.flip(x, axis=-1),
        lambda x: keras.Sequential([keras.Input((4,)), layers.Dense(2)])(x),
        lambda x: x * x,
    ],
)
def test_prune_skips_channels_before_mixing_layers(apply):
    inputs = keras.Input((5,))
    x = apply(layers.Dense(4, name="hidden")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    fill(model)
    zero_kernel(model.get_layer("hidden"), [1])
    with pytest.warns(NoEffectWarning, match="prune has removed nothing"):
        copy = keras_reg.prune(model)
    np.testing.assert_allclose(predictions(copy, (5,)), predictions(model, (5,)), rtol=1e-6)


@pytest.mark.any_backend
def test_prune_skips_shared_and_output_layers():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    seen = layers.Dense(4, name="seen")(shared(shared(inputs)))
    model = keras.Model(inputs, [seen, layers.Dense(2)(seen)])
    fill(model)
    for name in ("shared", "seen"):
        zero_kernel(model.get_layer(name), [0])
    with pytest.warns(NoEffectWarning):
        keras_reg.prune(model)


@pytest.mark.any_backend
def test_prune_keeps_one_channel_and_respects_exclude():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(4, name="b"), layers.Dense(2)])
    fill(model)
    for name in ("a", "b"):
        zero_kernel(model.get_layer(name), [0, 1, 2, 3])
    smaller = keras_reg.prune(model, exclude="b")
    assert [layer.units for layer in smaller.layers] == [1, 4, 2]
    np.testing.assert_allclose(predictions(smaller, (3,)), predictions(model, (3,)), rtol=1e-5)


@NOT_ON_JAX
def test_pruned_model_trains_saves_and_drops_mask(tmp_path):
    model = convolutional(True)
    model.compile("sgd", "mse")
    fill(model)
    zero_scales(model.get_layer("norm1"), [0, 1])
    keras_reg.apply_regularizer(model, keras_reg.regularizers.MaskSparsity(), include="norm1", variables="gamma")
    keras_reg.apply_regularizer(model, keras_reg.regularizers.AnchoredL2(0.1), include=["first", "head"])
    smaller = keras_reg.prune(model)
    assert smaller.get_layer("norm1").gamma_regularizer is None
    assert smaller.get_layer("first").kernel_regularizer is None
    assert smaller.get_layer("head").kernel_regularizer.anchor.shape == (7, 3)
    assert smaller.optimizer is not model.optimizer
    x = np.zeros((4, 9, 9, 2), "float32")
    smaller.fit(x, np.zeros((4, 3)), epochs=1, verbose=0)
    smaller.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_allclose(predictions(loaded, (9, 9, 2)), predictions(smaller, (9, 9, 2)), rtol=1e-6)


def test_group_envelope_models_are_cut_and_pruned():
    envelope = keras_reg.regularizers.GroupEnvelope(1e-3, num_groups=2)
    step = keras_reg.constraints.ProximalGroupEnvelope(1e-3, num_groups=3, axis=0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "tanh", kernel_constraint=step),
            layers.Dense(4, "tanh", kernel_regularizer=envelope),
            layers.Dense(2),
        ]
    )
    fill(model)
    norms = [
        np.linalg.norm(model.layers[0].kernel.numpy(), axis=1),
        np.linalg.norm(model.layers[1].kernel.numpy(), axis=0),
    ]
    assert [v.path for v in keras_reg.surgery.cut_groups(model)] == [model.layers[i].kernel.path for i in (0, 1)]
    for layer, axis, norm, kept in ((0, 1, norms[0], 3), (1, 0, norms[1], 2)):
        after = np.linalg.norm(model.layers[layer].kernel.numpy(), axis=axis)
        assert set(np.flatnonzero(after)) == set(np.argsort(-norm)[:kept])
        np.testing.assert_allclose(after[after > 0], norm[after > 0], rtol=1e-6)
    smaller = keras_reg.prune(model)
    assert [layer.units for layer in smaller.layers] == [5, 2, 2]
    np.testing.assert_allclose(predictions(smaller, (6,)), predictions(model, (6,)), rtol=1e-5)
    plain = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.warns(NoEffectWarning, match="cut nothing"):
        keras_reg.surgery.cut_groups(plain)


@pytest.mark.any_backend
def test_prune_and_cut_groups_reject_bad_arguments():
    model = convolutional(True)
    for threshold in (-1, True, "0.01"):
        with pytest.raises(ValueError, match=f"Received: threshold={threshold!r}"):
            keras_reg.prune(model, threshold=threshold)
    with pytest.raises(ValueError, match=r"Received: include=3"):
        keras_reg.prune(model, include=3)
    with pytest.raises(ValueError, match=r"Received: model="):
        keras_reg.prune(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"Received: model=3"):
        keras_reg.surgery.cut_groups(3)
