"""Trains wrapped layers on two devices and on one device, and compares them."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np

from keras_reg.layers import Dispersive, SigmaReparam, WeightCompander, WeightNormalization
from tests.support.replicas import two_replicas

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32") * np.linspace(1, 3, 8, dtype="float32")[:, None]
Y = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")


def train(scope) -> tuple[keras.Model, list[float]]:
    """Returns the model and the logged losses. Replicas take turns in each layer of this package."""
    with scope:
        keras.utils.set_random_seed(0)
        layers = [
            WeightNormalization(keras.layers.Dense(4, activity_regularizer="l2")),
            keras.layers.Dense(4, activity_regularizer="l2"),
            Dispersive(0.3),
            keras.layers.Dense(4, activity_regularizer="l2"),
            SigmaReparam(keras.layers.Dense(2)),
        ]
        model = keras.Sequential([keras.Input((5,)), *layers])
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=BACKEND == "jax")
    return model, model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]


def copies(variable) -> list[np.ndarray]:
    """Returns the value on each device."""
    value = variable.value
    if hasattr(value, "values"):  # A distributed variable of TensorFlow.
        return [part.numpy() for part in value.values]
    return [np.asarray(shard.data) for shard in value.addressable_shards]


def compare() -> dict[str, Any]:
    """Returns the losses, and the distances of each variable of two replicas from one replica and from its copy."""
    one, loss_of_one = train(contextlib.nullcontext())
    two, loss_of_two = train(two_replicas())
    numpy = keras.ops.convert_to_numpy
    distances = {}
    for alone, shared in zip(one.variables, two.variables, strict=True):
        parts = copies(shared)
        assert len(parts) == 2, len(parts)
        between = max(float(np.abs(part.astype("float32") - parts[0].astype("float32")).max()) for part in parts)
        to_one = float(np.abs(numpy(shared).astype("float32") - numpy(alone).astype("float32")).max())
        distances[alone.path] = [to_one, between]
    return {"distances": distances, "losses": [loss_of_one, loss_of_two]}


def call_in_scope() -> list[float]:
    """Returns the largest difference between eager calls in and outside the scope of two replicas, by wrapper."""

    def call(scope, wrapper) -> np.ndarray:
        with scope:
            keras.utils.set_random_seed(0)
            return keras.ops.convert_to_numpy(wrapper(keras.layers.Dense(3))(X))

    wrappers = (
        WeightCompander,
        lambda layer: WeightCompander(layer, learnable=True),
        WeightNormalization,
        SigmaReparam,
    )
    pairs = [(call(two_replicas(), wrapper), call(contextlib.nullcontext(), wrapper)) for wrapper in wrappers]
    return [float(np.abs(inside - outside).max()) for inside, outside in pairs]
