"""Adaptive optimizers for the weight compander."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_reg.export import export

# Far out on the curve the slope, by which gradients are divided, comes near to 0 and with erf becomes 0.
SMALLEST_SLOPE = 1e-12


@export("optimizers.CompanderScaled", kind="optimizer", arxiv="2306.16993", year=2023)
class CompanderScaled(keras.optimizers.Optimizer):  # type: ignore[misc]
    """Lets an adaptive optimizer keep the effect of the weight compander: its step is multiplied by the slope.

    Adam and its like divide the gradient by its own size, and so cancel the slope w'(v), by which the compander makes
    small weights move more than large ones. Here the wrapped optimizer gets the gradient by the weight w in place of
    that by the parameter v, and what it changes of v is multiplied by the slope (the paper's section on adaptive
    optimizers). Variables that are no companded kernels are trained as ever.

    Args:
        optimizer: The optimizer to wrap: an instance, a name or a configuration. Its learning rate, weight decay and
            clipping are used as they are; clipping is of the gradients by w, and the decay is multiplied by the slope.
        name: The name of the optimizer.

    Raises:
        ValueError: If `optimizer` is none, or averages the weights (`use_ema`): the average would be of the steps
            before they are scaled.

    Example:

    ```python
    companded = keras_reg.reparameterize(model, keras_reg.layers.WeightCompander)
    companded.compile(keras_reg.optimizers.CompanderScaled(keras.optimizers.Adam(1e-3)), "mse")
    ```

    Source: Rinor Cakaj, Jens Mehnert, Bin Yang, Weight Compander: A Simple Weight Reparameterization for
    Regularization, arXiv 2306.16993, 2023; the paper reports no experiment with it.
    """

    def __init__(self, optimizer: Any, name: str = "compander_scaled") -> None:
        wrapped = _optimizer(optimizer)
        if wrapped.use_ema:
            raise ValueError(
                "The wrapped optimizer must not average the weights, since it does not know what becomes of its steps: "
                f"leave `use_ema` out. Received: optimizer={optimizer!r} with use_ema=True"
            )
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

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Makes one step.

        Args:
            grads: The gradients by the variables, in their order.
            trainable_variables: The variables; `None` for those that the optimizer was built with.

        Returns:
            What the wrapped optimizer returns.
        """
        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = self._known() if trainable_variables is None else list(trainable_variables)
        slopes, by_weight = {}, []
        for index, (gradient, variable) in enumerate(zip(grads, variables, strict=True)):
            slope_of = getattr(variable, "slope", None)
            if slope_of is not None and gradient is not None:
                slope = ops.maximum(slope_of(variable.value), SMALLEST_SLOPE)
                slopes[index] = (slope, ops.copy(variable.value))
                gradient = gradient / slope
            by_weight.append(gradient)
        done = self.optimizer.apply(by_weight, variables)
        for index, (slope, before) in slopes.items():
            variable = variables[index]
            value = before + (variable.value - before) * slope
            # The wrapped optimizer has seen to constraints before the step was scaled.
            variable.assign(value if variable.constraint is None else variable.constraint(value))
        return done

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
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CompanderScaled:
        """Builds the optimizer of a configuration."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"], custom_objects=custom_objects)
        return cls(**{**config, "optimizer": optimizer})


def _optimizer(optimizer: Any) -> keras.optimizers.Optimizer:
    try:
        found = keras.optimizers.get(optimizer)
    except (ValueError, TypeError):
        found = None
    # What scales the loss goes around this, where Keras puts it under mixed precision, or it would scale in vain.
    wrappers = (CompanderScaled, keras.optimizers.LossScaleOptimizer)
    if not isinstance(found, keras.optimizers.Optimizer) or isinstance(found, wrappers):
        raise ValueError(
            "`optimizer` must be a Keras optimizer that is not wrapped yet: an instance, a name or a configuration. "
            f"Received: optimizer={optimizer!r}"
        )
    return found
