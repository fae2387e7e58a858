"""Sums of regularizers."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg._validation import reject


@export("regularizers.Sum", kind="regularizer", tasks=("weight decay",))
class Sum(keras.regularizers.Regularizer, keras.layers.Layer):
    """Adds the penalties of several regularizers.

    In Keras, a variable has one regularizer. `Sum` combines several regularizers, each with its own strength. Every
    regularizer works in a sum as it does alone. `keras_reg.apply_regularizer` adapts each one to the layer and to the
    variable, and leaves out those that do not apply to a layer. Hyperparameters of the regularizers are found, tuned
    and saved.

    Args:
        *regularizers: Instances of `keras.regularizers.Regularizer`, identifiers such as `"l2"`, configurations, or
            functions of a variable. At least one. The regularizers of a nested `Sum` are added to the list.

    Attributes:
        regularizers: A list of the regularizers.

    Raises:
        ValueError: If there is no regularizer, or one of the arguments is not a regularizer.

    Example:

    ```python
    decay = keras_reg.tune.Float("l2", init=1e-3, low=0.0, log=True)
    penalty = keras_reg.regularizers.Sum(
        keras_reg.regularizers.TunableL2(decay),
        keras_reg.regularizers.NuclearNorm(3e-4),
    )
    layer = keras.layers.Dense(64, kernel_regularizer=penalty)
    ```
    """

    # The class is also a layer, so that a layer that has the sum as an argument tracks the variables in it.

    def __init__(self, *regularizers: Any) -> None:
        super().__init__()
        self.regularizers = _check_regularizers(regularizers)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the sum of the penalties of a variable."""
        # Unlike `+`, `ops.add` accepts penalties of different types on every backend.
        return functools.reduce(ops.add, [regularizer(x) for regularizer in self.regularizers])

    def for_layer(self, layer: keras.Layer) -> Sum | None:
        """Returns the sum with each regularizer adapted to a layer.

        Args:
            layer: The layer.

        Returns:
            A sum without the regularizers that do not apply to the layer, or `None` if none of them applies.
        """
        adapted = [r.for_layer(layer) if hasattr(r, "for_layer") else r for r in self.regularizers]
        return self._with_regularizers(adapted)

    def for_variable(self, variable: keras.Variable) -> Sum | None:
        """Returns the sum with each regularizer adapted to a variable.

        Args:
            variable: The variable.

        Returns:
            A sum whose anchored regularizers have the current value of the variable as their anchor. It has no
            regularizers that do not apply to the variable; if none of them applies, the method returns `None`.
        """
        return self._with_regularizers(
            [r.for_variable(variable) if hasattr(r, "for_variable") else r for r in self.regularizers]
        )

    def copy_from(self, other: Sum) -> None:
        """Replaces the regularizers with those of another sum, in place.

        A layer that tracks this sum then tracks the new regularizers, and no longer the old ones.
        """
        regularizers = list(other.regularizers)
        self.regularizers.clear()
        self.regularizers.extend(regularizers)

    def _with_regularizers(self, adapted: list[Any]) -> Sum | None:
        regularizers = [regularizer for regularizer in adapted if regularizer is not None]
        unchanged = list(map(id, regularizers)) == list(map(id, self.regularizers))
        return self if unchanged else type(self)(*regularizers) if regularizers else None

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"regularizers": [keras.saving.serialize_keras_object(r) for r in self.regularizers]}

    @classmethod
    def from_config(cls, config: Config) -> Sum:
        """Creates a sum from the configuration that `get_config` returns."""
        return cls(*config["regularizers"])


def list_parts(regularizer: Any) -> list[Any]:
    """Returns the regularizers of a sum, or a list of the regularizer itself."""
    return list(regularizer.regularizers) if isinstance(regularizer, Sum) else [regularizer]


def _check_regularizers(regularizers: tuple[Any, ...]) -> list[Any]:
    """Checks the regularizers, and returns them as a list without nested sums."""
    requirement = "must be one or more regularizers: instances, identifiers such as 'l2', or functions of a variable"
    try:
        instances = [keras.regularizers.get(regularizer) for regularizer in regularizers]
    except (TypeError, ValueError) as error:
        raise ValueError(f"`regularizers` {requirement}. Received: regularizers={regularizers!r}") from error
    if not instances or any(instance is None for instance in instances):
        reject("regularizers", regularizers, requirement)
    return [part for instance in instances for part in list_parts(instance)]
