"""Convolutional layer whose weights respond to hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Shape, Tensor, TensorFunction
from keras_reg._validation import check_boolean, check_choice, check_integer, is_integer, reject
from keras_reg.layers._hyper import HyperLayer, HyperWeight
from keras_reg.tune._hyperparameter import Hyperparameter

_PADDINGS = ("valid", "same")


@export(
    "layers.HyperConv2D",
    kind="layer",
    place="layer in place of a stock layer",
    tasks=("hyperparameter tuning",),
    arxiv="1903.03088",
    year=2019,
)
class HyperConv2D(HyperLayer):
    """Applies a 2D convolution whose weights respond to hyperparameters, as in Self-Tuning Networks.

    `keras_reg.layers.HyperDense` describes how weights respond.

    Args:
        filters: Integer. The number of filters.
        kernel_size: Integer, or a tuple of two integers. The height and width of the kernel.
        strides: Integer, or a tuple of two integers. The strides along height and width. Defaults to `1`.
        padding: String. `"valid"` or `"same"`. Defaults to `"valid"`.
        activation: String or callable. The activation, as in `keras.layers.Conv2D`. Defaults to `None`.
        use_bias: Boolean. Whether there is a bias. Defaults to `True`.
        hyperparameters: List of `keras_reg.tune.Float` and `Int`, as in `HyperDense`.
        centered: Boolean. Whether to use Delta-STN, as in `HyperDense`. Defaults to `True`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty, as in `HyperDense`. Defaults to
            `None`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels).
        training: Boolean. Whether to add the penalty to the loss.

    Returns:
        Tensor of shape (batch, height, width, filters).

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperConv2D(4, 3, hyperparameters=[rate])
    layer(np.ones((2, 8, 8, 3), "float32"))
    layer.fold()  # a keras.layers.Conv2D
    ```

    References:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians (`centered=True`)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        activation: str | TensorFunction | None = None,
        use_bias: bool = True,
        *,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool = True,
        l2: Hyperparameter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.filters, self.padding = check_integer("filters", filters), check_choice("padding", padding, _PADDINGS)
        self.kernel_size, self.strides = _check_pair("kernel_size", kernel_size), _check_pair("strides", strides)
        self.activation, self.use_bias = keras.activations.get(activation), check_boolean("use_bias", use_bias)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights."""
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.responses = (HyperWeight(self, shape, self.use_bias, scalar=True),)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.penalize()
        inputs = ops.cast(inputs, self.compute_dtype)

        def convolve(kernel: Tensor) -> Tensor:
            kernel = ops.cast(kernel, inputs.dtype)
            return ops.conv(inputs, kernel, self.strides, self.padding, data_format="channels_last")

        (weight,) = self.responses
        return self.activation(ops.cast(weight(convolve, self.compute_hyper_inputs()), inputs.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the output shape of the convolution."""
        shape: Shape = self.make_plain_layer().compute_output_shape(input_shape)
        return shape

    def make_plain_layer(self) -> keras.layers.Layer:
        """Returns a `keras.layers.Conv2D` that is not built."""
        return keras.layers.Conv2D(
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            data_format="channels_last",
            activation=self.activation,
            use_bias=self.use_bias,
            name=self.name,
            dtype=self.dtype_policy,
        )

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


def _check_pair(name: str, value: Any) -> tuple[int, int]:
    """Checks an integer or a pair of integers, and returns a pair.

    Raises:
        ValueError: If the value is something else, or below 1.
    """
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    if len(pair) != 2 or not all(is_integer(size) and size >= 1 for size in pair):
        reject(name, value, "must be an integer of at least 1 or a tuple of two")
    return int(pair[0]), int(pair[1])
