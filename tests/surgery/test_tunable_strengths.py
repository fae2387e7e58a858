"""Tests that models made by surgery contain the tunable strengths of the original model with their current values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg import surgery
from keras_reg.layers import BetaNoise, SigmaReparam, WeightCompander
from tests.support.tiers import ON_TORCH


def regularized(wrapper):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), BetaNoise(), keras.layers.Dense(3)])
    if wrapper is not None:
        model = keras_reg.reparameterize(model, wrapper)
    strength = keras_reg.tune.Float("decay", init=0.1, low=0.0)
    keras_reg.apply_regularizer(model, keras_reg.regularizers.TunableL2(strength))
    strength.set(0.3)
    return model


@ON_TORCH
@pytest.mark.parametrize(
    ("wrapper", "change"),
    [
        (None, surgery.strip),
        (None, lambda model: keras_reg.reparameterize(model, SigmaReparam)),
        (WeightCompander, keras_reg.fold),
        (SigmaReparam, keras_reg.fold),
        (SigmaReparam, surgery.strip),
    ],
    ids=["strip", "reparameterize", "fold a compander", "fold sigma", "strip a wrapped one"],
)
def test_surgery_keeps_tunable_strengths_and_predictions(wrapper, change):
    model = regularized(wrapper)
    new = change(model)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(new.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    strengths = keras_reg.tune.hyperparameters(new)["decay"]
    np.testing.assert_allclose([strength.value for strength in strengths], 0.3, rtol=1e-6)
    assert {id(strength) for strength in strengths}.isdisjoint(map(id, keras_reg.tune.hyperparameters(model)["decay"]))
    # Before folding, only the penalty of a compander applies to the weight.
    if change is not keras_reg.fold or wrapper is WeightCompander:
        losses = [float(ops.convert_to_numpy(sum(each.losses))) for each in (model, new)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
