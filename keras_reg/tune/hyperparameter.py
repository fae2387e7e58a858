"""Hyperparameters as objects: numbers that layers and regularizers read in the compiled step."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg._types import Tensor
from keras_reg._validation import is_number, reject
from keras_reg.tune._hyperparameter import Hyperparameter


@keras.saving.register_keras_serializable(package="keras_reg")
class Float(Hyperparameter):
    """Holds a real hyperparameter, such as a dropout rate or a strength, that can change during training.

    Layers and regularizers read its value in the compiled step, so a new value does not retrace the step. Under a
    distribution strategy, create it in the scope of the strategy, like the model.

    Args:
        name: String. The name in logs and in `keras_reg.tune.set_hyperparameters`. Hyperparameters with equal names are
            set together.
        init: Float. The initial value.
        low: Float. The smallest value, or `None`. Defaults to `None`.
        high: Float. The largest value, or `None`. Defaults to `None`.
        log: Boolean. Whether a tuner changes the value by factors instead of differences, which suits strengths.
            Defaults to `False`.

    Attributes:
        value: Float. The current value.

    Raises:
        ValueError: If `init` is out of bounds, or an argument is invalid.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    rate.set(0.5)
    rate.value  # 0.5
    ```

    References for the transforms of the value:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians
    """


@keras.saving.register_keras_serializable(package="keras_reg")
class Int(Hyperparameter):
    """Holds an integer hyperparameter, such as the length of a cutout, that can change during training.

    A tuner changes a real number. The value is the largest integer that is not above this number.

    Args:
        name: String. The name in logs and in `keras_reg.tune.set_hyperparameters`. Hyperparameters with equal names are
            set together.
        init: Integer. The initial value.
        low: Integer. The smallest value, or `None`. Defaults to `None`.
        high: Integer. The largest value, or `None`. Defaults to `None`.
        log: Boolean. Whether a tuner changes the value by factors instead of differences. Defaults to `False`.

    Attributes:
        value: Integer. The current value.

    Raises:
        ValueError: If `init` is out of bounds, or an argument is invalid.

    Example:

    ```python
    length = keras_reg.tune.Int("cutout_length", init=4, low=0, high=24)
    length.value  # 4
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    """

    @property
    def value(self) -> int:
        """Returns the current value."""
        return math.floor(super().value)

    def check(self, value: Any, name: str) -> float:
        """Checks that a value is within the bounds, and returns it as a float. The initial value must be an integer.

        Args:
            value: The value.
            name: String. The name of the argument, for the message.

        Raises:
            ValueError: If the value is not a number within the bounds, or the initial value is not an integer.
        """
        if name == "init" and is_number(value) and not float(value).is_integer():
            reject("init", value, f"of {self.name!r} must be an integer")
        return super().check(value, name)

    def read(self) -> Tensor:
        """Returns the largest integer that is not above the number, as a tensor of shape () or (batch,)."""
        return ops.floor(super().read())

    def to_unconstrained(self, value: float) -> float:
        """Returns the unconstrained number for the midpoint between a value and the next integer.

        Rounding errors then do not change the value.
        """
        middle = math.floor(value) + 0.5
        return super().to_unconstrained(middle if self.high is None else min(middle, self.high))
