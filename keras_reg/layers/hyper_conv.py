"""A convolutional layer whose weights respond to hyperparameters."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_choice, check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight


@export("layers.HyperConv2D", kind="layer", arxiv="1903.03088", year=2019)
class HyperConv2D(HyperLayer):
    """A convolution of images whose weights respond to hyperparameters, as in Self-Tuning Networks.

    See `HyperDense` for what that means.

    Args:
        filters: How many filters.
        kernel_size: An integer, or two.
        strides: An integer, or two.
        padding: `"valid"` or `"same"`.
        activation: As of `keras.layers.Conv2D`.
        use_bias: Whether there is a bias.
        hyperparameters: As of `HyperDense`.
        centered: As of `HyperDense`.
        l2: As of `HyperDense`.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Shape (batch, height, width, channels).
        training: Whether to add the penalty to the loss.

    Returns:
        Shape (batch, height, width, filters).

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperConv2D(4, 3, hyperparameters=[rate])
    layer(np.ones((2, 8, 8, 3), "float32"))
    layer.fold()  # a keras.layers.Conv2D
    ```

    Source: Matthew MacKay, Paul Vicol, Jon Lorraine, David Duvenaud, Roger Grosse, Self-Tuning Networks, arXiv
    1903.03088, 2019; with `centered`, Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: str = "valid",
        activation: Any = None,
        use_bias: bool = True,
        *,
        hyperparameters: Any,
        centered: bool = True,
        l2: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.filters, self.padding = check_integer("filters", filters), check_choice("padding", padding, _PADDINGS)
        self.kernel_size, self.strides = _pair("kernel_size", kernel_size), _pair("strides", strides)
        self.activation, self.use_bias = keras.activations.get(activation), bool(use_bias)

    def build(self, input_shape: Any) -> None:
        """Makes the weights."""
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: input_shape[-1]})
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        self.responses = (HyperWeight(self, shape, self.use_bias, scalar=True),)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.penalize()
        inputs = ops.cast(inputs, self.compute_dtype)

        def convolve(kernel: Any) -> Any:
            kernel = ops.cast(kernel, inputs.dtype)
            return ops.conv(inputs, kernel, self.strides, self.padding, data_format="channels_last")

        (weight,) = self.responses
        return self.activation(ops.cast(weight(convolve, self.hyper_inputs()), inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the convolution."""
        return self.plain().compute_output_shape(input_shape)

    def plain(self) -> keras.layers.Layer:
        """A convolution."""
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

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


_PADDINGS = ("valid", "same")


def _pair(name: str, value: Any) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (list, tuple)) else (value, value)
    whole = all(isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0 for size in pair)
    if len(pair) != 2 or not whole:
        raise ValueError(f"`{name}` must be an integer of at least 1, or two. Received: {name}={value!r}")
    return int(pair[0]), int(pair[1])
