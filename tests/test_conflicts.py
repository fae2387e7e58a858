"""Tests that combinations that the sections `Composes with` call an error raise one that shows what was received."""

from __future__ import annotations

import keras
import pytest

import keras_reg
from keras_reg import callbacks, constraints, layers, losses, optimizers, regularizers, tune
from tests.support.composing import (
    CLASSES,
    FEATURES,
    TUNING,
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

pytestmark = pytest.mark.any_backend


def with_stablemax(*methods):
    return lambda: fit(network(loss=losses.StableMaxCrossentropy()), methods)


def tuned(*methods, **arguments):
    """Runs self-tuning of a dropout rate, followed by other callbacks in the same `fit`."""

    def train():
        tuning = callbacks.SelfTuning(TUNING, **arguments)
        fit(network(layers.TunableDropout(rate()), normalized=False), [tuning, *methods])

    return train


def two_schedules():
    replayed = {"total_steps": 1, "steps": [0], "values": {"rate": [0.1]}}
    plans = [callbacks.HyperparameterSchedule({"rate": [0.1]}), callbacks.ReplaySchedule(replayed)]
    fit(network(layers.TunableDropout(rate()), normalized=False), plans)


def wrapped(wrapper):
    return keras_reg.reparameterize(network(normalized=False), wrapper)


def constrained(wrapper):
    constraint = constraints.ProximalGroupEnvelope(0.1, num_groups=2)
    return lambda: wrapper(keras.layers.Dense(3, kernel_constraint=constraint)).build((None, 4))


def masked():
    masks = [layers.PolicyNoiseMask(grid=2, blur_sigma=0.0) for _ in range(2)]
    model = keras.Sequential([keras.Input((FEATURES,), name="features"), *masks, keras.layers.Dense(CLASSES)])
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    fit(model, [callbacks.PolicyGradientNoiseMask()])


def responding_beside_tuned_scales():
    model = network(normalized=False)
    companded = layers.WeightCompander(keras.layers.Dense(4), a=tune.Float("a", init=0.9, low=0.05))
    model = keras.Sequential([*model.layers, companded, layers.HyperDense(3, hyperparameters=[rate()])])
    model.compile("sgd", cross_entropy(), run_eagerly=True)
    model.fit(X, Y, verbose=0, callbacks=[callbacks.SelfTuning(TUNING, kind="stn")])


def head_tuning_of(last):
    model = keras.Sequential([keras.Input((FEATURES,)), last])
    model.compile("sgd", cross_entropy())
    tune.ImplicitHeadTuning(max_steps=1).tune_head(model, (X, Y), TUNING)


def of_tables(*methods):
    tokenizer = keras_reg.models.FeatureTokenizer(4, cardinalities=[0] * FEATURES)
    parts = [keras_reg.models.TransformerEncoder(4, num_layers=1, num_heads=2, hidden=4) for _ in range(2)]
    model = keras_reg.models.TabularJEPA(tokenizer, *parts)
    model.compile("sgd", run_eagerly=True)
    model.fit(X, verbose=0, callbacks=list(methods))


CROSS_ENTROPY, TWICE = "works on categorical cross-entropy", "add a term of the same name"
CONFLICTS = {
    "two on one output": (lambda: fit(network(), [early_learning(), early_learning()]), TWICE),
    "both callbacks of scales": (
        lambda: fit(network(), [callbacks.Polarization(0.1), callbacks.SparsityMask(mask_epoch=1)]),
        TWICE,
    ),
    "mixup twice": (
        lambda: fit(network(), [callbacks.TunableMixup(rate(name)) for name in ("a", "b")]),
        TWICE,
    ),
    "self-tuning and a memory": (tuned(early_learning()), "second time"),
    "self-tuning and a frozen model": (tuned(callbacks.ProgressiveSelfDistillation(source="model")), "second time"),
    "self-tuning and a schedule of the same": (
        tuned(callbacks.HyperparameterSchedule({"rate": [0.1]})),
        "would change the same hyperparameters",
    ),
    "two schedules of the same": (two_schedules, "The logs already contain 'rate'"),
    "stn and nothing that responds": (tuned(kind="stn"), "layers whose weights respond"),
    "stn and tuned scales": (responding_beside_tuned_scales, "with `kind='delta'`"),
    "stablemax and self-distillation": (with_stablemax(self_distillation()), CROSS_ENTROPY),
    "stablemax and smoothing": (with_stablemax(callbacks.TunableLabelSmoothing(rate())), CROSS_ENTROPY),
    "stablemax and mixup": (with_stablemax(callbacks.TunableMixup(rate())), CROSS_ENTROPY),
    "stablemax and its monitor": (with_stablemax(callbacks.SoftmaxCollapseMonitor()), CROSS_ENTROPY),
    "stablemax and early learning": (with_stablemax(early_learning()), "pass `from_logits=True`"),
    "stablemax and fisher": (
        lambda: keras_reg.training.fisher_diagonal(network(loss=losses.StableMaxCrossentropy()), (X, Y)),
        "cross-entropy of Keras",
    ),
    "two trained masks": (masked, "must have one"),
    "two wrappers": (lambda: layers.WeightNormalization(layers.WeightCompander(keras.layers.Dense(3))), "wraps Dense"),
    "a wrapper of what responds": (
        lambda: layers.WeightCompander(layers.HyperDense(3, hyperparameters=[rate()])),
        "wraps Dense",
    ),
    "two optimizers": (
        lambda: optimizers.OrthogonalGradient(optimizers.CompanderScaled("adam")),
        "that is not a wrapper",
    ),
    "two optimizers, turned round": (
        lambda: optimizers.CompanderScaled(optimizers.OrthogonalGradient("adam")),
        "that is not a wrapper",
    ),
    "scaled steps and averages": (
        lambda: optimizers.CompanderScaled(keras.optimizers.Adam(use_ema=True)),
        "must not average",
    ),
    "anchors of a companded kernel": (
        lambda: keras_reg.apply_regularizer(wrapped(layers.WeightCompander), regularizers.AnchoredL2()),
        "Anchors are values of the weight",
    ),
    "anchors of a normalized kernel": (
        lambda: keras_reg.apply_regularizer(wrapped(layers.SigmaReparam), regularizers.AnchoredL2()),
        "Anchors are values of the weight",
    ),
    "a constraint of lengths": (constrained(layers.WeightNormalization), "does not support a kernel constraint"),
    "a constraint of sigma": (constrained(layers.SigmaReparam), "does not support a kernel constraint"),
    "a wrapped head": (
        lambda: head_tuning_of(layers.WeightNormalization(keras.layers.Dense(CLASSES))),
        "must be a `Dense`",
    ),
    "a head that responds": (
        lambda: head_tuning_of(layers.HyperDense(CLASSES, hyperparameters=[rate()])),
        "must be a `Dense`",
    ),
    "tables have no classes": (lambda: of_tables(early_learning()), "logits or probabilities"),
    "tables have no softmax": (lambda: of_tables(callbacks.SoftmaxCollapseMonitor()), CROSS_ENTROPY),
}


@ON_TORCH
@pytest.mark.parametrize("what", CONFLICTS)
def test_documented_conflicts_of_methods_raise(what):
    attempt, says = CONFLICTS[what]
    with pytest.raises(ValueError, match=says) as raised:
        attempt()
    assert "Received" in str(raised.value)
