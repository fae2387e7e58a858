"""Small models and data that several tests train."""

from __future__ import annotations

import keras
import numpy as np


def linear(num_classes: int = 5, features: int = 6, compiled: bool = True, **compile_arguments) -> keras.Model:
    """Returns a linear softmax classifier with logits, trained with gradient descent."""
    model = keras.Sequential([keras.Input((features,), name="features"), keras.layers.Dense(num_classes)])
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss, **compile_arguments)
    return model


class Subclassed(keras.Model):
    """Accepts the dictionary with sample ids. As a subclassed model, it has no graph of layers."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(num_classes)

    def call(self, inputs):
        return self.dense(inputs["features"] if isinstance(inputs, dict) else inputs)


def problem(num_samples: int = 12, num_classes: int = 5, features: int = 6) -> tuple[dict, np.ndarray]:
    """Returns inputs with sample ids, and integer labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_samples, features)).astype("float32")
    y = rng.integers(0, num_classes, num_samples).astype("int32")
    return {"features": x, "sample_id": np.arange(num_samples, dtype="int32")}, y
