"""Tests of what the cards say about combined methods, in the sections `Composes with` and in docs/composing.md."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg import callbacks, layers, optimizers, regularizers
from keras_reg.ops.low_rank import truncate_rank
from tests.support.composing import (
    CLASSES,
    RNG,
    X,
    Y,
    cross_entropy,
    early_learning,
    fit,
    network,
    rate,
    self_distillation,
)
from tests.support.tiers import ON_TORCH

pytestmark = pytest.mark.any_backend  # Each single term is tested on all backends.

#: Methods that add to the loss, each in a different place. A function changes the model and returns callbacks.
ADDED = {
    "callback": lambda model: [early_learning()],
    "labels": lambda model: [callbacks.TunableLabelSmoothing(rate(high=0.5))],
    "scales": lambda model: [callbacks.Polarization(0.1)],
    "kernels": lambda model: keras_reg.apply_regularizer(model, regularizers.NuclearNorm(0.05)) and [],
    "anchors": lambda model: keras_reg.apply_regularizer(model, regularizers.AnchoredL2(1.0), variables="bias") and [],
    "layer": lambda model: [],
}


def one_step(names, reverse=False):
    """Returns the change of the weights in one step of gradient descent, and the logs."""
    model = network(layers.Dispersive(0.5 if "layer" in names else 0.0))
    methods = [callback for name in names for callback in ADDED[name](model)]
    for variable in model.trainable_variables:  # Move weights away from their anchors.
        if variable.name == "bias":
            variable.assign(ops.full(variable.shape, 0.3))
        elif variable.name == "gamma":  # Stay away from the clipping range.
            variable.assign(np.linspace(0.2, 0.8, 6))
    before = [ops.convert_to_numpy(variable).copy() for variable in model.trainable_variables]
    history = fit(model, methods[::-1] if reverse else methods)
    after = [ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    return np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)]), history


@ON_TORCH
@pytest.mark.filterwarnings("ignore::keras_reg.NoEffectWarning")
def test_added_loss_terms_sum_in_loss_step_and_logs():
    plain, plain_logs = one_step([])
    alone = {name: one_step([name]) for name in ADDED}
    together, logs = one_step(list(ADDED))
    for name, (change, _) in alone.items():
        assert np.abs(change - plain).max() > 1e-4, f"{name} does nothing here"
    np.testing.assert_allclose(together - plain, sum(change - plain for change, _ in alone.values()), atol=2e-6)
    terms = sum(own["loss"][0] - plain_logs["loss"][0] for _, own in alone.values())
    np.testing.assert_allclose(logs["loss"][0] - plain_logs["loss"][0], terms, atol=1e-5)
    for name, term in (("callback", "early_learning"), ("labels", "label_smoothing"), ("scales", "polarization")):
        np.testing.assert_allclose(logs[term], alone[name][1][term], rtol=1e-5)
    np.testing.assert_allclose(one_step(list(ADDED), reverse=True)[0], together, atol=1e-7)


def test_label_methods_add_changes_instead_of_chaining():
    """Uses a learning rate of 0, so the past prediction equals the current one and the labels are known."""
    model = network(optimizer=keras.optimizers.SGD(0.0), normalized=False)
    smoothing = callbacks.TunableLabelSmoothing(rate(high=0.5))
    distillation = self_distillation(final_weight=0.5, schedule="constant")
    history = fit(model, [distillation, smoothing], epochs=2)
    p = ops.convert_to_numpy(ops.softmax(model.predict(X, verbose=0)))
    y = np.eye(CLASSES)[Y]
    expected = [(1 - w - 0.2) * y + w * p + 0.2 / CLASSES for w in (0.0, 0.5)]
    losses_ = [-np.mean(np.sum(label * np.log(p), 1)) for label in expected]
    np.testing.assert_allclose(history["loss"], losses_, rtol=1e-5)
    chained = 0.5 * (0.8 * y + 0.2 / CLASSES) + 0.5 * p
    assert abs(-np.mean(np.sum(chained * np.log(p), 1)) - losses_[1]) > 1e-3


@ON_TORCH
def test_monitoring_callbacks_keep_other_methods_unchanged():
    def weights(*readers):
        model = network()
        keras_reg.apply_regularizer(model, "l2")
        return fit(model, [early_learning(), *readers], epochs=2), model.get_weights()

    logs, alone = weights()
    collapse = callbacks.CollapseMonitor(None, X, min_deviation=0.0, min_rank=0.0)
    readers = (callbacks.SoftmaxCollapseMonitor(), callbacks.GeneralizedGaussianShape(variables="kernel"))
    more, watched = weights(callbacks.RegularizationReport(), collapse, *readers)
    for one, other in zip(alone, watched, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)
    new = {"softmax_collapse", "generalized_gaussian_shape", "regularization_share", "collapse_rank"}
    assert new <= set(more)
    assert not new & set(logs)
    np.testing.assert_allclose(more["early_learning"], logs["early_learning"], rtol=1e-6)


def test_step_after_rank_pruning_equals_step_of_cut_network():
    model = network(normalized=False)
    weights = model.get_weights()
    for index in (0, 2):
        weights[index] = ops.convert_to_numpy(truncate_rank(weights[index], 0.6)[0])
    fit(model, [early_learning(), callbacks.TrainedRankPruning(every_n_steps=1, energy=0.6)])
    by_hand = network(normalized=False)
    assert np.abs(weights[0] - by_hand.get_weights()[0]).max() > 1e-2
    by_hand.set_weights(weights)
    fit(by_hand, [early_learning()])
    for one, other in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_orthogonal_gradient_keeps_normalized_directions_unchanged():
    def directions(optimizer):
        model = keras_reg.reparameterize(network(normalized=False), layers.WeightNormalization, include="head")
        model.compile(optimizer, cross_entropy(), run_eagerly=True)
        before = ops.convert_to_numpy(model.get_layer("head").layer.kernel).copy()
        fit(model)
        return ops.convert_to_numpy(model.get_layer("head").layer.kernel) - before

    plain = directions(keras.optimizers.SGD(0.1))
    assert np.abs(plain).max() > 1e-3
    np.testing.assert_allclose(directions(optimizers.OrthogonalGradient(keras.optimizers.SGD(0.1))), plain, atol=1e-6)


def test_pruning_before_factorizing_saves_parameters_and_drops_anchors():
    kernel = RNG.normal(size=(20, 2)) @ RNG.normal(size=(2, 20))
    kernel[:, 3] = 0.0
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(20, "relu"), keras.layers.Dense(20)])
    model.layers[0].set_weights([kernel, np.zeros(20)])
    keras_reg.apply_regularizer(model, regularizers.AnchoredL2())
    pruned = keras_reg.prune(model)
    assert [layer.kernel.regularizer for layer in pruned.layers] == [None, None]
    thin = keras_reg.low_rank_factorize(model)
    assert not any(variable.regularizer for variable in thin.layers[0].trainable_variables)
    with pytest.warns(keras_reg.NoEffectWarning, match="prune has removed nothing"):
        late = keras_reg.prune(thin)
    assert keras_reg.low_rank_factorize(pruned).count_params() < late.count_params()


def test_pruning_methods_skip_wrapped_layers_until_folded():
    model = network(normalized=False)
    kernel, bias = model.layers[0].get_weights()
    kernel[:, 1] = 0.0
    model.layers[0].set_weights([kernel, bias * 0.0])
    model = keras_reg.reparameterize(model, layers.SigmaReparam)
    with pytest.warns(keras_reg.NoEffectWarning, match="prune has removed nothing"):
        assert keras_reg.prune(model).count_params() == model.count_params()
    assert keras_reg.prune(keras_reg.fold(model)).layers[0].units == 5
    with pytest.warns(keras_reg.NoEffectWarning, match="nothing to cut"):
        fit(model, [callbacks.TrainedRankPruning(every_n_steps=1)])


def test_attention_entropy_accepts_wrapped_attention_and_tokens():
    inputs = keras.Input((5, 8))
    longer = layers.RegularizationTokens(2, initializer="ones")(inputs)  # Equal tokens give uniform attention.
    attention = layers.SigmaReparam(keras.layers.MultiHeadAttention(2, 4))
    outputs, scores = attention(longer, longer, return_attention_scores=True)
    outputs = layers.AttentionEntropy(1.0)(outputs, attention_scores=scores)
    model = keras.Model(inputs, layers.DropTokens(2)(outputs))
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    x = np.ones((2, 5, 8), "float32")
    loss = model.fit(x, model.predict(x, verbose=0), verbose=0).history["loss"][0]
    np.testing.assert_allclose(loss, -np.log(7.0), rtol=1e-5)  # This is the largest entropy.
