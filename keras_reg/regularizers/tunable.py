"""L1 and L2 whose strengths may change in training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg.ops._numerics import absolute, at_least_float32
from keras_reg.tune._checks import check_hyperparameter


class _Tunable(keras.regularizers.Regularizer, keras.layers.Layer):
    """Base of regularizers with one hyperparameter; a layer too, so that what holds it tracks the hyperparameter."""

    def __init__(self, strength: Any) -> None:
        super().__init__()
        self.strength = check_hyperparameter("strength", strength, 0.0)

    def __call__(self, x: Any) -> Any:
        """The penalty of a variable, times the strength."""
        x = at_least_float32(x)
        # Where a tuner perturbs it, there is one strength for each sample: the loss is their mean.
        return ops.cast(ops.mean(self.strength.read()), x.dtype) * self.penalty(x)

    def penalty(self, x: Any) -> Any:
        """The penalty with a strength of 1."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": keras.saving.serialize_keras_object(self.strength)}


@export("regularizers.TunableL2", kind="regularizer", arxiv="1903.03088", year=2019)
class TunableL2(_Tunable):
    """L2 whose strength may change in training, without compiling anything anew: strength * sum(x**2).

    One hyperparameter may be in the regularizers of several layers, or of all.

    Args:
        strength: A `tune.Float` with `low` of at least 0; `log=True` is right for a tuner.

    Raises:
        ValueError: If the strength is no hyperparameter with such a bound.

    Example:

    ```python
    decay = keras_reg.tune.Float("l2", init=1e-3, low=0.0, log=True)
    layer = keras.layers.Dense(10, kernel_regularizer=keras_reg.regularizers.TunableL2(decay))
    decay.set(1e-4)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019.
    """

    def penalty(self, x: Any) -> Any:
        """The sum of the squares."""
        return ops.sum(ops.square(x))


@export("regularizers.TunableL1", kind="regularizer", arxiv="1903.03088", year=2019)
class TunableL1(_Tunable):
    """L1 whose strength may change in training, without compiling anything anew: strength * sum(abs(x)).

    Its gradient at 0 is 0 on every backend.

    Args:
        strength: A `tune.Float` with `low` of at least 0; `log=True` is right for a tuner.

    Raises:
        ValueError: If the strength is no hyperparameter with such a bound.

    Example:

    ```python
    decay = keras_reg.tune.Float("l1", init=1e-4, low=0.0, log=True)
    layer = keras.layers.Dense(10, kernel_regularizer=keras_reg.regularizers.TunableL1(decay))
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019.
    """

    def penalty(self, x: Any) -> Any:
        """The sum of the magnitudes."""
        return ops.sum(absolute(x))
