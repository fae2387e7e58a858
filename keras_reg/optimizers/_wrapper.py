"""What optimizers have in common that wrap another one, and change the gradients or steps that it sees or makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


class OptimizerWrapper(keras.optimizers.Optimizer):
    """An optimizer whose variables, learning rate and loss scale are those of the one it wraps.

    A subclass defines `apply`.

    Args:
        optimizer: The optimizer to wrap: an instance, a name or a configuration.
        name: The name of the optimizer.

    Raises:
        ValueError: If `optimizer` is none.
    """

    def __init__(self, optimizer: Any, name: str) -> None:
        wrapped = _optimizer(optimizer)
        super().__init__(learning_rate=0.0, name=name)
        self.optimizer = wrapped

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the variables of the wrapped optimizer."""
        if not self.built:
            self.optimizer.build(variables)
            super().build(variables)
            known = list(variables)
            # A function, since variables in an attribute would count as the optimizer's own.
            self._known: Callable[[], list[Any]] = lambda: known

    @property
    def variables(self) -> list[Any]:
        """The variables of the wrapped optimizer."""
        return list(self.optimizer.variables)

    @property
    def iterations(self) -> Any:
        """The steps that were made."""
        return self.optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the wrapped optimizer."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.optimizer.learning_rate = learning_rate

    def trained(self, trainable_variables: Sequence[Any] | None) -> list[Any]:
        """The variables of a step, in the order of its gradients."""
        if not self.built:
            self.build(list(trainable_variables or ()))
        return self._known() if trainable_variables is None else list(trainable_variables)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the variables of the wrapped optimizer.

        Args:
            weights: Their values, in the order of `variables`.
        """
        self.optimizer.set_weights(weights)

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the wrapped optimizer does."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Ends the moving averages of the wrapped optimizer, where it has them."""
        self.optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same optimizer."""
        return {"name": self.name, "optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> OptimizerWrapper:
        """Builds the optimizer of a configuration."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "optimizer": optimizer})


def _optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    try:
        found = keras.optimizers.get(optimizer)
    except (ValueError, TypeError):
        found = None
    # What scales the loss goes around this, where Keras puts it under mixed precision, or it would scale in vain.
    wrappers = (OptimizerWrapper, keras.optimizers.LossScaleOptimizer)
    if not isinstance(found, keras.optimizers.Optimizer) or isinstance(found, wrappers):
        raise ValueError(
            "`optimizer` must be a Keras optimizer that is not wrapped yet: an instance, a name or a configuration. "
            f"Received: optimizer={optimizer!r}"
        )
    return found
