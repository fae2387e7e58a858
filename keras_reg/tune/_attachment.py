"""Hyperparameters of callbacks, which belong to a model only during `fit`."""

from __future__ import annotations

import keras

from keras_reg.tune._hyperparameter import Hyperparameter

_ATTRIBUTE = "keras_reg_attached"


def attach(model: keras.Model, owner: object, hyperparameter: Hyperparameter) -> None:
    """Adds a hyperparameter to those of a model.

    Args:
        model: The model.
        owner: The object that attaches the hyperparameter. An owner attaches at most one.
        hyperparameter: The hyperparameter.
    """
    vars(model).setdefault(_ATTRIBUTE, {})[id(owner)] = hyperparameter


def detach(model: keras.Model, owner: object) -> None:
    """Removes the hyperparameter that an owner attached."""
    hyperparameters = attached(model)
    hyperparameters.pop(id(owner), None)
    if not hyperparameters:
        vars(model).pop(_ATTRIBUTE, None)


def attached(model: keras.Model) -> dict[int, Hyperparameter]:
    """Returns the hyperparameters that are attached to a model, by the id of their owner."""
    return vars(model).get(_ATTRIBUTE, {})  # type: ignore[no-any-return]
