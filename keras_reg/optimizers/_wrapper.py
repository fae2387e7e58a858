"""The base class of optimizers that wrap another optimizer and change its gradients or steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_reg._types import ArrayLike, Config, Tensor
from keras_reg._validation import check_string, reject


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Wraps an optimizer, and exposes its variables, learning rate and loss scale.

    A subclass defines `apply`.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, its name or its configuration. The optimizer to wrap.
        name: String. The name of the optimizer.

    Raises:
        ValueError: If `optimizer` is not an optimizer, or is a wrapper itself.
    """

    def __init__(self, optimizer: Any, *, name: str) -> None:
        wrapped = _check_optimizer(optimizer)
        super().__init__(learning_rate=0.0, name=check_string("name", name, optional=True))
        self.optimizer = wrapped

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the variables of the wrapped optimizer."""
        if not self.built:
            self.optimizer.build(variables)
            super().build(variables)
            trained = list(variables)
            # The list is in a function, because variables in an attribute would count as the optimizer's own.
            self._get_trained: Callable[[], list[keras.Variable]] = lambda: trained

    @property
    def variables(self) -> list[keras.Variable]:
        """Returns the variables of the wrapped optimizer."""
        return list(self.optimizer.variables)

    @property
    def iterations(self) -> keras.Variable:
        """Returns the number of steps of the wrapped optimizer."""
        return self.optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """Returns the learning rate of the wrapped optimizer."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.optimizer.learning_rate = learning_rate

    def match_variables(self, trainable_variables: Sequence[keras.Variable] | None) -> list[keras.Variable]:
        """Returns the variables of a step in the order of its gradients, and builds the optimizer if necessary.

        Args:
            trainable_variables: The variables that were passed to `apply`, or `None` for those of `build`.
        """
        if not self.built:
            self.build(list(trainable_variables or ()))
        return self._get_trained() if trainable_variables is None else list(trainable_variables)

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Sets the variables of the wrapped optimizer.

        Args:
            weights: The values, in the order of `variables`.
        """
        self.optimizer.set_weights(weights)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Scales the loss as the wrapped optimizer does."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Assigns the moving averages of the wrapped optimizer to the variables, if there are any."""
        self.optimizer.finalize_variable_values(var_list)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"name": self.name, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> OptimizerWrapper:
        """Creates an optimizer from the configuration that `get_config` returns."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "optimizer": optimizer})


def _check_optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    try:
        instance = keras.optimizers.get(optimizer)
    except (ValueError, TypeError):
        instance = None
    # Under mixed precision, Keras wraps this wrapper in loss scaling. A second loss scaling inside would have no
    # effect.
    wrappers = (OptimizerWrapper, keras.optimizers.LossScaleOptimizer)
    if not isinstance(instance, keras.optimizers.Optimizer) or isinstance(instance, wrappers):
        reject(
            "optimizer",
            optimizer,
            "must be a Keras optimizer that is not a wrapper: an instance, a name or a configuration",
        )
    return instance
