"""Checks arguments that are hyperparameters."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._validation import reject
from keras_reg.tune._hyperparameter import Hyperparameter


def check_hyperparameter(
    name: str, value: Any, low: float, below: float | None = None, at_most: float | None = None
) -> Hyperparameter:
    """Checks that an argument is a hyperparameter with valid bounds, and returns it.

    Args:
        name: The name of the argument.
        value: The user's argument, or its configuration.
        low: The smallest valid value.
        below: A number that all values must stay below, if any.
        at_most: The largest valid value, if any.

    Raises:
        ValueError: If it is not a hyperparameter, or its bounds include invalid values.
    """
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if not isinstance(value, Hyperparameter):
        reject(name, value, "must be a `keras_reg.tune.Float`")
    limit = "" if below is None else f" and a `high` below {below:g}"
    if at_most is not None:
        limit = f" and a `high` of at most {at_most:g}"
    high = value.high
    bounded = [high is not None and high < below] if below is not None else []
    bounded += [high is not None and high <= at_most] if at_most is not None else []
    if value.low is None or value.low < low or not all(bounded):
        reject(name, value, f"must have a `low` of at least {low:g}{limit}")
    return value
