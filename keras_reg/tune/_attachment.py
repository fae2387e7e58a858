"""Hyperparameters that a model has for a while only, those of a callback."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg.tune.hyperparameter import Hyperparameter

_ATTRIBUTE = "keras_reg_attached"


def attach(model: keras.Model, owner: Any, hyperparameter: Hyperparameter) -> None:
    """Lets a hyperparameter be among those of a model.

    Args:
        model: The model.
        owner: Who lends it, one each.
        hyperparameter: What is attached.
    """
    vars(model).setdefault(_ATTRIBUTE, {})[id(owner)] = hyperparameter


def detach(model: keras.Model, owner: Any) -> None:
    """Ends what `attach` began."""
    there = attached(model)
    there.pop(id(owner), None)
    if not there:
        vars(model).pop(_ATTRIBUTE, None)


def attached(model: keras.Model) -> dict[int, Hyperparameter]:
    """What is attached to a model."""
    return vars(model).get(_ATTRIBUTE, {})  # type: ignore[no-any-return]
