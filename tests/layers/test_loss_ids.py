"""Tests that losses of wrapped layers count once, even if the interpreter reuses the ids of deleted tensors."""

from __future__ import annotations

import gc

import keras
import numpy as np
from keras import ops

from keras_reg.layers import SigmaReparam
from tests.support.tiers import ON_TORCH


@ON_TORCH
def test_wrapped_layers_keep_ids_of_counted_losses_unique():
    layers = [SigmaReparam(keras.layers.Dense(3, activity_regularizer="l2")) for _ in range(30)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    plain = keras.Sequential([keras.Input((3,)), *(layer.fold() for layer in layers)])
    x = np.ones((2, 3), "float32")
    for _ in range(5):
        gc.collect()
        model(x), plain(x)
        assert len(model.losses) == len(layers)
        got, expected = (sum(float(ops.convert_to_numpy(loss)) for loss in m.losses) for m in (model, plain))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        variables = model.trainable_variables, model.non_trainable_variables
        values = [[v.value for v in part] for part in variables]
        _, _, losses = model.stateless_call(*values, ops.convert_to_tensor(x), return_losses=True)
        assert len(losses) == len(layers)
