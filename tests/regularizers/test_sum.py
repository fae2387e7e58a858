"""Tests of sums of regularizers: values, layers, anchors, hyperparameters, files and surgery."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg import apply_regularizer, remove_regularizers
from keras_reg.callbacks import GeneralizedGaussianShape, SelfTuning
from keras_reg.regularizers import (
    AnchoredL2,
    ElasticWeightConsolidation,
    GeneralizedGaussianPrior,
    GroupEnvelope,
    MaskSparsity,
    NuclearNorm,
    OrthogonalConvolution,
    Sum,
    TunableL1,
    TunableL2,
)
from keras_reg.surgery._cloning import exchange
from keras_reg.tune import Float, hyperparameters, set_hyperparameters
from tests.support.golden import assert_matches
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import array

LAYERS = keras.layers
X, Y = np.random.default_rng(0).normal(size=(2, 16, 6)).astype("float32")
# These values were computed by hand for the penalty 0.5 |w| + 0.25 w^2.
GOLDEN = {
    "kernel": np.array([[0.5, -1.25], [2.0, -0.75]]),
    "loss": 0.5 * 4.5 + 0.25 * 6.375,
    "gradient": np.array([[0.75, -1.125], [1.5, -0.875]]),
}


def to_number(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


def make_decay(value=0.5, name="decay"):
    return Float(name, value, low=0.0, log=True)


def make_network(regularizer=None):
    """Returns a model with a body, which represents pretrained layers, and a head."""
    body = LAYERS.Dense(5, name="body", kernel_initializer="glorot_normal", kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((6,)), body, LAYERS.Dense(6, name="head")], name="network")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def anchor_body(model, strength=0.5):
    """Applies a sum with anchors to the body, and returns the regularizer of its kernel."""
    apply_regularizer(model, Sum(AnchoredL2(strength), "l1"), include="body")
    return model.get_layer("body").kernel.regularizer


def fit(model, epochs=2):
    return model.fit(X, Y, batch_size=8, shuffle=False, epochs=epochs, verbose=0).history


def get_body(model):
    return array(model.get_layer("body").kernel)


def test_sum_matches_golden_loss_and_gradient(floatx):
    regularizer = Sum(TunableL1(make_decay(0.5, "l1")), keras.regularizers.L2(0.25))
    assert_matches(regularizer, GOLDEN["kernel"], GOLDEN["loss"], GOLDEN["gradient"], floatx)


def test_sum_adds_penalties_of_different_types():
    """Adds a penalty of Keras in float16 and penalties of this package in float32."""
    kernel = keras.ops.full((4, 3), 2.0, "float16")
    penalty = Sum("l2", NuclearNorm(0.5), lambda x: 0.0)(kernel)
    assert keras.backend.standardize_dtype(penalty.dtype) == "float32"
    assert to_number(penalty) == pytest.approx(0.01 * 48 + 0.5 * np.sqrt(48), rel=1e-3)


def test_sum_accepts_identifiers_and_flattens_nested_sums():
    decay = make_decay()
    nested = Sum(Sum("l2", TunableL2(decay)), keras.regularizers.serialize(NuclearNorm(0.1)), keras.regularizers.L1)
    kinds = [keras.regularizers.L2, TunableL2, NuclearNorm, keras.regularizers.L1]
    assert [type(regularizer) for regularizer in nested.regularizers] == kinds
    stored = keras.saving.serialize_keras_object(nested)
    again = keras.saving.deserialize_keras_object(stored)
    assert [type(regularizer) for regularizer in again.regularizers] == kinds
    assert again.get_config() == nested.get_config()


@NOT_ON_JAX
def test_sum_adapts_to_each_layer():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            LAYERS.Conv2D(4, 3, strides=2),
            LAYERS.EinsumDense("abcd,de->abce", (3, 3, 5)),
            LAYERS.Flatten(),
            LAYERS.Dense(3),
        ]
    )
    assert len(apply_regularizer(model, Sum(OrthogonalConvolution(0.1)))) == 2
    assert len(apply_regularizer(model, Sum(OrthogonalConvolution(0.1), "l2"))) == 3
    kernels = [model.layers[index].kernel for index in (0, 1, 3)]
    options = ({"strides": 2}, None, {})
    expected = [
        to_number(keras.regularizers.L2()(kernel))
        + (0.0 if option is None else to_number(OrthogonalConvolution(0.1, **option)(kernel)))
        for kernel, option in zip(kernels, options, strict=True)
    ]
    np.testing.assert_allclose([to_number(loss) for loss in model.losses], expected, rtol=1e-6)


@ON_TORCH
def test_sum_has_anchors_for_each_variable():
    model = make_network()
    before = [array(layer.kernel) for layer in model.layers]
    fisher = {layer.kernel.path: np.full(layer.kernel.shape, 3.0) for layer in model.layers}
    apply_regularizer(model, Sum(AnchoredL2(0.5), Sum(ElasticWeightConsolidation(fisher, 2.0)), "l1"))
    fit(model)
    for layer, anchor, loss in zip(model.layers, before, model.losses, strict=True):
        np.testing.assert_array_equal(array(layer.kernel.regularizer.regularizers[0].anchor), anchor)
        kernel = array(layer.kernel)
        squares = np.sum((kernel - anchor) ** 2)
        np.testing.assert_allclose(to_number(loss), (0.25 + 3.0) * squares + 0.01 * np.abs(kernel).sum(), rtol=1e-5)


@ON_TORCH
def test_files_keep_anchors_in_sum(tmp_path):
    model = make_network()
    first = array(anchor_body(model).regularizers[0].anchor)
    fit(model)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded, resumed = keras.saving.load_model(tmp_path / "model.keras"), make_network()
    anchor_body(resumed)
    resumed.load_weights(tmp_path / "model.weights.h5")
    fit(model)
    for copy in (loaded, resumed):
        regularizer = copy.get_layer("body").kernel.regularizer
        assert isinstance(regularizer, Sum)
        np.testing.assert_array_equal(array(regularizer.regularizers[0].anchor), first)
        assert len(copy.variables) == len(copy.weights) + 1
    fit(loaded)
    np.testing.assert_array_equal(get_body(loaded), get_body(model))


def test_reapplied_sum_replaces_anchors(tmp_path):
    """Applies a sum again to a model that tracks the anchors of the first one in a layer or in the model."""
    model = make_network()
    anchor_body(model)
    fit(model)
    model.save(tmp_path / "model.keras")
    for copy in (model, keras.saving.load_model(tmp_path / "model.keras")):
        regularizer = anchor_body(copy, 3.0)
        np.testing.assert_array_equal(array(regularizer.regularizers[0].anchor), get_body(copy))
        assert len(copy.variables) == len(copy.weights) + 1, "the old anchors are still tracked"
        config = copy.get_layer("body").get_config()["kernel_regularizer"]["config"]
        assert config["regularizers"][0]["config"]["strength"] == 3.0
        apply_regularizer(copy, Sum(TunableL2(make_decay()), "l1"), include="body")
        assert len(copy.variables) == len(copy.weights) + 1
        assert "decay" in [variable.name for variable in copy.variables]
        remove_regularizers(copy)
        assert not copy.losses
        fit(copy)


def test_anchors_and_strengths_in_sum_are_inputs_of_compiled_step():
    """Checks that neither is a constant, which JAX would compile into the step."""
    if keras.backend.backend() != "jax":
        pytest.skip("other backends read variables in place")
    import jax

    model = make_network()
    apply_regularizer(model, Sum(AnchoredL2(0.5), TunableL2(make_decay())), include="body")
    groups = model.trainable_variables, model.non_trainable_variables, model.metrics_variables
    assert len(groups[1]) == 2
    step = functools.partial(model.compute_loss_and_updates, training=True, optimizer_variables=[])
    jaxpr = jax.make_jaxpr(step)(*([v.value for v in group] for group in groups), X, Y, None)
    assert max((np.size(constant) for constant in jaxpr.consts), default=0) < 30


def test_sum_rejects_missing_anchors_and_computed_kernels():
    with pytest.raises(ValueError, match=r"does not know its anchors.*Received: a variable of shape \(3,\)"):
        Sum("l2", AnchoredL2())(np.zeros(3, "float32"))
    layer = keras_reg.layers.WeightNormalization(LAYERS.Dense(4), data_init=False)
    model = keras.Sequential([keras.Input((6,)), layer])
    model(X)
    with pytest.raises(ValueError, match=r"keras_reg.fold.*Received: layer="):
        apply_regularizer(model, Sum("l2", AnchoredL2()), variables="*")
    assert not model.losses


@pytest.mark.parametrize("created", [True, False])
def test_strength_in_sum_changes_without_retracing_and_is_saved(created, tmp_path):
    """Sets a strength in a layer that is created with the sum, and in a layer that gets the sum later."""
    regularizer = Sum(TunableL2(make_decay()), keras.regularizers.L1(1.0))
    dense = LAYERS.Dense(
        1, kernel_initializer="ones", use_bias=False, kernel_regularizer=regularizer if created else None
    )
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((4, 3), "float32"), np.full((4, 1), 3.0, "float32")
    if not created:
        model.fit(x, y, verbose=0)
        apply_regularizer(model, regularizer)
    step = None
    for value in (0.5, 1.0, 0.25):
        set_hyperparameters(model, {"decay": value})
        assert model.fit(x, y, verbose=0).history["loss"] == pytest.approx([3 * value + 3])
        assert step in (None, model.train_function)
        step = model.train_function
    assert len(model.variables) == len(model.weights) + 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert hyperparameters(loaded)["decay"][0].value == 0.25
    assert loaded.fit(x, y, verbose=0).history["loss"] == pytest.approx([3.75])


@ON_TORCH
def test_self_tuning_tunes_strength_in_sum():
    """Compares with the same penalty that is not in a sum."""
    results = []
    for wrap in (lambda regularizer: regularizer, lambda regularizer: Sum(regularizer, keras.regularizers.L1(0.0))):
        keras.utils.set_random_seed(0)
        model = make_network(wrap(TunableL2(make_decay(1e-2))))
        tuning = SelfTuning((X[::-1].copy(), Y.copy()), warmup_steps=2, train_steps=1, learning_rate=0.05, seed=0)
        model.fit(X, Y, batch_size=8, epochs=5, shuffle=False, verbose=0, callbacks=[tuning])
        results.append(tuning.values["decay"])
    assert abs(results[0] - 1e-2) > 1e-4
    assert results[1] == pytest.approx(results[0], rel=1e-5)


@ON_TORCH
def test_copies_of_models_keep_sums():
    model = make_network()
    apply_regularizer(model, Sum(AnchoredL2(0.5), TunableL2(make_decay())), include="body")
    set_hyperparameters(model, {"decay": 0.125})
    fit(model)
    copy, _ = exchange(model, lambda layer: None)
    regularizer = copy.get_layer("body").kernel.regularizer
    assert regularizer is not model.get_layer("body").kernel.regularizer
    np.testing.assert_allclose([to_number(loss) for loss in copy.losses], [to_number(loss) for loss in model.losses])
    assert hyperparameters(copy)["decay"][0].value == 0.125


@ON_TORCH
def test_strength_in_sum_acts_on_companded_kernel():
    model = keras.Sequential([keras.Input((6,)), keras_reg.layers.WeightCompander(LAYERS.Dense(4))])
    apply_regularizer(model, Sum(TunableL2(make_decay()), "l1"))
    assert [handle.value for handle in hyperparameters(model)["decay"]] == [0.5]
    kernel = array(keras_reg.fold(model).layers[0].kernel)
    expected = 0.5 * np.square(kernel).sum() + 0.01 * np.abs(kernel).sum()
    np.testing.assert_allclose(to_number(model.losses[0]), expected, rtol=1e-5)


@ON_TORCH
def test_prune_drops_anchors_and_masks_from_sums():
    dense, normalization = LAYERS.Dense(5, name="body"), LAYERS.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((6,)), dense, normalization, LAYERS.Dense(3, name="head")])
    normalization.gamma.assign([1.0, 0.0, 1.0, 1.0, 1.0])
    apply_regularizer(model, Sum(AnchoredL2(0.5), TunableL2(make_decay())))
    apply_regularizer(model, Sum(MaskSparsity()), include="norm", variables="gamma")
    smaller = keras_reg.prune(model)
    body = smaller.get_layer("body").kernel.regularizer
    assert smaller.get_layer("body").units == 4
    assert [type(regularizer) for regularizer in body.regularizers] == [TunableL2]
    assert hyperparameters(smaller)["decay"][0] is not hyperparameters(model)["decay"][0]
    assert smaller.get_layer("norm").gamma_regularizer is None
    smaller.compile("sgd", "mse")
    smaller.fit(X, Y[:, :3], verbose=0)


@ON_TORCH
def test_cut_groups_and_gaussian_shape_find_regularizers_in_sums():
    model = make_network()
    apply_regularizer(model, Sum("l2", GroupEnvelope(1e-3, num_groups=2)), include="body")
    prior = GeneralizedGaussianPrior(1e-3, shape=5.0)
    apply_regularizer(model, Sum("l2", prior), include="head")
    model.fit(X, Y, verbose=0, callbacks=[GeneralizedGaussianShape(adapt=True)])
    assert prior.shape != 5.0
    assert [variable.path for variable in keras_reg.surgery.cut_groups(model)] == ["network/body/kernel"]
    assert np.count_nonzero(np.linalg.norm(get_body(model), axis=0)) == 2


@pytest.mark.parametrize("arguments", [(), (None,), ("l3",), (3,), (True,), ("l2", {"class_name": "L3"})])
def test_sum_rejects_other_than_regularizers(arguments):
    with pytest.raises(ValueError, match=r"`regularizers` must be one or more regularizers.*Received: regularizers=\("):
        Sum(*arguments)


class OnlyBiases(keras.regularizers.Regularizer):
    """Does not apply to kernels."""

    def for_variable(self, variable):
        return self if len(variable.shape) == 1 else None

    def __call__(self, x):
        return keras.ops.sum(x)


@ON_TORCH
def test_sum_leaves_out_regularizers_that_do_not_apply_to_a_variable():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    apply_regularizer(model, Sum("l2", OnlyBiases()), variables="*")
    assert [len(v.regularizer.regularizers) for v in model.weights] == [1, 2]
    remove_regularizers(model)
    apply_regularizer(model, Sum(OnlyBiases()), variables="*")
    assert [v.regularizer is None for v in model.weights] == [True, False]


def test_sum_error_keeps_cause():
    with pytest.raises(ValueError, match="`regularizers` must be one or more regularizers") as caught:
        Sum({"class_name": "Nothing", "config": {}})
    assert caught.value.__cause__ is not None
