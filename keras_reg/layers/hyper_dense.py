"""Dense layer whose weights respond to hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Shape, Tensor, TensorFunction
from keras_reg._validation import check_boolean, check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight
from keras_reg.tune._hyperparameter import Hyperparameter


@export(
    "layers.HyperDense",
    kind="layer",
    place="layer in place of a stock layer",
    tasks=("hyperparameter tuning",),
    arxiv="1903.03088",
    year=2019,
)
class HyperDense(HyperLayer):
    """Applies a dense layer whose weights respond to hyperparameters, as in Self-Tuning Networks.

    While a tuner perturbs the hyperparameters, the layer computes each sample with the weights for the hyperparameters
    of that sample. Otherwise it acts as an ordinary dense layer with the weights for the current values. `fold` and
    `keras_reg.fold` return that layer.

    Args:
        units: Integer. The size of the outputs.
        activation: String or callable. The activation, as in `keras.layers.Dense`. Defaults to `None`.
        use_bias: Boolean. Whether there is a bias. Defaults to `True`.
        hyperparameters: List of `keras_reg.tune.Float` and `Int` with different names. List all hyperparameters that
            training depends on, including those that act through other layers. The weights respond to their
            unconstrained numbers.
        centered: Boolean. `True` selects Delta-STN, whose weights respond to deviations from the current values.
            `False` selects STN, whose weights respond to the values. Defaults to `True`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty on the kernel. The penalty is exact for
            the kernel of each sample, and it is added during training only. A regularizer of the variables would not
            see the response. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Tensor of shape (batch, ..., size).
        training: Boolean. Whether to add the penalty to the loss.

    Returns:
        Tensor of shape (batch, ..., units).

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperDense(10, "relu", hyperparameters=[rate])
    layer(np.ones((2, 3), "float32"))
    layer.fold()  # a keras.layers.Dense
    ```

    References:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians (`centered=True`)
    """

    def __init__(
        self,
        units: int,
        activation: str | TensorFunction | None = None,
        use_bias: bool = True,
        *,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool = True,
        l2: Hyperparameter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.units, self.activation = check_integer("units", units), keras.activations.get(activation)
        self.use_bias = check_boolean("use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.responses = (HyperWeight(self, (input_shape[-1], self.units), self.use_bias, scalar=True),)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.penalize()
        inputs = ops.cast(inputs, self.compute_dtype)
        (weight,) = self.responses
        outputs = weight(lambda kernel: ops.matmul(inputs, ops.cast(kernel, inputs.dtype)), self.compute_hyper_inputs())
        return self.activation(ops.cast(outputs, inputs.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs with `units` as the last axis."""
        return (*input_shape[:-1], self.units)

    def make_plain_layer(self) -> keras.layers.Layer:
        """Returns a `keras.layers.Dense` that is not built."""
        return keras.layers.Dense(self.units, self.activation, self.use_bias, name=self.name, dtype=self.dtype_policy)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation, "use_bias": self.use_bias}
