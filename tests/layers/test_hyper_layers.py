"""Tests of layers whose weights respond to hyperparameters: weights per sample, training, folding and saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.layers import HyperConv2D, HyperDense, HyperEmbedding, HyperLSTM
from keras_reg.ops.hyperparameters import bounded
from keras_reg.tune import Float, Int
from keras_reg.tune._override import override_values
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import (
    ENDS_MASKS,
    IMAGE,
    ROWS,
    SEQUENCE,
    TOKENS,
    HalfSquares,
    L,
    SumOfProducts,
    array,
    normal,
    step_differences,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def make_hyperparameters() -> list[Float]:
    return [Float("rate", init=0.3, low=0.0, high=0.9), Float("decay", init=0.01, low=0.0, log=True)]


#: For each case: the function that makes the layer, its inputs, and the ordinary layer that it folds to.
LAYERS = {
    "HyperDense": (lambda **arguments: HyperDense(4, "tanh", **arguments), ROWS, L.Dense),
    "HyperDense without bias": (lambda **arguments: HyperDense(4, use_bias=False, **arguments), ROWS, L.Dense),
    "HyperDense of sequences": (lambda **arguments: HyperDense(4, "relu", **arguments), SEQUENCE, L.Dense),
    "HyperConv2D": (lambda **arguments: HyperConv2D(4, (3, 2), 2, "same", "relu", **arguments), IMAGE, L.Conv2D),
    "HyperEmbedding": (lambda **arguments: HyperEmbedding(6, 4, **arguments), TOKENS, L.Embedding),
    "HyperLSTM": (lambda **arguments: HyperLSTM(5, **arguments), SEQUENCE, L.LSTM),
    "HyperLSTM backwards": (lambda **arguments: HyperLSTM(5, True, go_backwards=True, **arguments), SEQUENCE, L.LSTM),
}


def build_layer(kind: str, **arguments):
    make, x, plain = LAYERS[kind]
    layer = make(**{"hyperparameters": make_hyperparameters(), **arguments})
    layer(x)
    rng = np.random.default_rng(5)
    for variable in layer.trainable_variables:  # This includes the factors, which are initially small or 0.
        variable.assign(rng.normal(size=variable.shape, scale=0.5))
    return layer, x, plain


def draw_values(x):
    """Draws values of both hyperparameters for each sample."""
    rng = np.random.default_rng(1)
    return {
        "rate": rng.uniform(0.1, 0.8, len(x)).astype("float32"),
        "decay": rng.uniform(0.01, 1, len(x)).astype("float32"),
    }


def get_hyperparameters(layer):
    return (layer.cell if isinstance(layer, HyperLSTM) else layer).hyperparameters


@ON_TORCH
@pytest.mark.parametrize("kind", LAYERS)
def test_hyper_layers_use_weights_of_each_samples_hyperparameters(kind):
    """Compares each sample with the layer that is folded at the hyperparameters of the sample."""
    layer, x, plain = build_layer(kind, centered=False)
    values = draw_values(x)
    with override_values(values):
        outputs = array(layer(x))
    for row in range(len(x)):
        for hyperparameter in get_hyperparameters(layer):
            hyperparameter.set(float(values[hyperparameter.name][row]))
        folded = layer.fold()
        assert type(folded) is plain
        np.testing.assert_allclose(outputs[row], array(folded(x))[row], **CLOSE)
        np.testing.assert_allclose(outputs[row], array(layer(x))[row], **CLOSE)
    assert np.abs(outputs - array(layer(x))).max() > 1e-3


@NOT_ON_JAX
@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperEmbedding", "HyperLSTM"])
def test_centered_hyper_weights_respond_to_deviations_only(kind):
    layer, x, _ = build_layer(kind)
    before, values = array(layer(x)), draw_values(x)
    with override_values(values):
        perturbed = array(layer(x))
    for hyperparameter, value in zip(get_hyperparameters(layer), (0.7, 0.5), strict=True):
        hyperparameter.set(value)
    np.testing.assert_array_equal(array(layer(x)), before)
    np.testing.assert_allclose(array(layer.fold()(x)), before, **CLOSE)
    with override_values(values):
        assert np.abs(array(layer(x)) - perturbed).max() > 1e-3  # The deviation from the current value has changed.
    assert np.abs(perturbed - before).max() > 1e-3


def test_centered_hyper_layers_stop_gradient_of_current_value():
    """Compares the gradients for the overridden value and for the variable, which is read and also subtracted."""
    layer, x, _ = build_layer("HyperDense without bias")
    (rate, _), gradients = layer.hyperparameters, []
    scopes = (
        lambda value: override_values({"rate": value}),
        lambda value: keras.StatelessScope([(rate.variable, value)]),
    )
    for scope in scopes:

        def outputs(value, scope=scope):
            with scope(value):
                return ops.sum(layer(x))

        gradients.append(value_and_gradient(outputs, np.float32(0.3))[1])
    np.testing.assert_allclose(*gradients, rtol=1e-5)
    assert abs(gradients[0]) > 1e-2


@NOT_ON_JAX
def test_hyper_layers_accept_one_perturbed_hyperparameter_of_several():
    """Checks that the other hyperparameters have their current value for each sample."""
    layer, x, _ = build_layer("HyperDense", centered=False)
    values = draw_values(x)
    with override_values({"decay": values["decay"]}):
        partly_overridden = array(layer(x))
    with override_values({"rate": np.full(len(x), 0.3, "float32"), "decay": values["decay"]}):
        np.testing.assert_allclose(partly_overridden, array(layer(x)), **CLOSE)


def test_hyper_weights_respond_to_unrounded_integer():
    layer = HyperDense(4, hyperparameters=[Int("length", init=4, low=0, high=24)], centered=False)
    layer(ROWS)
    layer.trainable_variables[-2].assign(np.ones((1, 8)))
    assert layer.trainable_variables[-2].name == "hyper_kernel"
    with override_values({"length": np.full(6, 4.2, "float32")}):
        low = array(layer(ROWS))
    with override_values({"length": np.full(6, 4.9, "float32")}):
        assert np.abs(array(layer(ROWS)) - low).max() > 1e-3


def test_hyper_layers_train_as_ordinary_layers_without_tuner(compile_modes):
    """Compares gradients in Delta-STN's form with those of the folded layer. The response has no gradient."""
    for mode in compile_modes:
        layer, x, _ = build_layer("HyperDense")
        plain = layer.fold()
        target = normal(6, 4)
        _, gradients = step_differences(layer, HalfSquares(), x, target, **mode)
        _, expected = step_differences(plain, HalfSquares(), x, target, **mode)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(gradient, expected.get(name, 0 * gradient), err_msg=name, **CLOSE)
        assert np.abs(expected["kernel"]).max() > 0.1


@NOT_ON_JAX
@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperEmbedding", "HyperLSTM"])
def test_hyper_layer_penalty_averages_kernels_of_samples(kind, compile_modes):
    """Compares the penalty with the mean over samples of strength * sum(kernel**2).

    Each sample has its strength and kernel. The penalty is added during training only.
    """
    layer, x, _ = build_layer(kind, centered=False)
    layer, x, _ = build_layer(kind, centered=False, l2=get_hyperparameters(layer)[1])
    values = draw_values(x)
    hyperparameters = get_hyperparameters(layer)
    expected = []
    for row in range(len(x)):
        for hyperparameter in hyperparameters:
            hyperparameter.set(float(values[hyperparameter.name][row]))
        kernels = [v for v in layer.fold().trainable_variables if v.name != "bias"]
        expected.append(values["decay"][row] * sum(np.sum(array(kernel) ** 2) for kernel in kernels))
    layer(x)
    assert not layer.losses
    layer(x, training=True)
    np.testing.assert_allclose(
        array(layer.losses[0]), expected[-1], rtol=1e-4
    )  # The current values are those of the last sample.
    if kind == "HyperDense":
        with override_values(values):
            layer(x, training=True)
            np.testing.assert_allclose(array(layer.losses[0]), np.mean(expected), rtol=1e-4)
            # The rest of the loss is 0, so that a compiled step shows the gradient of the penalty.
            loss, gradients = step_differences(
                layer, SumOfProducts(), x, np.zeros((6, 4), "float32"), **compile_modes[-1]
            )
        np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-4)
        assert np.abs(gradients["hyper_kernel"]).max() > 1e-3


@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperLSTM"])
def test_compiled_hyper_layer_gradients_equal_eager_gradients(kind, compile_modes):
    """Compares every mode with the eager step, whose gradients other tests compare with golden numbers."""
    results = []
    for mode in compile_modes:
        layer, x, _ = build_layer(kind)
        outputs = array(layer(x))
        with override_values(draw_values(x)):
            results.append(step_differences(layer, SumOfProducts(), x, normal(*outputs.shape), **mode)[1])
    for result in results:
        for name, gradient in result.items():
            np.testing.assert_allclose(gradient, results[0][name], err_msg=name, rtol=1e-4, atol=1e-5)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in results[0].values())


def make_model_of_all_layers():
    """Returns a model of words and images, with one pair of hyperparameters for all layers."""
    hyperparameters = make_hyperparameters()
    words, images = keras.Input((4,), dtype="int32"), keras.Input((7, 6, 3))
    x = HyperEmbedding(6, 4, mask_zero=True, hyperparameters=hyperparameters, name="words")(words)
    x = HyperLSTM(3, hyperparameters=hyperparameters, centered=False, l2=hyperparameters[1], name="lstm")(x)
    y = HyperConv2D(2, 3, hyperparameters=hyperparameters, centered=False, name="convolution")(images)
    y = HyperDense(3, "tanh", hyperparameters=hyperparameters, centered=False, name="dense")(L.Flatten()(y))
    model = keras.Model([words, images], L.Concatenate()([x, y]))
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape, scale=0.5))
    return model


@NOT_ON_JAX
@ENDS_MASKS
def test_saved_and_folded_hyper_models_predict_the_same(tmp_path):
    """Compares predictions for inputs with padding, also of the folded model, which has layers of Keras only."""
    model, data = make_model_of_all_layers(), [TOKENS[:2], IMAGE]
    model.layers[-1].trainable = True
    keras_reg.tune.set_hyperparameters(model, {"rate": 0.6, "decay": 0.2})
    expected = array(model(data))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(data)), expected)
    assert {
        name: handles[0].value for name, handles in keras_reg.tune.hyperparameters(loaded).items()
    } == pytest.approx({"rate": 0.6, "decay": 0.2})
    for layer in ("lstm", "dense"):
        assert loaded.get_layer(layer).get_config() == model.get_layer(layer).get_config()
    cell = loaded.get_layer("lstm").cell
    assert cell.l2 is cell.hyperparameters[1]  # Both are the same object, so setting one sets both.
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = make_model_of_all_layers()
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(fresh(data)), expected)
    folded = keras_reg.fold(model)
    np.testing.assert_allclose(array(folded(data)), expected, **CLOSE)
    assert {type(layer).__module__.split(".")[0] for layer in folded.layers} == {"keras"}
    names = [[layer.name for layer in m.layers if not isinstance(layer, L.InputLayer)] for m in (model, folded)]
    assert names[0] == names[1]
    assert not keras_reg.tune.hyperparameters(folded)


@ON_TORCH
@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperEmbedding", "HyperLSTM"])
def test_hyper_layers_keep_weights_in_float32_in_mixed_precision(kind):
    """Checks that weights, hyperparameters and kernels are float32, while inputs and outputs are not."""
    layer, x, _ = build_layer(kind, centered=False, dtype="mixed_bfloat16")
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    expected = array(build_layer(kind, centered=False)[0](x))
    overrides = {name: np.full(len(x), value, "float32") for name, value in (("rate", 0.3), ("decay", 0.01))}
    for values in ({}, overrides):
        with override_values(values):
            outputs = layer(x)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        np.testing.assert_allclose(array(ops.cast(outputs, "float32")), expected, rtol=0.05, atol=0.05)
    assert layer.fold().dtype_policy.name == "mixed_bfloat16"
    penalties = []
    for dtype in ("mixed_bfloat16", "float32"):
        hyperparameters = make_hyperparameters()
        layer, x, _ = build_layer(
            kind, centered=False, hyperparameters=hyperparameters, l2=hyperparameters[1], dtype=dtype
        )
        layer(x, training=True)
        penalties.append(array(layer.losses[0]))
    np.testing.assert_allclose(*penalties, rtol=1e-6)


def test_hyper_embedding_does_not_round_indices_in_16_bits():
    layer = HyperEmbedding(300, 2, hyperparameters=make_hyperparameters(), dtype="mixed_bfloat16")
    words = array(ops.cast(layer(np.float32([[257.0]])), "float32"))[0, 0]
    np.testing.assert_allclose(words, array(layer.fold().embeddings)[257], rtol=0.01)


def test_frozen_hyper_dense_folds_to_frozen_layer_and_accepts_integers():
    layer, _, _ = build_layer("HyperDense")
    layer.trainable = False
    assert not layer.fold().trainable
    np.testing.assert_allclose(array(layer(np.ones((2, 5), "int32"))), array(layer(np.ones((2, 5), "float32"))))


@NOT_ON_JAX
def test_hyper_layers_infer_shapes_without_data():
    for kind, (make, x, _) in LAYERS.items():
        outputs = make(hyperparameters=make_hyperparameters())(
            keras.KerasTensor((None, *x.shape[1:]), dtype=str(x.dtype))
        )
        assert outputs.shape[1:] == build_layer(kind)[0](x).shape[1:], kind


@pytest.mark.parametrize("kind", ["HyperDense", "HyperLSTM"])
def test_hyper_layers_reject_bad_use(kind):
    make = LAYERS[kind][0]
    with pytest.raises(ValueError, match=r"not built.*Received"):
        make(hyperparameters=make_hyperparameters()).fold()
    duplicates = [Float("rate", init=0.3), Float("rate", init=0.4)]
    with pytest.raises(ValueError, match=r"different names.*Received"):
        make(hyperparameters=duplicates)
    with pytest.raises(ValueError, match=r"one of `hyperparameters`.*Received"):
        make(hyperparameters=make_hyperparameters(), l2=Float("other", init=0.1, low=0.0))
    with pytest.raises(ValueError, match=r"`low` of at least 0.*Received"):
        make(hyperparameters=duplicates[:1], l2=duplicates[0])
    signed = Float("signed", init=0.1, low=-1.0)
    with pytest.raises(ValueError, match=r"`low` of at least 0.*Received"):
        make(hyperparameters=[signed], l2=signed)
    with pytest.raises(TypeError, match="hyperparameters"):
        make()


def test_hyper_layers_pass_gradients_to_free_numbers():
    """Compares the gradient that a tuner uses with central differences."""
    layer, x, _ = build_layer("HyperDense without bias", centered=False)
    hyperparameter = layer.hyperparameters[0]
    upstream = ops.convert_to_tensor(normal(6, 4))

    def loss(free):
        with override_values({"rate": bounded(free, hyperparameter.low, hyperparameter.high)}):
            return ops.sum(layer(x) * upstream)

    _, gradient = value_and_gradient(loss, np.float32(-0.4))
    difference = (array(loss(np.float32(-0.39))) - array(loss(np.float32(-0.41)))) / 0.02
    np.testing.assert_allclose(gradient, difference, rtol=0.01)
    assert abs(difference) > 0.05


@pytest.mark.parametrize("kind", ["HyperDense", "HyperLSTM"])
def test_compiled_hyper_models_use_newly_set_hyperparameter(kind):
    """Sets a value after compilation, and compares predictions with those of the layer that is folded afterwards."""
    layer, x, _ = build_layer(kind, centered=False)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    before = model.predict(x, verbose=0)
    keras_reg.tune.set_hyperparameters(model, {"rate": 0.8, "decay": 0.5})
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after, array(layer.fold()(x)), **CLOSE)
    assert np.abs(after - before).max() > 1e-3
