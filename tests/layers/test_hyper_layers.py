"""Layers whose weights respond to hyperparameters: each sample's own weights, training, folding, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.layers import HyperConv2D, HyperDense, HyperEmbedding, HyperLSTM
from keras_reg.ops.hyperparameters import bounded
from keras_reg.tune import Float, Int
from keras_reg.tune.hyperparameter import override_values
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


def handles() -> list[Float]:
    return [Float("rate", init=0.3, low=0.0, high=0.9), Float("decay", init=0.01, low=0.0, log=True)]


#: What makes each layer, its inputs, and the ordinary layer that it folds to.
LAYERS = {
    "HyperDense": (lambda **k: HyperDense(4, "tanh", **k), ROWS, L.Dense),
    "HyperDense without bias": (lambda **k: HyperDense(4, use_bias=False, **k), ROWS, L.Dense),
    "HyperDense of sequences": (lambda **k: HyperDense(4, "relu", **k), SEQUENCE, L.Dense),
    "HyperConv2D": (lambda **k: HyperConv2D(4, (3, 2), 2, "same", "relu", **k), IMAGE, L.Conv2D),
    "HyperEmbedding": (lambda **k: HyperEmbedding(6, 4, **k), TOKENS, L.Embedding),
    "HyperLSTM": (lambda **k: HyperLSTM(5, **k), SEQUENCE, L.LSTM),
    "HyperLSTM backwards": (lambda **k: HyperLSTM(5, True, go_backwards=True, **k), SEQUENCE, L.LSTM),
}


def built(kind: str, **arguments):
    make, x, plain = LAYERS[kind]
    layer = make(**{"hyperparameters": handles(), **arguments})
    layer(x)
    rng = np.random.default_rng(5)
    for variable in layer.trainable_variables:  # the factors too, which begin small or 0
        variable.assign(rng.normal(size=variable.shape, scale=0.5))
    return layer, x, plain


def given(x):
    """Values of both hyperparameters for each sample."""
    rng = np.random.default_rng(1)
    return {
        "rate": rng.uniform(0.1, 0.8, len(x)).astype("float32"),
        "decay": rng.uniform(0.01, 1, len(x)).astype("float32"),
    }


def hyperparameters_of(layer):
    return (layer.cell if isinstance(layer, HyperLSTM) else layer).hyperparameters


@ON_TORCH
@pytest.mark.parametrize("kind", LAYERS)
def test_hyper_layers_use_weights_of_each_samples_hyperparameters(kind):
    """Those of the layer that is folded at its values."""
    layer, x, plain = built(kind, centered=False)
    values = given(x)
    with override_values(values):
        outputs = array(layer(x))
    for row in range(len(x)):
        for handle in hyperparameters_of(layer):
            handle.set(float(values[handle.name][row]))
        folded = layer.fold()
        assert type(folded) is plain
        np.testing.assert_allclose(outputs[row], array(folded(x))[row], **CLOSE)
        np.testing.assert_allclose(outputs[row], array(layer(x))[row], **CLOSE)
    assert np.abs(outputs - array(layer(x))).max() > 1e-3


@NOT_ON_JAX
@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperEmbedding", "HyperLSTM"])
def test_centered_hyper_weights_respond_to_deviations_only(kind):
    layer, x, _ = built(kind)
    before, values = array(layer(x)), given(x)
    with override_values(values):
        perturbed = array(layer(x))
    for handle, value in zip(hyperparameters_of(layer), (0.7, 0.5), strict=True):
        handle.set(value)
    np.testing.assert_array_equal(array(layer(x)), before)
    np.testing.assert_allclose(array(layer.fold()(x)), before, **CLOSE)
    with override_values(values):
        assert np.abs(array(layer(x)) - perturbed).max() > 1e-3  # from another present value
    assert np.abs(perturbed - before).max() > 1e-3


def test_centered_hyper_layers_stop_gradient_of_current_value():
    """By the variable too, which is read and subtracted, the outputs have the gradient of the deviation."""
    layer, x, _ = built("HyperDense without bias")
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
    """Those that are not perturbed have their present value for each sample."""
    layer, x, _ = built("HyperDense", centered=False)
    values = given(x)
    with override_values({"decay": values["decay"]}):
        some = array(layer(x))
    with override_values({"rate": np.full(len(x), 0.3, "float32"), "decay": values["decay"]}):
        np.testing.assert_allclose(some, array(layer(x)), **CLOSE)


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
    """In Delta-STN's form: the response has no gradient, and the general weights have that of the plain layer."""
    for mode in compile_modes:
        layer, x, _ = built("HyperDense")
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
    """The mean over samples of strength * sum(kernel**2), with each one's strength and kernel; in training only."""
    layer, x, _ = built(kind, centered=False)
    layer, x, _ = built(kind, centered=False, l2=hyperparameters_of(layer)[1])
    values = given(x)
    handles = hyperparameters_of(layer)
    expected = []
    for row in range(len(x)):
        for handle in handles:
            handle.set(float(values[handle.name][row]))
        kernels = [v for v in layer.fold().trainable_variables if v.name != "bias"]
        expected.append(values["decay"][row] * sum(np.sum(array(kernel) ** 2) for kernel in kernels))
    layer(x)
    assert not layer.losses
    layer(x, training=True)
    np.testing.assert_allclose(array(layer.losses[0]), expected[-1], rtol=1e-4)  # at the present values
    if kind == "HyperDense":
        with override_values(values):
            layer(x, training=True)
            np.testing.assert_allclose(array(layer.losses[0]), np.mean(expected), rtol=1e-4)
            # Compiled, and its gradient: with the rest of the loss 0, one step lowers it.
            loss, gradients = step_differences(
                layer, SumOfProducts(), x, np.zeros((6, 4), "float32"), **compile_modes[-1]
            )
        np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-4)
        assert np.abs(gradients["hyper_kernel"]).max() > 1e-3


@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperLSTM"])
def test_compiled_hyper_layer_gradients_equal_eager_gradients(kind, compile_modes):
    """Their gradients in every mode: those of the eager step, which are compared with golden numbers elsewhere."""
    results = []
    for mode in compile_modes:
        layer, x, _ = built(kind)
        outputs = array(layer(x))
        with override_values(given(x)):
            results.append(step_differences(layer, SumOfProducts(), x, normal(*outputs.shape), **mode)[1])
    for result in results:
        for name, gradient in result.items():
            np.testing.assert_allclose(gradient, results[0][name], err_msg=name, rtol=1e-4, atol=1e-5)
    assert all(np.abs(gradient).max() > 1e-3 for gradient in results[0].values())


def model_of_all():
    """Two models in one: words and images, with one pair of hyperparameters for all layers."""
    both = handles()
    words, images = keras.Input((4,), dtype="int32"), keras.Input((7, 6, 3))
    x = HyperEmbedding(6, 4, mask_zero=True, hyperparameters=both, name="words")(words)
    x = HyperLSTM(3, hyperparameters=both, centered=False, l2=both[1], name="lstm")(x)
    y = HyperConv2D(2, 3, hyperparameters=both, centered=False, name="convolution")(images)
    y = HyperDense(3, "tanh", hyperparameters=both, centered=False, name="dense")(L.Flatten()(y))
    model = keras.Model([words, images], L.Concatenate()([x, y]))
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape, scale=0.5))
    return model


@NOT_ON_JAX
@ENDS_MASKS
def test_saved_and_folded_hyper_models_predict_the_same(tmp_path):
    """With words that are padding: the mask goes through, also in the folded model, which is of Keras alone."""
    model, data = model_of_all(), [TOKENS[:2], IMAGE]
    model.layers[-1].trainable = True
    keras_reg.tune.set_hyperparameters(model, {"rate": 0.6, "decay": 0.2})
    expected = array(model(data))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(data)), expected)
    assert {name: found[0].value for name, found in keras_reg.tune.hyperparameters(loaded).items()} == pytest.approx(
        {"rate": 0.6, "decay": 0.2}
    )
    for layer in ("lstm", "dense"):
        assert loaded.get_layer(layer).get_config() == model.get_layer(layer).get_config()
    of_cell = loaded.get_layer("lstm").cell
    assert of_cell.l2 is of_cell.hyperparameters[1]  # one object: what sets one sets both
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = model_of_all()
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(array(fresh(data)), expected)
    folded = keras_reg.fold(model)
    np.testing.assert_allclose(array(folded(data)), expected, **CLOSE)
    assert {type(layer).__module__.split(".")[0] for layer in folded.layers} == {"keras"}
    names = [[layer.name for layer in one.layers if not isinstance(layer, L.InputLayer)] for one in (model, folded)]
    assert names[0] == names[1]
    assert not keras_reg.tune.hyperparameters(folded)


@ON_TORCH
@pytest.mark.parametrize("kind", ["HyperDense", "HyperConv2D", "HyperEmbedding", "HyperLSTM"])
def test_hyper_layers_keep_weights_in_float32_in_mixed_precision(kind):
    """Weights, hyperparameters and what is computed of them are float32; inputs and outputs are not."""
    layer, x, _ = built(kind, centered=False, dtype="mixed_bfloat16")
    assert {variable.dtype for variable in layer.variables} == {"float32"}
    expected = array(built(kind, centered=False)[0](x))
    for values in ({}, {name: np.full(len(x), handle, "float32") for name, handle in (("rate", 0.3), ("decay", 0.01))}):
        with override_values(values):
            outputs = layer(x)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        np.testing.assert_allclose(array(ops.cast(outputs, "float32")), expected, rtol=0.05, atol=0.05)
    assert layer.fold().dtype_policy.name == "mixed_bfloat16"
    penalties = []
    for dtype in ("mixed_bfloat16", "float32"):
        both = handles()
        layer, x, _ = built(kind, centered=False, hyperparameters=both, l2=both[1], dtype=dtype)
        layer(x, training=True)
        penalties.append(array(layer.losses[0]))
    np.testing.assert_allclose(*penalties, rtol=1e-6)


def test_hyper_embedding_does_not_round_indices_in_16_bits():
    layer = HyperEmbedding(300, 2, hyperparameters=handles(), dtype="mixed_bfloat16")
    words = array(ops.cast(layer(np.float32([[257.0]])), "float32"))[0, 0]
    np.testing.assert_allclose(words, array(layer.fold().embeddings)[257], rtol=0.01)


def test_frozen_hyper_dense_folds_to_frozen_layer_and_accepts_integers():
    layer, _, _ = built("HyperDense")
    layer.trainable = False
    assert not layer.fold().trainable
    np.testing.assert_allclose(array(layer(np.ones((2, 5), "int32"))), array(layer(np.ones((2, 5), "float32"))))


@NOT_ON_JAX
def test_hyper_layers_infer_shapes_without_data():
    for kind, (make, x, _) in LAYERS.items():
        outputs = make(hyperparameters=handles())(keras.KerasTensor((None, *x.shape[1:]), dtype=str(x.dtype)))
        assert outputs.shape[1:] == built(kind)[0](x).shape[1:], kind


@pytest.mark.parametrize("kind", ["HyperDense", "HyperLSTM"])
def test_hyper_layers_reject_bad_use(kind):
    make = LAYERS[kind][0]
    with pytest.raises(ValueError, match=r"not built.*Received"):
        make(hyperparameters=handles()).fold()
    twice = [Float("rate", init=0.3), Float("rate", init=0.4)]
    with pytest.raises(ValueError, match=r"different names.*Received"):
        make(hyperparameters=twice)
    with pytest.raises(ValueError, match=r"one of `hyperparameters`.*Received"):
        make(hyperparameters=handles(), l2=Float("other", init=0.1, low=0.0))
    with pytest.raises(ValueError, match=r"`low` of at least 0.*Received"):
        make(hyperparameters=twice[:1], l2=twice[0])
    signed = Float("signed", init=0.1, low=-1.0)
    with pytest.raises(ValueError, match=r"`low` of at least 0.*Received"):
        make(hyperparameters=[signed], l2=signed)
    with pytest.raises(TypeError, match="hyperparameters"):
        make()


def test_hyper_layers_pass_gradients_to_free_numbers():
    """By a tuner's step: the loss with the values of free numbers, against central differences."""
    layer, x, _ = built("HyperDense without bias", centered=False)
    handle = layer.hyperparameters[0]
    upstream = ops.convert_to_tensor(normal(6, 4))

    def loss(free):
        with override_values({"rate": bounded(free, handle.low, handle.high)}):
            return ops.sum(layer(x) * upstream)

    _, gradient = value_and_gradient(loss, np.float32(-0.4))
    difference = (array(loss(np.float32(-0.39))) - array(loss(np.float32(-0.41)))) / 0.02
    np.testing.assert_allclose(gradient, difference, rtol=0.01)
    assert abs(difference) > 0.05


@pytest.mark.parametrize("kind", ["HyperDense", "HyperLSTM"])
def test_compiled_hyper_models_use_newly_set_hyperparameter(kind):
    """Prediction, compiled before, is that of the model which is folded afterwards."""
    layer, x, _ = built(kind, centered=False)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    before = model.predict(x, verbose=0)
    keras_reg.tune.set_hyperparameters(model, {"rate": 0.8, "decay": 0.5})
    after = model.predict(x, verbose=0)
    np.testing.assert_allclose(after, array(layer.fold()(x)), **CLOSE)
    assert np.abs(after - before).max() > 1e-3
