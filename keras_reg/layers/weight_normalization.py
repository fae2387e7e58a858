"""Wrapper for weight normalization."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_boolean
from keras_reg.layers._kernels import CONVOLUTIONS, DEPTHWISE, TRANSPOSED, Kernel
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.ops.weight_normalization import data_dependent_initialization, normalize_weight, weight_length

# Layers with one kernel whose outputs before the activation can be computed.
_INITIALIZED_FROM_DATA = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE)


@export(
    "layers.WeightNormalization",
    kind="layer",
    place="wrapper of layers",
    tasks=("optimization",),
    arxiv="1602.07868",
    year=2016,
)
class WeightNormalization(ReparameterizedLayer):
    """Trains the length and the direction of each weight vector separately: w = g v / |v|.

    Unless lengths are initialized from data, wrapping does not change the forward pass at the start: g is the length of
    the initial weights. `keras_reg.fold` returns an ordinary layer. A kernel regularizer acts on v, as in
    tensorflow-addons.

    Args:
        layer: A `keras.layers.Layer`. The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`. Each
            unit or filter has one length. A depthwise kernel has one for each output, an embedding one for each row.
        data_init: Boolean. Whether the first training step initializes lengths and biases from its batch. Each output
            before the activation then starts with mean 0 and variance 1 over the batch (section 3 of the paper). This
            applies to dense and convolutional layers that are not built yet. Other layers keep their forward pass.
            Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`.

    Attributes:
        lengths: List of the current lengths g, one tensor for each kernel.

    Call arguments:
        The call arguments of the wrapped layer.

    Raises:
        ValueError: If an argument is invalid or the layer is not supported.

    Example:

    ```python
    layer = keras_reg.layers.WeightNormalization(keras.layers.Dense(8))
    layer(np.ones((2, 4), "float32"), training=True)
    ```

    Reference:

    - [Salimans and Kingma, 2016](https://arxiv.org/abs/1602.07868): Weight Normalization: A Simple Reparameterization
      to Accelerate Training of Deep Neural Networks, equations 2 and 6. Tests compare with tensorflow-addons 0.23.
    """

    def __init__(self, layer: keras.layers.Layer, *, data_init: bool = True, **kwargs: Any) -> None:
        data_init = check_boolean("data_init", data_init)
        super().__init__(layer, **kwargs)
        self.data_init = data_init
        self._trained_lengths: dict[str, Any] = {}
        self._from_data: _DataInitialization | None = None

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Builds the wrapped layer, the lengths, and the state of the initialization from data."""
        fresh = not self.layer.built
        super().build(*shapes, **named_shapes)
        if self.data_init and isinstance(self.layer, _INITIALIZED_FROM_DATA):
            self._from_data = _DataInitialization(self, self.kernels[0], fresh)

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds the lengths of the initial weights."""
        self._trained_lengths[kernel.name] = self.add_weight(
            shape=[1 if axis in kernel.input_axes else size for axis, size in enumerate(kernel.variable.shape)],
            initializer=lambda shape, dtype=None: weight_length(kernel.variable.value, kernel.input_axes),
            name=f"{kernel.name}_length",
        )

    @property
    def lengths(self) -> list[Tensor]:
        """Returns the current lengths g of each kernel, with the rank of the kernel."""
        return [self._compute_length(kernel) for kernel in self.kernels]

    def _compute_length(self, kernel: Kernel) -> Tensor:
        """Returns the trained lengths plus the lengths that were initialized from data."""
        length = self._trained_lengths[kernel.name].value
        return length if self._from_data is None else length + self._from_data.length.value

    def effective(self, kernel: Kernel, parameter: Tensor, training: bool = False) -> Tensor:
        """Returns the weights w for the directions v."""
        return normalize_weight(parameter, self._compute_length(kernel), kernel.input_axes)

    def set_effective(self, kernel: Kernel, weight: Tensor) -> None:
        """Assigns the weights to the directions, assigns their lengths, and cancels the initialization from data."""
        kernel.variable.assign(weight)
        self._trained_lengths[kernel.name].assign(weight_length(weight, kernel.input_axes))
        if self._from_data is not None:
            self._from_data.cancel()

    def prepare(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Initializes lengths and biases from the first training batch."""
        if training and self._from_data is not None:
            self._from_data.update(self._compute_length(self.kernels[0]), args, kwargs)

    def other_values(self) -> dict[int, Tensor]:
        """Returns the bias plus its initialization from data, by variable id."""
        bias = getattr(self.layer, "bias", None)
        if bias is None or self._from_data is None:
            return {}
        return {id(bias): bias.value + self._from_data.bias.value}

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "data_init": self.data_init}


class _DataInitialization:
    """Holds the values that the first training batch adds to lengths and biases.

    Separate variables hold these values and are not trained, because JAX drops what a step assigns to trained
    variables. Training is unchanged, because lengths and biases have the same gradients as if the values were
    assigned to them.

    Args:
        owner: The layer, which tracks the variables.
        kernel: The only kernel of the wrapped layer.
        fresh: Whether the wrapped layer was built together with its wrapper. Otherwise, nothing is initialized from
            data.
    """

    def __init__(self, owner: WeightNormalization, kernel: Kernel, fresh: bool) -> None:
        self.layer, self.kernel = owner.layer, kernel
        self.length_shape = owner._trained_lengths[kernel.name].shape
        bias = getattr(self.layer, "bias", None)
        self.bias_shape = (math.prod(self.length_shape),) if bias is None else tuple(bias.shape)

        def add_variable(name: str, shape: Shape, **arguments: Any) -> keras.Variable:
            return owner.add_weight(name=f"data_{name}", shape=shape, initializer="zeros", trainable=False, **arguments)

        self.length, self.bias = add_variable("length", self.length_shape), add_variable("bias", self.bias_shape)
        # With several replicas, the assignment averages their statistics, which yields those of the whole batch.
        self.statistics = add_variable("statistics", (3, math.prod(self.length_shape)), aggregation="mean")
        self.done = owner.add_weight(
            name="data_done",
            shape=(),
            initializer="zeros" if fresh else "ones",
            dtype="bool",
            trainable=False,
            aggregation="only_first_replica",
        )

    def cancel(self) -> None:
        """Resets the values that were initialized from data, and prevents later initialization."""
        self.length.assign(ops.zeros(self.length_shape, self.length.dtype))
        self.bias.assign(ops.zeros(self.bias_shape, self.bias.dtype))
        self.done.assign(True)

    def update(self, length: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Initializes lengths and biases from the statistics of the batch, unless they are already initialized.

        Args:
            length: The current lengths of the kernel.
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.
        """
        done, before = self.done.value, self.statistics.value
        replicas.assign(self.statistics, ops.cond(done, lambda: before, lambda: self._compute_statistics(args, kwargs)))
        mean, square_of_mean, variance = ops.unstack(self.statistics.value)
        # The variance over all replicas is the variance within replicas plus the variance of their means.
        factor, bias = data_dependent_initialization(mean, variance + square_of_mean - mean * mean)
        factor = ops.reshape(factor, self.length_shape)
        # Without `stop_gradient`, JAX would propagate gradients through the assigned values to lengths and biases.
        self.length.assign(ops.where(done, self.length.value, ops.stop_gradient(length * (factor - 1))))
        if getattr(self.layer, "bias", None) is not None:
            bias = ops.stop_gradient(ops.reshape(bias, self.bias_shape) - self.layer.bias.value)
            self.bias.assign(ops.where(done, self.bias.value, bias))
        # The statistics are used once, and they differ between one replica and two, so they are cleared. They are
        # cleared last, because PyTorch assigns in place.
        replicas.assign(self.statistics, ops.zeros_like(before))
        replicas.assign(self.done, True)

    def _compute_statistics(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Returns mean, squared mean and variance of the outputs before the activation, for the kernel v."""
        variables = self.layer.variables
        inputs = [ops.cast(value, self.kernel.variable.dtype) for value in args]
        with keras.StatelessScope([(variable, variable.value) for variable in variables]), self._disable_activation():
            outputs = ops.stop_gradient(self.layer.call(*inputs, **kwargs))
        mean, variance = ops.moments(outputs, self._find_batch_axes(len(outputs.shape)), keepdims=False)
        mean, variance = ops.reshape(mean, (-1,)), ops.reshape(variance, (-1,))
        return ops.stack([mean, mean * mean, variance])

    def _find_batch_axes(self, rank: int) -> tuple[int, ...]:
        """Returns the axes of the outputs over which statistics are computed."""
        if isinstance(self.layer, keras.layers.EinsumDense):
            left, outputs = self.layer.equation.split("->")
            outputs = outputs.replace("...", "." * (rank - len(outputs.replace("...", ""))))
            return tuple(axis for axis, name in enumerate(outputs) if name in left.split(",")[0])
        channels = 1 if getattr(self.layer, "data_format", None) == "channels_first" else rank - 1
        return tuple(axis for axis in range(rank) if axis != channels)

    @contextlib.contextmanager
    def _disable_activation(self) -> Iterator[None]:
        """Removes the activation of the wrapped layer within the context."""
        activation, self.layer.activation = self.layer.activation, None
        try:
            yield
        finally:
            self.layer.activation = activation
