"""Functions as the regularizers of variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_reg")
class FunctionRegularizer(keras.regularizers.Regularizer):
    """Penalizes a variable by a function. It is saved with its layer if the function is registered with Keras.

    Args:
        function: Returns the penalty of the variable that it is called with.
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
        """Returns the regularizer of a configuration."""
        return cls(keras.saving.deserialize_keras_object(config["function"]))


def as_regularizer(regularizer: Any) -> Any:
    """Returns a regularizer that variables of the installed Keras accept, which is the given one if possible.

    Before Keras 3.15, variables accept only instances of `keras.regularizers.Regularizer`, so that a function is put
    into one. This function is not needed since then, because variables accept any callable.

    Args:
        regularizer: A regularizer or a function of a variable. Anything else is returned as it is, for Keras to reject.

    Returns:
        The regularizer.
    """
    takes_functions = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)
    if takes_functions or isinstance(regularizer, keras.regularizers.Regularizer) or not callable(regularizer):
        return regularizer
    return FunctionRegularizer(regularizer)
