"""The weight compander as a layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.computed_weights import ComputedWeightRegularizer
from keras_reg._registry import export
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
from keras_reg.tune.hyperparameter import Hyperparameter

# Learned scales stay above this: at 0 the layer would be dead, beyond it the sign of every weight would change.
SMALLEST_SCALE = 0.05
# Clipped weights land here, as a share of the bound: the parameter of the bound itself is infinite.
CLIPPED_TO = 0.99
# What is more than this share is said to reach the bound; what was clipped once may be wrapped again.
ALMOST = 1.00001 * CLIPPED_TO


@export("layers.WeightCompander", kind="layer", arxiv="2306.16993", year=2023)
class WeightCompander(ReparameterizedLayer):
    """Weight compander: makes each weight a bounded function w = a atan(v / b) of a parameter v that is trained.

    No weight exceeds a pi / 2, and small weights move more easily than large ones. Training starts from the same
    forward pass as without it, v = b tan(w / a). Biases stay as they are. `keras_reg.fold` gives the plain layer back.

    Near 0 a step of gradient descent moves w (a / b)^2 times as far as without: tune the learning rate.

    Args:
        layer: The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`.
        a: Scale of the weight, positive. The paper's best are 0.5 to 1. Or a `tune.Float` with `low` of at least 0.05,
            which may change in training, and which several layers may share; parameters stay then, and weights follow.
        b: Scale of the parameter, positive. The paper's best are 0.5 to 1. Or a `tune.Float`, as a.
        learnable: Whether a and b are trained, one pair for each kernel. They stay at 0.05 or more (the paper says
            nothing of their sign).
        function: `"arctan"`, or the paper's other curves: `"erf"`, w = a erf(v / b), and the unbounded `"asinh"`,
            w = a asinh(v / b).
        decay_on: What the layer's kernel regularizer acts on: `"weight"` w, `"parameter"` v, or `"auto"`, as in the
            paper: the weight for fixed a and b, the parameter for learned ones. An optimizer's `weight_decay` always
            acts on the parameter.
        overflow: What happens to initial or pretrained weights that reach the bound: `"raise"`, or `"clip"` to 99 % of
            it with a warning. Left alone they would come back as other weights, since the tangent wraps around.
        **kwargs: As of any layer: `name`, `trainable`.

    Call arguments:
        Those of the wrapped layer.

    Raises:
        ValueError: If an argument is out of its range, a weight reaches the bound, or the layer is not supported.

    Example:

    ```python
    layer = keras_reg.layers.WeightCompander(keras.layers.Dense(8), a=0.7, b=0.8)
    layer(np.ones((2, 4), "float32"))
    ```

    Source: Rinor Cakaj, Jens Mehnert, Bin Yang, Weight Compander: A Simple Weight Reparameterization for
    Regularization, arXiv 2306.16993, 2023, equations 1 to 5.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        a: Any = 0.7,
        b: Any = 0.8,
        learnable: bool = False,
        function: str = "arctan",
        decay_on: str = "auto",
        overflow: str = "raise",
        **kwargs: Any,
    ) -> None:
        if not isinstance(learnable, bool):
            raise ValueError(f"`learnable` must be True or False. Received: learnable={learnable!r}")
        a, b = _checked("a", a, learnable), _checked("b", b, learnable)
        for name, choice, choices in (
            ("function", function, FUNCTIONS),
            ("decay_on", decay_on, ("auto", "weight", "parameter")),
            ("overflow", overflow, ("raise", "clip")),
        ):
            if choice not in choices:
                raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={choice!r}")
        super().__init__(layer, **kwargs)
        self.a, self.b, self.learnable = a, b, learnable
        self.function, self.decay_on, self.overflow = function, decay_on, overflow
        self._bound_of_one = weight_compander_bound(1.0, function)
        self._scales: dict[str, tuple[Any, Any]] = {}

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds a and b, where they are learned."""
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
        # For optimizers that scale their step by it.
        kernel.variable.slope_is_tunable = self.has_hyperparameters
        kernel.variable.slope = lambda parameter: weight_compander_slope(parameter, *self.scales(kernel), self.function)

    def scales(self, kernel: Kernel) -> tuple[Any, Any]:
        """The present a and b of a kernel."""
        return tuple(scale.value for scale in self._scales[kernel.name]) if self.learnable else self._given_scales()

    @property
    def has_hyperparameters(self) -> bool:
        """Whether a or b is a `tune.Float`."""
        return isinstance(self.a, Hyperparameter) or isinstance(self.b, Hyperparameter)

    def _given_scales(self) -> tuple[Any, Any]:
        # A kernel has one pair: where a tuner perturbs it for each sample, it perturbs all alike.
        return tuple(
            ops.cast(ops.mean(scale.read()), self.variable_dtype) if isinstance(scale, Hyperparameter) else scale
            for scale in (self.a, self.b)
        )

    def effective(self, kernel: Kernel, parameter: Any, training: bool = False) -> Any:
        """The weight w of the parameter v."""
        return compand_weight(parameter, *self.scales(kernel), self.function)

    def set_effective(self, kernel: Kernel, weight: Any) -> None:
        """Assigns the parameter v of a weight w."""
        kernel.variable.assign(self._parameter(weight, self.scales(kernel)))

    def initial_parameter(self, weight: Any) -> Any:
        """The parameter v of a weight w."""
        return self._parameter(weight, self._given_scales())

    def regularizer(self, kernel: Kernel, regularizer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The kernel regularizer, of the weight or of the parameter."""
        if self.decay_on == "parameter" or (self.decay_on == "auto" and self.learnable):
            return regularizer
        return ComputedWeightRegularizer(regularizer, lambda parameter: self.effective(kernel, parameter))

    def constraint(self, kernel: Kernel, constraint: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The kernel constraint holds for the weight."""
        return lambda parameter: self._clipped_parameter(
            constraint(self.effective(kernel, parameter)), self.scales(kernel)
        )

    def _parameter(self, weight: Any, scales: tuple[Any, Any]) -> Any:
        """The parameter of a weight that may reach the bound."""
        largest, a = None if self.is_loading else _largest(weight), _largest(scales[0])
        if largest is not None and a is not None and not largest <= ALMOST * (bound := a * self._bound_of_one):
            message = (
                f"Weights up to {largest:.4g} reach the bound {bound:.4g} of {self.name!r}, or nearly so. "
                f"a={1.1 * largest / self._bound_of_one:.2g} would hold them"
            )
            if self.overflow == "raise" or not np.isfinite(largest):
                raise ValueError(f"{message}; or clip them with `overflow='clip'`. Received: a={self.a}")
            warnings.warn(f"{message}. They are clipped to {CLIPPED_TO} of the bound.", stacklevel=2)
        return self._clipped_parameter(weight, scales)

    def _clipped_parameter(self, weight: Any, scales: tuple[Any, Any]) -> Any:
        if self.function != "asinh":
            bound = CLIPPED_TO * self._bound_of_one * scales[0]
            weight = ops.clip(weight, -bound, bound)
        return invert_weight_compander(weight, *scales, self.function)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        names = ("a", "b", "learnable", "function", "decay_on", "overflow")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        stored = keras.saving.serialize_keras_object
        return {key: stored(value) if isinstance(value, Hyperparameter) else value for key, value in config.items()}


class _AtLeast(keras.constraints.Constraint):
    """Keeps a value at or above a floor."""

    def __init__(self, floor: float) -> None:
        self.floor = floor

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, self.floor)


def _checked(name: str, value: Any, learnable: bool) -> Any:
    """A scale as a number or a hyperparameter."""
    if isinstance(value, (dict, Hyperparameter)):
        if learnable:
            raise ValueError(
                f"With `learnable=True`, `{name}` is where its training starts, a number. Received: {name}={value!r}"
            )
        return check_hyperparameter(name, value, SMALLEST_SCALE)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise ValueError(f"`{name}` must be a positive number or a `keras_reg.tune.Float`. Received: {name}={value!r}")
    if learnable and value < SMALLEST_SCALE:
        raise ValueError(
            f"`{name}` must be at least {SMALLEST_SCALE}, where learned scales are held. Received: {name}={value!r}"
        )
    return float(value)


def _largest(weight: Any) -> float | None:
    """The largest absolute value, or `None` while a graph is traced; then the variable gets its value later."""
    try:
        return float(np.abs(ops.convert_to_numpy(weight)).max(initial=0))
    except (TypeError, ValueError, NotImplementedError, AttributeError, RuntimeError):
        return None
