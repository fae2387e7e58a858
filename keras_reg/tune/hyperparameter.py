"""A hyperparameter as an object: a number that layers and regularizers read in the compiled step."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.step_inputs import StepInputVariable
from keras_reg._validation import is_number
from keras_reg.ops.hyperparameters import bounded, unbounded
from keras_reg.tune._override import overridden_value
from keras_reg.tune._override import override_values as override_values


class Hyperparameter(keras.layers.Layer):
    """Base of `tune.Float` and `tune.Int`: a number that may change while a model trains, without a new trace.

    It is a layer, so that whatever holds it tracks it and files of models have its value. Under a strategy, make it in
    the scope of the strategy, as the model.

    Args:
        name: What it is called in logs and by `tune.set_hyperparameters`. Two of the same name are one.
        init: Its first value.
        low: The smallest value, or `None`.
        high: The largest value, or `None`.
        log: Whether a tuner moves it by factors.
    """

    def __init__(
        self, name: str, init: float, low: float | None = None, high: float | None = None, log: bool = False
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"`name` must be a string that is not empty. Received: name={name!r}")
        super().__init__(name=name, trainable=False)
        for argument, number in (("init", init), ("low", low), ("high", high)):
            if not (number is None and argument != "init") and not is_number(number):
                raise ValueError(f"`{argument}` must be a finite number. Received: {argument}={number!r}")
        if not isinstance(log, bool):
            raise ValueError(f"`log` must be True or False. Received: log={log!r}")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"`low` must be below `high`. Received: low={low!r}, high={high!r}")
        if log and ((low or 0.0) < 0.0 or (low is None and init <= 0) or (high is not None and not low)):
            raise ValueError(
                "With `log=True` values are above 0: `low` must be 0 or more, and above 0 where there is a `high`. "
                f"Received: init={init!r}, low={low!r}, high={high!r}"
            )
        self.low, self.high, self.log = low, high, log
        self.init = float(self.check(init, "init"))
        # Among the model's variables, so that a step takes it as an input; not among its weights, which users count.
        self._carried = StepInputVariable(
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
        """The variable that holds the value."""
        return self._carried.state

    @property
    def value(self) -> float:
        """The present value."""
        self._check_held()
        value = float(ops.convert_to_numpy(self.variable))
        # A bound that float32 does not hold is rounded.
        low, high = self._bounds()
        return min(max(value, low), high)

    def set(self, value: float) -> None:
        """Gives it a value, for all steps from the next on; nothing is compiled anew.

        Args:
            value: The value.

        Raises:
            ValueError: If it is outside the bounds.
        """
        self._check_held()
        self.variable.assign(self.check(value, "value"))

    def _check_held(self) -> None:
        # Between the steps of a `fit` on JAX variables are empty: what is assigned then is lost.
        try:
            held = self.variable.value is not None
        except TypeError:  # Keras has let the initializer go, and would call it
            held = False
        if not held:
            raise ValueError(
                f"Between two steps, JAX holds the value of {self.name!r}. Ask for `self.model` in the callback first, "
                "as `keras_reg.tune.set_hyperparameters(self.model, {...})` does. Received: a call inside of an epoch"
            )

    def check(self, value: Any, name: str) -> float:
        """Returns a value that is inside the bounds.

        Args:
            value: The value.
            name: What it is called in the message.

        Raises:
            ValueError: If it is not.
        """
        low, high = self._bounds()
        if not is_number(value) or not low <= value <= high:
            raise ValueError(
                f"The value of {self.name!r} must be a number from {low} to {high}. Received: {name}={value!r}"
            )
        return float(value)

    def _bounds(self) -> tuple[float, float]:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    def read(self) -> Any:
        """The value as a tensor, in a training step: shape () or, where a tuner perturbs it, (batch,)."""
        given = overridden_value(self.name)
        return ops.convert_to_tensor(self.variable) if given is None else given

    def from_unconstrained(self, free: Any) -> Any:
        """The value of a free number, by which a tuner moves it."""
        return bounded(free, self.low, self.high, self.log)

    def to_unconstrained(self, value: float) -> float:
        """The free number of a value; of one at a bound, that of one next to it."""
        span = (self.high - self.low) if self.low is not None and self.high is not None else max(abs(value), 1.0)
        low = value if self.low is None else max(value, self.low + 1e-6 * span)
        return unbounded(low if self.high is None else min(low, self.high - 1e-6 * span), self.low, self.high, self.log)

    def save_own_variables(self, store: Any) -> None:
        """Saves the value."""
        store["value"] = ops.convert_to_numpy(self.variable)

    def bound_reached(self) -> float | None:
        """The bound that the value has come next to, of a range with two; `None` elsewhere."""
        if self.low is None or self.high is None:
            return None
        first, value, last = (math.log(v) if self.log else v for v in (self.low, self.value, self.high))
        near = 0.01 * (last - first)
        return self.low if value - first <= near else self.high if last - value <= near else None

    def load_own_variables(self, store: Any) -> None:
        """Loads the value. A file has it once, also where several layers share it: then the configuration has it."""
        if "value" in store.keys():  # noqa: SIM118  (an HDF5 group is no dict)
            self.variable.assign(np.asarray(store["value"]))

    def __repr__(self) -> str:
        """The constructor's call, with the present value as the first one."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the present value as the first one."""
        return {"name": self.name, "init": self.value, "low": self.low, "high": self.high, "log": self.log}


@keras.saving.register_keras_serializable(package="keras_reg")
class Float(Hyperparameter):
    """A real hyperparameter, such as a dropout rate or the strength of a regularizer, that may change in training.

    Args:
        name: What it is called in logs and by `tune.set_hyperparameters`. Two of the same name are one.
        init: Its first value.
        low: The smallest value, or `None`.
        high: The largest value, or `None`.
        log: Whether a tuner moves it by factors, as is right for strengths.

    Attributes:
        value: Its present value.

    Raises:
        ValueError: If `init` is outside the bounds, or an argument is of the wrong kind.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    rate.set(0.5)
    rate.value  # 0.5
    ```

    Source: the transforms of Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, and of Juhan Bae,
    Roger Grosse, Delta-STN, arXiv 2010.13514, 2020.
    """


@keras.saving.register_keras_serializable(package="keras_reg")
class Int(Hyperparameter):
    """A whole hyperparameter, such as the length of a cutout. A tuner moves a real number, of which this is the floor.

    Args:
        name: What it is called in logs and by `tune.set_hyperparameters`. Two of the same name are one.
        init: Its first value, an integer.
        low: The smallest value, or `None`.
        high: The largest value, or `None`.
        log: Whether a tuner moves it by factors.

    Attributes:
        value: Its present value, an integer.

    Raises:
        ValueError: If `init` is outside the bounds, or an argument is of the wrong kind.

    Example:

    ```python
    length = keras_reg.tune.Int("cutout_length", init=4, low=0, high=24)
    length.value  # 4
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019.
    """

    @property
    def value(self) -> int:
        """The present value."""
        return math.floor(super().value)

    def check(self, value: Any, name: str) -> float:
        """Returns a value that is inside the bounds; as the first value, an integer."""
        if name == "init" and is_number(value) and not float(value).is_integer():
            raise ValueError(f"`init` of {self.name!r} must be an integer. Received: init={value!r}")
        return super().check(value, name)

    def read(self) -> Any:
        """The floor of the value as a tensor, shape () or (batch,)."""
        return ops.floor(super().read())

    def to_unconstrained(self, value: float) -> float:
        """The free number of the middle of those whose floor is the value: no rounding makes it another one."""
        middle = math.floor(value) + 0.5
        return super().to_unconstrained(middle if self.high is None else min(middle, self.high))
