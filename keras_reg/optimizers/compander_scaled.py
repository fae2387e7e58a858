"""An optimizer that makes adaptive optimizers work with the weight compander."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Tensor
from keras_reg.optimizers._wrapper import OptimizerWrapper

# Gradients are divided by the slope of the curve. For large parameters, the slope approaches 0, and with erf it becomes
# 0.
SMALLEST_SLOPE = 1e-12


@export("optimizers.CompanderScaled", kind="optimizer", tasks=("optimization",), arxiv="2306.16993", year=2023)
class CompanderScaled(OptimizerWrapper):
    """Multiplies the step of an adaptive optimizer by the slope of the weight compander.

    Adam and similar optimizers divide the gradient by its own size. This cancels the slope w'(v), with which the
    compander moves small weights more than large ones. This wrapper passes the gradient with respect to the weight w to
    the wrapped optimizer, in place of that with respect to the parameter v. It then multiplies the change of v by the
    slope (the paper's section on adaptive optimizers). Variables that are not companded kernels are trained as usual.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, its name or its configuration. The optimizer to wrap. Its learning
            rate, weight decay and clipping apply. Clipping applies to the gradients with respect to w, and the weight
            decay is multiplied by the slope.
        name: String. The name of the optimizer. Defaults to `"compander_scaled"`.

    Raises:
        ValueError: If `optimizer` is not an optimizer, or averages the weights (`use_ema`), because the average would
            be that of the steps before they are scaled. On JAX, when it is built, if companders have hyperparameters
            for `a` or `b`.

    Example:

    ```python
    companded = keras_reg.reparameterize(
        model, keras_reg.layers.WeightCompander
    )
    adam = keras.optimizers.Adam(1e-3)
    companded.compile(keras_reg.optimizers.CompanderScaled(adam), "mse")
    ```

    Reference:

    - [Cakaj et al., 2023](https://arxiv.org/abs/2306.16993): Weight Compander: A Simple Weight Reparameterization for
      Regularization. The paper reports no experiment with this optimizer.
    """

    def __init__(self, optimizer: Any, *, name: str = "compander_scaled") -> None:
        super().__init__(optimizer, name=name)
        if self.optimizer.use_ema:
            raise ValueError(
                "The wrapped optimizer must not average the weights, because it does not see the scaled steps. Leave "
                f"out `use_ema`. Received: optimizer={optimizer!r} with use_ema=True"
            )

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the variables of the wrapped optimizer."""
        tunable = [variable.path for variable in variables if getattr(variable, "slope_is_tunable", False)]
        if tunable and keras.backend.backend() == "jax":
            raise ValueError(
                "With JAX, the step of an optimizer has access to trainable variables only and not to hyperparameters. "
                "Pass numbers for `a` and `b` of the companders, or `learnable=True`. "
                f"Received: a hyperparameter for {tunable}"
            )
        super().build(variables)

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> Any:
        """Performs one step.

        Args:
            grads: The gradients, in the order of the variables.
            trainable_variables: The variables, or `None` for those of `build`.

        Returns:
            The result of the wrapped optimizer.
        """
        variables = self.match_variables(trainable_variables)
        slopes, weight_gradients = {}, []
        for index, (gradient, variable) in enumerate(zip(grads, variables, strict=True)):
            slope_of = getattr(variable, "slope", None)
            if slope_of is not None and gradient is not None:
                slope = ops.maximum(slope_of(variable.value), SMALLEST_SLOPE)
                slopes[index] = (slope, ops.copy(variable.value))
                gradient = gradient / slope
            weight_gradients.append(gradient)
        result = self.optimizer.apply(weight_gradients, variables)
        for index, (slope, before) in slopes.items():
            variable = variables[index]
            value = before + (variable.value - before) * slope
            # The wrapped optimizer applied the constraint before the step was scaled.
            variable.assign(value if variable.constraint is None else variable.constraint(value))
        return result
