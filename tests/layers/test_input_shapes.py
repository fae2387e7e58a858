"""Tests that built layers reject inputs of a different width, with a message that names the expected width."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg import layers, models
from keras_reg.tune import Float
from tests.support.tiers import NOT_ON_JAX


def make_arguments() -> dict:
    return {"hyperparameters": [Float("decay", 1e-4, low=0.0, log=True)]}


LAYERS = {
    "HyperDense": (lambda: layers.HyperDense(4, **make_arguments()), (2, 3)),
    "HyperConv2D": (lambda: layers.HyperConv2D(4, 3, **make_arguments()), (2, 5, 5, 3)),
    "HyperLSTM": (lambda: layers.HyperLSTM(4, **make_arguments()), (2, 5, 3)),
    "RegularizationTokens": (lambda: layers.RegularizationTokens(2), (2, 5, 3)),
    "WeightCompander": (lambda: layers.WeightCompander(keras.layers.Dense(4)), (2, 3)),
    "FeatureTokenizer": (lambda: models.FeatureTokenizer(4, [0, 2, 0]), (2, 3)),
    "TransformerEncoder": (lambda: models.TransformerEncoder(3, num_layers=1, num_heads=1, hidden=8), (2, 5, 3)),
}


@NOT_ON_JAX
@pytest.mark.parametrize("difference", [-1, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_built_layers_reject_inputs_of_another_width(name, difference):
    make, shape = LAYERS[name]
    layer, wrong = make(), (*shape[:-1], shape[-1] + difference)
    layer(np.ones(shape, "float32"))
    with pytest.raises(
        ValueError, match=f"expected axis -1 of input shape to have value 3.*, {shape[-1] + difference}\\)"
    ):
        layer(np.ones(wrong, "float32"))
