"""Hyperparameters that a model has for a while only, those of a callback."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg.tune.hyperparameter import Hyperparameter

_ATTRIBUTE = "keras_reg_lent"


def lend(model: keras.Model, owner: Any, hyperparameter: Hyperparameter) -> None:
    """Lets a hyperparameter be among those of a model.

    Args:
        model: The model.
        owner: Who lends it, one each.
        hyperparameter: What is lent.
    """
    vars(model).setdefault(_ATTRIBUTE, {})[id(owner)] = hyperparameter


def take_back(model: keras.Model, owner: Any) -> None:
    """Ends what `lend` began."""
    there = lent(model)
    there.pop(id(owner), None)
    if not there:
        vars(model).pop(_ATTRIBUTE, None)


def lent(model: keras.Model) -> dict[int, Hyperparameter]:
    """What is lent to a model."""
    return vars(model).get(_ATTRIBUTE, {})  # type: ignore[no-any-return]
