"""The model of a callback, with or without updating its variables.

While `fit` runs on JAX, the values of all variables are arguments of the compiled step, and the variables are out of
date. Reading `Callback.model` writes the values back. That costs a copy, and it fails while a step is traced.
"""

from __future__ import annotations

import keras


def updated_model(callback: keras.callbacks.Callback) -> keras.Model | None:
    """Returns a callback's model after updating its variables on JAX. Call it before reading variables."""
    return callback.model


def model_without_update(callback: keras.callbacks.Callback) -> keras.Model | None:
    """Returns a callback's model as it is. Call it while a step is traced, or if no variable is read."""
    return callback._model if keras.backend.backend() == "jax" else callback.model
