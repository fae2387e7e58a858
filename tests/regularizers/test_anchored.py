"""Tests of regularizers with anchors: their effect, and how models store, load and pass on the anchors."""

from __future__ import annotations

import functools
import warnings

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg import apply_regularizer, remove_regularizers
from keras_reg.regularizers import AnchoredL2, ElasticWeightConsolidation
from keras_reg.surgery._cloning import exchange
from tests.support.tiers import ON_TORCH
from tests.support.wrapped import array

X, Y = np.random.default_rng(0).normal(size=(2, 16, 6)).astype("float32")
JAX = keras.backend.backend() == "jax"


def network(**arguments):
    """Returns a model with a body, which represents pretrained layers, and a head."""
    body = keras.layers.Dense(5, name="body", kernel_initializer="glorot_normal", **arguments)
    model = keras.Sequential([keras.Input((6,)), body, keras.layers.Dense(6, name="head")], name="network")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


class Subclassed(keras.Model):
    def __init__(self, **arguments):
        super().__init__()
        self.body = keras.layers.Dense(5, name="body", **arguments)
        self.head = keras.layers.Dense(6, name="head")

    def call(self, inputs):
        return self.head(self.body(inputs))

    def get_layer(self, name):
        return getattr(self, name)


def subclassed(**arguments):
    model = Subclassed(**arguments)
    model(X)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def compute_fisher(model):
    return {v.path: np.abs(np.random.default_rng(1).normal(size=v.shape)) for v in model.trainable_variables}


def apply_anchors(model, strength=0.5, kind="l2", **arguments):
    regularizer = AnchoredL2(strength) if kind == "l2" else ElasticWeightConsolidation(compute_fisher(model), strength)
    apply_regularizer(model, regularizer, include="body", **arguments)
    return model.get_layer("body").kernel.regularizer


def fit(model, epochs=2):
    return model.fit(X, Y, batch_size=8, shuffle=False, epochs=epochs, verbose=0)


def get_body(model):
    return array(model.get_layer("body").kernel)


def to_number(x):
    return float(keras.ops.convert_to_numpy(x))


@ON_TORCH
@pytest.mark.parametrize("kind", ["l2", "ewc"])
def test_anchored_l2_keeps_weights_near_anchors(kind):
    distances = {}
    for strength in (0.0, 2.0):
        keras.utils.set_random_seed(1)
        model = network()
        before = get_body(model)
        regularizer = apply_anchors(model, strength, kind)
        fit(model, 20)
        np.testing.assert_array_equal(array(regularizer.anchor), before)
        importance = 1.0 if kind == "l2" else array(regularizer.importance)
        distances[strength] = np.sum(importance * (get_body(model) - before) ** 2)
        np.testing.assert_allclose(to_number(model.losses[0]), strength / 2 * distances[strength], rtol=1e-5)
    assert distances[2.0] < 0.2 * distances[0.0]


def test_anchored_l2_excludes_head():
    model = network()
    apply_anchors(model)
    assert len(model.losses) == 1
    assert model.get_layer("head").kernel.regularizer is None


@pytest.mark.parametrize("build", [network, subclassed])
@pytest.mark.parametrize("kind", ["l2", "ewc"])
def test_anchors_are_inputs_of_the_compiled_step(build, kind):
    """Checks that anchors are not constants: JAX would compile copies of all weights into the step."""
    if not JAX:
        pytest.skip("other backends read variables in place")
    import jax

    # A subclassed model tracks anchors only if its layers are created with the regularizer, before it is built.
    cls = AnchoredL2 if kind == "l2" else ElasticWeightConsolidation
    model = build(**({} if build is network else {"kernel_regularizer": cls(shape=(6, 5))}))
    apply_anchors(model, kind=kind)
    groups = model.trainable_variables, model.non_trainable_variables, model.metrics_variables
    step = functools.partial(model.compute_loss_and_updates, training=True, optimizer_variables=[])
    jaxpr = jax.make_jaxpr(step)(*([v.value for v in group] for group in groups), X, Y, None)
    assert max((np.size(constant) for constant in jaxpr.consts), default=0) < 30
    assert len(groups[1]) == (1 if kind == "l2" else 2)


def test_anchored_l2_warns_of_built_subclassed_model_on_jax():
    model = subclassed()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        regularizer = apply_anchors(model)
    assert ["`shape` of the variable" in str(w.message) for w in seen if w.category is UserWarning] == [True] * JAX
    before = array(regularizer.anchor)
    fit(model)
    np.testing.assert_array_equal(array(regularizer.anchor), before)
    np.testing.assert_allclose(to_number(model.losses[0]), 0.25 * np.sum((get_body(model) - before) ** 2), rtol=1e-5)


def test_anchors_are_variables_but_not_weights():
    """Checks that anchors are in `variables` but not in `weights`, which users count, get and set."""
    model, plain = network(), network()
    apply_anchors(model)
    assert len(model.variables) == len(plain.variables) + 1
    assert len(model.get_weights()) == len(plain.get_weights())
    assert model.count_params() == plain.count_params()
    plain.set_weights(model.get_weights())


@ON_TORCH
@pytest.mark.parametrize("kind", ["l2", "ewc"])
def test_saved_model_keeps_first_anchors(kind, tmp_path):
    model = network()
    regularizer = apply_anchors(model, kind=kind)
    first, importance = array(regularizer.anchor), regularizer.importance
    fit(model)
    model.save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    loaded = resumed.get_layer("body").kernel.regularizer
    np.testing.assert_array_equal(array(loaded.anchor), first)
    if importance is not None:
        np.testing.assert_array_equal(array(loaded.importance), array(importance))
    assert not np.allclose(get_body(resumed), first)
    for each in (model, resumed):
        fit(each)
    np.testing.assert_array_equal(get_body(resumed), get_body(model))
    np.testing.assert_array_equal(array(loaded.anchor), first)
    assert len(resumed.variables) == len(model.variables)
    resumed.save(tmp_path / "again.keras")
    again = keras.saving.load_model(tmp_path / "again.keras")
    np.testing.assert_array_equal(array(again.get_layer("body").kernel.regularizer.anchor), first)


@pytest.mark.parametrize("build", [network, subclassed])
@pytest.mark.filterwarnings("ignore:A subclassed model cannot track")
def test_weights_file_keeps_first_anchors(build, tmp_path):
    """Resumes training without a model file: applies the regularizer, then loads the weights."""
    model = build()
    first = array(apply_anchors(model).anchor)
    fit(model)
    model.save_weights(tmp_path / "anchored.weights.h5")
    resumed = build()
    # The anchors of the new model are wrong until the file is loaded.
    regularizer = apply_anchors(resumed)
    resumed.load_weights(tmp_path / "anchored.weights.h5")
    np.testing.assert_array_equal(array(regularizer.anchor), first)
    np.testing.assert_array_equal(get_body(resumed), get_body(model))


def test_weights_of_plain_model_keep_anchors_unchanged(tmp_path):
    plain, model = network(), network()
    plain.save_weights(tmp_path / "plain.weights.h5")
    first = array(apply_anchors(model).anchor)
    model.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(array(model.get_layer("body").kernel.regularizer.anchor), first)
    np.testing.assert_array_equal(get_body(model), get_body(plain))


def test_reapplied_anchored_l2_anchors_at_current_weights(tmp_path):
    model = network()
    apply_anchors(model)
    fit(model)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        variables = len(each.variables)
        regularizer = apply_anchors(each, 3.0)
        np.testing.assert_array_equal(array(regularizer.anchor), get_body(each))
        assert len(each.variables) == variables, "the old anchors are still there"
        assert to_number(each.losses[0]) == 0.0
        assert each.get_layer("body").get_config()["kernel_regularizer"]["config"]["strength"] == 3.0
        each.get_layer("body").kernel.assign(np.zeros((6, 5)))
        np.testing.assert_allclose(to_number(each.losses[0]), 1.5 * np.sum(array(regularizer.anchor) ** 2), rtol=1e-5)


def test_another_regularizer_replaces_anchored_l2(tmp_path):
    model = network()
    apply_anchors(model)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        apply_anchors(each, kind="ewc")
        apply_regularizer(each, "l2", include="body")
        assert each.get_layer("body").get_config()["kernel_regularizer"]["class_name"] == "L2"
        apply_anchors(each)
        remove_regularizers(each)
        assert each.get_layer("body").get_config()["kernel_regularizer"] is None
        fit(each)
    # No anchors are left in a model whose regularizer was applied after it was built.
    assert len(model.variables) == len(model.weights)


def test_shared_anchored_l2_has_anchors_for_each_layer():
    shared = AnchoredL2(0.5, shape=(6, 6))
    dense = [keras.layers.Dense(6, kernel_regularizer=shared, name=f"dense_{i}") for i in range(2)]
    model = keras.Sequential([keras.Input((6,)), *dense])
    apply_regularizer(model, AnchoredL2(0.5))
    for layer in dense:
        np.testing.assert_array_equal(array(layer.kernel.regularizer.anchor), array(layer.kernel))


def test_model_copies_have_equal_anchors(tmp_path):
    model = network()
    first = array(apply_anchors(model).anchor)
    fit(model)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        copy, _ = exchange(each, lambda layer: None)
        regularizer = copy.get_layer("body").kernel.regularizer
        np.testing.assert_array_equal(array(regularizer.anchor), first)
        assert regularizer is not each.get_layer("body").kernel.regularizer
        np.testing.assert_array_equal(get_body(copy), get_body(model))


def test_anchored_l2_rejects_missing_anchors():
    """Checks a clone, which has the configuration only. Anchors of zeros would be ordinary weight decay."""
    model = network()
    apply_anchors(model)
    clone = keras.models.clone_model(model)
    with pytest.raises(ValueError, match=r"does not know its anchors.*Received: a variable of shape \(6, 5\)"):
        _ = clone.losses
    with pytest.raises(ValueError, match="does not know its anchors"):
        AnchoredL2()(np.zeros(3, "float32"))


def test_elastic_weight_consolidation_rejects_missing_fisher_information():
    model = network()
    fisher = compute_fisher(model)
    del fisher[model.get_layer("body").kernel.path]
    with pytest.raises(ValueError, match=r"no Fisher information for .*body/kernel.*Received: fisher of"):
        apply_regularizer(model, ElasticWeightConsolidation(fisher))
    assert not model.losses
    wrong = {path: np.ones(3) for path in compute_fisher(model)}
    with pytest.raises(ValueError, match=r"Received: importance of shape \(3,\)"):
        apply_regularizer(model, ElasticWeightConsolidation(wrong))


def test_anchored_l2_rejects_computed_kernel():
    layer = keras_reg.layers.WeightNormalization(keras.layers.Dense(4), data_init=False)
    model = keras.Sequential([keras.Input((6,)), layer])
    model(X)
    with pytest.raises(ValueError, match=r"keras_reg.fold.*Received: layer="):
        apply_regularizer(model, AnchoredL2(), variables="*")
    assert not model.losses


def test_anchored_l2_works_in_nested_and_outer_models():
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="body")], name="inner")
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(6, name="head")(inner(inputs)))
    model.compile("sgd", "mse")
    apply_regularizer(inner, AnchoredL2(0.5))
    states = len(inner.variables) - len(inner.weights)
    assert states == len(model.variables) - len(model.weights) == 1
    apply_regularizer(model, AnchoredL2(0.5))
    fit(model)
    assert len(model.variables) - len(model.weights) == 2
