"""Wrapper for weight companding."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.computed_weights import ComputedWeightRegularizer
from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor, TensorFunction
from keras_reg._validation import check_boolean, check_choice, check_number, is_number, reject
from keras_reg.layers._kernels import Kernel
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.ops.weight_compander import (
    FUNCTIONS,
    compand_weight,
    invert_weight_compander,
    weight_compander_bound,
    weight_compander_slope,
)
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter

# Learned scales are at least this large. At 0 the layer has no gradient, and below 0 every weight changes its sign.
SMALLEST_SCALE = 0.05
# Weights are clipped to this share of the bound, because the parameter is infinite at the bound.
CLIPPED_SHARE = 0.99
# Weights above this share of the bound are rejected or clipped. It exceeds CLIPPED_SHARE by a margin for rounding, so
# that weights that were clipped can be wrapped again.
LARGEST_SHARE = 1.00001 * CLIPPED_SHARE


@export(
    "layers.WeightCompander",
    kind="layer",
    place="wrapper of layers",
    tasks=("small data",),
    tunable={"a": Range(0.5, 1.0), "b": Range(0.5, 1.0)},
    arxiv="2306.16993",
    year=2023,
)
class WeightCompander(ReparameterizedLayer):
    """Makes each weight a bounded function of a trained parameter v: w = a atan(v / b).

    No weight exceeds a pi / 2, and small weights move more easily than large ones. Wrapping does not change the forward
    pass at the start: v = b tan(w / a). Biases are unchanged. `keras_reg.fold` returns an ordinary layer.

    Near 0, a step of gradient descent moves w (a / b)^2 times as far as without the method. Tune the learning rate.

    Args:
        layer: A `keras.layers.Layer`. The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`.
        a: Float or a `keras_reg.tune.Float`. Scale of the weight, above 0. The best values in the paper are 0.5 to 1. A
            `tune.Float` needs a `low` of at least 0.05. It can change during training, and several layers can share it.
            The parameters then stay the same, and the weights change. Defaults to `0.7`.
        b: Float or a `keras_reg.tune.Float`. Scale of the parameter, above 0. The best values in the paper are 0.5 to
            1. A `tune.Float` acts as for `a`. Defaults to `0.8`.
        learnable: Boolean. Whether a and b are trained, one pair for each kernel. They stay at 0.05 or more; the paper
            does not mention their sign. Defaults to `False`.
        function: String. `"arctan"`, or one of the paper's other curves: `"erf"`, w = a erf(v / b), and the unbounded
            `"asinh"`, w = a asinh(v / b). Defaults to `"arctan"`.
        decay_on: String. The target of the layer's kernel regularizer: `"weight"` for w, `"parameter"` for v, or
            `"auto"` as in the paper. `"auto"` is the weight for fixed a and b, and the parameter for learned ones. An
            optimizer's `weight_decay` always acts on the parameter. Defaults to `"auto"`.
        overflow: String. Treatment of initial or pretrained weights that reach the bound: `"raise"`, or `"clip"` to
            99 % of the bound with a warning. Otherwise they would become other weights, because the tangent wraps
            around. Defaults to `"raise"`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`.

    Call arguments:
        The call arguments of the wrapped layer.

    Raises:
        ValueError: If an argument is invalid, a weight reaches the bound, or the layer is not supported.

    Example:

    ```python
    dense = keras.layers.Dense(8)
    layer = keras_reg.layers.WeightCompander(dense, a=0.7, b=0.8)
    layer(np.ones((2, 4), "float32"))
    ```

    Reference:

    - [Cakaj et al., 2023](https://arxiv.org/abs/2306.16993): Weight Compander: A Simple Weight Reparameterization for
      Regularization, equations 1 to 5
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        a: float | Hyperparameter = 0.7,
        b: float | Hyperparameter = 0.8,
        *,
        learnable: bool = False,
        function: str = "arctan",
        decay_on: str = "auto",
        overflow: str = "raise",
        **kwargs: Any,
    ) -> None:
        learnable = check_boolean("learnable", learnable)
        a, b = _check_scale("a", a, learnable), _check_scale("b", b, learnable)
        function = check_choice("function", function, FUNCTIONS)
        decay_on = check_choice("decay_on", decay_on, ("auto", "weight", "parameter"))
        overflow = check_choice("overflow", overflow, ("raise", "clip"))
        super().__init__(layer, **kwargs)
        self.a, self.b, self.learnable = a, b, learnable
        self.function, self.decay_on, self.overflow = function, decay_on, overflow
        self._unit_bound = weight_compander_bound(1.0, function)
        self._scales: dict[str, tuple[Any, Any]] = {}

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds the trained scales of a kernel if a and b are learned."""
        if self.learnable:
            self._scales[kernel.name] = tuple(
                self.add_weight(
                    shape=(),
                    initializer=keras.initializers.Constant(value),
                    constraint=_AtLeast(SMALLEST_SCALE),
                    name=f"{kernel.name}_{name}",
                )
                for name, value in {"a": self.a, "b": self.b}.items()
            )
        # `keras_reg.optimizers.CompanderScaled` reads the slope from the variable and multiplies its step by it.
        kernel.variable.slope_is_tunable = self.has_hyperparameters
        kernel.variable.slope = lambda parameter: weight_compander_slope(parameter, *self.scales(kernel), self.function)

    def scales(self, kernel: Kernel) -> tuple[Tensor, Tensor]:
        """Returns the current a and b of a kernel."""
        return tuple(scale.value for scale in self._scales[kernel.name]) if self.learnable else self._read_arguments()

    @property
    def has_hyperparameters(self) -> bool:
        """Returns True if a or b is a `tune.Float`."""
        return isinstance(self.a, Hyperparameter) or isinstance(self.b, Hyperparameter)

    def _read_arguments(self) -> tuple[Tensor, Tensor]:
        """Returns the values of the arguments a and b."""
        return self._read_scale(self.a), self._read_scale(self.b)

    def _read_scale(self, scale: float | Hyperparameter) -> Tensor:
        """Returns the value of a scale."""
        if not isinstance(scale, Hyperparameter):
            return scale
        # A kernel has one pair of scales. If a tuner perturbs them for each sample, the mean is taken.
        return ops.cast(ops.mean(scale.read()), self.variable_dtype)

    def effective(self, kernel: Kernel, parameter: Tensor, training: bool = False) -> Tensor:
        """Returns the weight w for the parameter v."""
        return compand_weight(parameter, *self.scales(kernel), self.function)

    def set_effective(self, kernel: Kernel, weight: Tensor) -> None:
        """Assigns the parameter v that gives the weight w."""
        kernel.variable.assign(self._compute_parameter(weight, self.scales(kernel)))

    def initial_parameter(self, weight: Tensor) -> Tensor:
        """Returns the parameter v that gives the initial weight w."""
        return self._compute_parameter(weight, self._read_arguments())

    def regularizer(self, kernel: Kernel, regularizer: TensorFunction) -> TensorFunction:
        """Returns a regularizer of the variable that penalizes the weight or the parameter."""
        if self.decay_on == "parameter" or (self.decay_on == "auto" and self.learnable):
            return regularizer
        return ComputedWeightRegularizer(regularizer, lambda parameter: self.effective(kernel, parameter))

    def constraint(self, kernel: Kernel, constraint: TensorFunction) -> TensorFunction:
        """Returns a constraint of the variable that constrains the weight."""
        return lambda parameter: self._clip_and_invert(
            constraint(self.effective(kernel, parameter)), self.scales(kernel)
        )

    def _compute_parameter(self, weight: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the parameter for a weight. Weights that reach the bound are rejected or clipped.

        Raises:
            ValueError: If a weight reaches the bound and `overflow` is `"raise"`, or if a weight is not finite.
        """
        largest, a = None if self.is_loading else _find_largest(weight), _find_largest(scales[0])
        if largest is not None and a is not None and not largest <= LARGEST_SHARE * (bound := a * self._unit_bound):
            message = (
                f"Weights up to {largest:.4g} reach the bound {bound:.4g} of {self.name!r}, or nearly reach it. "
                f"a={1.1 * largest / self._unit_bound:.2g} is large enough"
            )
            if self.overflow == "raise" or not np.isfinite(largest):
                raise ValueError(f"{message}, or clip them with `overflow='clip'`. Received: a={self.a}")
            warnings.warn(f"{message}. They are clipped to {CLIPPED_SHARE} of the bound.", stacklevel=2)
        return self._clip_and_invert(weight, scales)

    def _clip_and_invert(self, weight: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the parameter for a weight that is first clipped to a share of the bound."""
        if self.function != "asinh":
            bound = CLIPPED_SHARE * self._unit_bound * scales[0]
            weight = ops.clip(weight, -bound, bound)
        return invert_weight_compander(weight, *scales, self.function)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        names = ("a", "b", "learnable", "function", "decay_on", "overflow")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        serialize = keras.saving.serialize_keras_object
        return {key: serialize(value) if isinstance(value, Hyperparameter) else value for key, value in config.items()}


class _AtLeast(keras.constraints.Constraint):
    """Keeps a value at or above a lower bound."""

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def __call__(self, w: Tensor) -> Tensor:
        return ops.maximum(w, self.floor)


def _check_scale(name: str, value: Any, learnable: bool) -> float | Hyperparameter:
    """Checks a scale, and returns it as a number or a hyperparameter.

    Raises:
        ValueError: If the value is neither, or is out of range.
    """
    if isinstance(value, (dict, Hyperparameter)):
        if learnable:
            reject(name, value, "must be a number if `learnable` is True, because it is the initial value")
        return check_hyperparameter(name, value, SMALLEST_SCALE)
    if not is_number(value) or value <= 0:
        reject(name, value, "must be a finite number above 0 or a `keras_reg.tune.Float`")
    return check_number(name, value, at_least=SMALLEST_SCALE) if learnable else float(value)


def _find_largest(weight: Tensor) -> float | None:
    """Returns the largest absolute value, or `None` while a graph is traced and the weight has no value."""
    try:
        return float(np.abs(ops.convert_to_numpy(weight)).max(initial=0))
    except (TypeError, ValueError, NotImplementedError, AttributeError, RuntimeError):
        return None
