"""Adaptive optimizers for the weight compander."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg.optimizers._wrapper import OptimizerWrapper

# Far out on the curve the slope, by which gradients are divided, comes near to 0 and with erf becomes 0.
SMALLEST_SLOPE = 1e-12


@export("optimizers.CompanderScaled", kind="optimizer", arxiv="2306.16993", year=2023)
class CompanderScaled(OptimizerWrapper):
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
            before they are scaled; on JAX, when it is built, if companders have hyperparameters for `a` or `b`.

    Example:

    ```python
    companded = keras_reg.reparameterize(model, keras_reg.layers.WeightCompander)
    companded.compile(keras_reg.optimizers.CompanderScaled(keras.optimizers.Adam(1e-3)), "mse")
    ```

    Source: Rinor Cakaj, Jens Mehnert, Bin Yang, Weight Compander: A Simple Weight Reparameterization for
    Regularization, arXiv 2306.16993, 2023; the paper reports no experiment with it.
    """

    def __init__(self, optimizer: Any, name: str = "compander_scaled") -> None:
        super().__init__(optimizer, name)
        if self.optimizer.use_ema:
            raise ValueError(
                "The wrapped optimizer must not average the weights, since it does not know what becomes of its steps: "
                f"leave `use_ema` out. Received: optimizer={optimizer!r} with use_ema=True"
            )

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the variables of the wrapped optimizer."""
        tunable = [variable.path for variable in variables if getattr(variable, "slope_is_tunable", False)]
        if tunable and keras.backend.backend() == "jax":
            raise ValueError(
                "With JAX the step of an optimizer sees what is trained alone, and no hyperparameters: give the "
                f"companders numbers for `a` and `b`, or `learnable=True`. Received: a hyperparameter for {tunable}"
            )
        super().build(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        """Makes one step.

        Args:
            grads: The gradients by the variables, in their order.
            trainable_variables: The variables; `None` for those that the optimizer was built with.

        Returns:
            What the wrapped optimizer returns.
        """
        variables = self.trained(trainable_variables)
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
