"""Checks of the hyperparameters that methods are given."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg.tune.hyperparameter import Hyperparameter


def check_hyperparameter(
    name: str, value: Any, low: float, below: float | None = None, most: float | None = None
) -> Hyperparameter:
    """Returns a hyperparameter whose bounds fit.

    Args:
        name: The name of the argument.
        value: What the user gave, or its configuration.
        low: The smallest value that makes sense.
        below: What values must be below, if anything.
        most: What values may be at most, if anything.

    Raises:
        ValueError: If it is none, or may take values that make no sense.
    """
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if not isinstance(value, Hyperparameter):
        raise ValueError(f"`{name}` must be a `keras_reg.tune.Float`. Received: {name}={value!r}")
    limit = "" if below is None else f" and a `high` below {below:g}"
    if most is not None:
        limit = f" and a `high` of at most {most:g}"
    high = value.high
    too_high = limit and (high is None or (below is not None and high >= below) or (most is not None and high > most))
    if value.low is None or value.low < low or too_high:
        raise ValueError(f"`{name}` needs a `low` of at least {low:g}{limit}. Received: {name}={value!r}")
    return value
