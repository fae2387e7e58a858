"""The base class of hyperparameters."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.step_inputs import StepInputVariable
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_boolean, check_number, check_string, is_number
from keras_reg.ops.hyperparameters import bounded, unbounded
from keras_reg.tune._override import overridden_value


class Hyperparameter(keras.layers.Layer):
    """Holds a number that can change while a model trains, without retracing the step.

    It is the base class of `keras_reg.tune.Float` and `keras_reg.tune.Int`. It is a layer, so that the layer that holds
    it tracks it, and model files contain its value. Under a distribution strategy, create it in the scope of the
    strategy, like the model.

    Args:
        name: String. The name in logs and in `keras_reg.tune.set_hyperparameters`. Hyperparameters with equal names are
            set together.
        init: Float. The initial value.
        low: Float. The smallest value, or `None`. Defaults to `None`.
        high: Float. The largest value, or `None`. Defaults to `None`.
        log: Boolean. Whether a tuner changes the value by factors instead of differences. Defaults to `False`.
    """

    def __init__(
        self, name: str, init: float, low: float | None = None, high: float | None = None, *, log: bool = False
    ) -> None:
        super().__init__(name=check_string("name", name), trainable=False)
        for argument, number in (("init", init), ("low", low), ("high", high)):
            check_number(argument, number, at_least=-math.inf, optional=argument != "init")
        log = check_boolean("log", log)
        if low is not None and high is not None and low >= high:
            raise ValueError(f"`low` must be below `high`. Received: low={low!r}, high={high!r}")
        if log and ((low or 0.0) < 0.0 or (low is None and init <= 0) or (high is not None and not low)):
            raise ValueError(
                "With `log=True`, values must be above 0: `low` must be at least 0, and above 0 if there is a `high`. "
                f"Received: init={init!r}, low={low!r}, high={high!r}"
            )
        self.low, self.high, self.log = low, high, log
        self.init = float(self.check(init, "init"))
        # The variable is among the model's `variables`, so that a step has it as an input. It is not among its
        # `weights`, which users count and set.
        self._step_input = StepInputVariable(
            keras.Variable(
                self.init,
                dtype="float64" if keras.config.floatx() == "float64" else "float32",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
                name=name,
            )
        )
        self.built = True

    @property
    def variable(self) -> keras.Variable:
        """Returns the variable that holds the value."""
        return self._step_input.state

    @property
    def value(self) -> float:
        """Returns the current value."""
        self._check_readable()
        value = float(ops.convert_to_numpy(self.variable))
        # The variable may exceed a bound that float32 cannot represent exactly.
        low, high = self._bounds()
        return min(max(value, low), high)

    def set(self, value: float) -> None:
        """Sets the value from the next training step on, without retracing.

        Args:
            value: Float. The value.

        Raises:
            ValueError: If the value is out of bounds.
        """
        self._check_readable()
        self.variable.assign(self.check(value, "value"))

    def _check_readable(self) -> None:
        # During `fit` on JAX, variables are empty between steps, and a value that is assigned to them is lost.
        try:
            readable = self.variable.value is not None
        except TypeError:
            # Keras has deleted the initializer, but still tries to call it.
            readable = False
        if not readable:
            raise ValueError(
                f"Between two steps, JAX holds the value of {self.name!r}. Read `self.model` in the callback first, as "
                "`keras_reg.tune.set_hyperparameters(self.model, {...})` does. Received: a call within an epoch"
            )

    def check(self, value: Any, name: str) -> float:
        """Checks that a value is within the bounds, and returns it as a float.

        Args:
            value: The value.
            name: String. The name of the argument, for the message.

        Raises:
            ValueError: If the value is not a number within the bounds.
        """
        low, high = self._bounds()
        if not is_number(value) or not low <= value <= high:
            raise ValueError(
                f"The value of {self.name!r} must be a number from {low} to {high}. Received: {name}={value!r}"
            )
        return float(value)

    def _bounds(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def read(self) -> Tensor:
        """Returns the value as a tensor in a training step. Its shape is (), or (batch,) if a tuner perturbs it."""
        override = overridden_value(self.name)
        return ops.convert_to_tensor(self.variable) if override is None else override

    def from_unconstrained(self, free: Tensor) -> Tensor:
        """Converts an unconstrained number, which a tuner changes, to a value."""
        return bounded(free, self.low, self.high, self.log)

    def to_unconstrained(self, value: float) -> float:
        """Converts a value to an unconstrained number. A value at a bound is first moved slightly inside."""
        span = (self.high - self.low) if self.low is not None and self.high is not None else max(abs(value), 1.0)
        low = value if self.low is None else max(value, self.low + 1e-6 * span)
        return unbounded(low if self.high is None else min(low, self.high - 1e-6 * span), self.low, self.high, self.log)

    def bound_reached(self) -> float | None:
        """Returns the bound that is within 1 % of the range from the value, or `None`. Both bounds must be finite."""
        if self.low is None or self.high is None:
            return None
        first, value, last = (math.log(v) if self.log else v for v in (self.low, self.value, self.high))
        near = 0.01 * (last - first)
        return self.low if value - first <= near else self.high if last - value <= near else None

    def save_own_variables(self, store: Any) -> None:
        """Writes the value to a file."""
        store["value"] = ops.convert_to_numpy(self.variable)

    def load_own_variables(self, store: Any) -> None:
        """Reads the value from a file.

        A file contains the value of a shared hyperparameter once. In other places, the value comes from the
        configuration.
        """
        if "value" in store.keys():  # noqa: SIM118  (an HDF5 group is not a dictionary)
            self.variable.assign(np.asarray(store["value"]))

    def __repr__(self) -> str:
        """Returns the call of the constructor, with the current value as `init`."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def get_config(self) -> Config:
        """Returns the constructor's arguments, with the current value as `init`."""
        return {"name": self.name, "init": self.value, "low": self.low, "high": self.high, "log": self.log}
