"""A dense layer whose weights respond to hyperparameters."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight


@export("layers.HyperDense", kind="layer", arxiv="1903.03088", year=2019)
class HyperDense(HyperLayer):
    """A dense layer whose weights respond to hyperparameters, as in Self-Tuning Networks.

    Where a tuner perturbs the hyperparameters, each sample is computed with the weights for its own ones. Otherwise it
    is an ordinary dense layer with the weights for the present values, which `fold` and `keras_reg.fold` give.

    Args:
        units: The size of the outputs.
        activation: As of `keras.layers.Dense`.
        use_bias: Whether there is a bias.
        hyperparameters: A list of `tune.Float` and `tune.Int` with different names: those that training depends on,
            also through other layers. Their free numbers are what the weights respond to.
        centered: `True` for the form of Delta-STN, whose weights respond to deviations from the present values. `False`
            for that of STN, whose weights respond to the values.
        l2: One of the hyperparameters, or `None`: the strength of an L2 penalty of the kernel. It is computed exactly
            with the kernel of each sample, in training only. A regularizer of the variables would not see the response.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Shape (batch, ..., size).
        training: Whether to add the penalty to the loss.

    Returns:
        Shape (batch, ..., units).

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperDense(10, "relu", hyperparameters=[rate])
    layer(np.ones((2, 3), "float32"))
    layer.fold()  # a keras.layers.Dense
    ```

    Source: Matthew MacKay, Paul Vicol, Jon Lorraine, David Duvenaud, Roger Grosse, Self-Tuning Networks, arXiv
    1903.03088, 2019; with `centered`, Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        *,
        hyperparameters: Any,
        centered: bool = True,
        l2: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.units, self.activation = check_integer("units", units), keras.activations.get(activation)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.responses = (HyperWeight(self, (input_shape[-1], self.units), self.use_bias, scalar=True),)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.penalize()
        inputs = ops.cast(inputs, self.compute_dtype)
        (weight,) = self.responses
        outputs = weight(lambda kernel: ops.matmul(inputs, ops.cast(kernel, inputs.dtype)), self.hyper_inputs())
        return self.activation(ops.cast(outputs, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """As the inputs, with units."""
        return (*input_shape[:-1], self.units)

    def plain(self) -> keras.layers.Layer:
        """A dense layer."""
        return keras.layers.Dense(self.units, self.activation, self.use_bias, name=self.name, dtype=self.dtype_policy)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "units": self.units, "activation": activation, "use_bias": self.use_bias}
