"""Wraps functions, so that they can regularize variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_reg")
class FunctionRegularizer(keras.regularizers.Regularizer):
    """Penalizes a variable with a function. Keras saves it with its layer if the function is registered.

    Args:
        function: Computes the penalty of a variable.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, x: Any) -> Any:
        """Returns the penalty of a variable."""
        return self.function(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"function": keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FunctionRegularizer:
        """Creates a regularizer from its configuration."""
        return cls(keras.saving.deserialize_keras_object(config["function"]))


def as_regularizer(regularizer: Any) -> Any:
    """Returns a regularizer that variables of the installed Keras accept: the given one, if possible.

    Before Keras 3.15, variables accept only instances of `keras.regularizers.Regularizer`, so this function wraps other
    functions in one. From Keras 3.15 on, variables accept any callable, and this function is not needed.

    Args:
        regularizer: A regularizer or a function of a variable. Anything else is returned unchanged, so that Keras
            rejects it.

    Returns:
        The regularizer.
    """
    takes_functions = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)
    if takes_functions or isinstance(regularizer, keras.regularizers.Regularizer) or not callable(regularizer):
        return regularizer
    return FunctionRegularizer(regularizer)
