"""L1 and L2 regularizers whose strengths can change during training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg.ops._numerics import absolute, at_least_float32
from keras_reg.tune._checks import check_hyperparameter


class _TunableRegularizer(keras.regularizers.Regularizer, keras.layers.Layer):
    """Multiplies a penalty by a hyperparameter.

    The class is also a layer, so that a layer that has the regularizer as an argument tracks the hyperparameter.

    Args:
        strength: A `keras_reg.tune.Float`.
    """

    def __init__(self, strength: Any) -> None:
        super().__init__()
        self.strength = check_hyperparameter("strength", strength, 0.0)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a variable, multiplied by the strength."""
        x = at_least_float32(x)
        # A tuner that perturbs the strength provides one strength for each sample. The loss is their mean.
        return ops.cast(ops.mean(self.strength.read()), x.dtype) * self.penalty(x)

    def penalty(self, x: Tensor) -> Tensor:
        """Returns the penalty for a strength of 1."""
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": keras.saving.serialize_keras_object(self.strength)}


@export(
    "regularizers.TunableL2",
    kind="regularizer",
    tasks=("weight decay", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableL2(_TunableRegularizer):
    """Penalizes the sum of squares with a strength that can change during training.

    The penalty is `strength * sum(x**2)`. Changing the strength does not recompile the step. Several layers, or all,
    can share one hyperparameter.

    Args:
        strength: A `keras_reg.tune.Float` with `low` of at least 0. With a tuner, use `log=True`.

    Raises:
        ValueError: If the strength is not a hyperparameter with such a bound.

    Example:

    ```python
    decay = keras_reg.tune.Float("l2", init=1e-3, low=0.0, log=True)
    penalty = keras_reg.regularizers.TunableL2(decay)
    layer = keras.layers.Dense(10, kernel_regularizer=penalty)
    decay.set(1e-4)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    """

    def penalty(self, x: Tensor) -> Tensor:
        """Returns the sum of the squares."""
        return ops.sum(ops.square(x))


@export(
    "regularizers.TunableL1",
    kind="regularizer",
    tasks=("weight decay", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableL1(_TunableRegularizer):
    """Penalizes the sum of magnitudes with a strength that can change during training.

    The penalty is `strength * sum(abs(x))`. Changing the strength does not recompile the step. The gradient at 0 is 0
    on every backend.

    Args:
        strength: A `keras_reg.tune.Float` with `low` of at least 0. With a tuner, use `log=True`.

    Raises:
        ValueError: If the strength is not a hyperparameter with such a bound.

    Example:

    ```python
    decay = keras_reg.tune.Float("l1", init=1e-4, low=0.0, log=True)
    penalty = keras_reg.regularizers.TunableL1(decay)
    layer = keras.layers.Dense(10, kernel_regularizer=penalty)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    """

    def penalty(self, x: Tensor) -> Tensor:
        """Returns the sum of the magnitudes."""
        return ops.sum(absolute(x))
