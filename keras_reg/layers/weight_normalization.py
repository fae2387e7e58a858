"""Weight normalization as a layer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg.layers._kernels import CONVOLUTIONS, DEPTHWISE, TRANSPOSED, Kernel
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.ops.weight_normalization import data_dependent_initialization, normalize_weight, weight_length

# Layers with one kernel, whose outputs before the activation can be had.
_INITIALIZED_FROM_DATA = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE)


@export("layers.WeightNormalization", kind="layer", arxiv="1602.07868", year=2016)
class WeightNormalization(ReparameterizedLayer):
    """Weight normalization: trains the length and the direction of each weight vector apart, w = g v / |v|.

    Without data, training starts from the same forward pass as without it: g is the length of the initial weights.
    `keras_reg.fold` gives the plain layer back. A kernel regularizer acts on v, as in tensorflow-addons.

    Args:
        layer: The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`. Each unit or filter has one
            length, a depthwise kernel one for each of its outputs, an embedding one for each row.
        data_init: Whether the first training step sets lengths and biases such that, over its batch, each output before
            the activation begins with mean 0 and variance 1 (section 3 of the paper). This is for dense and
            convolutional layers that were not built yet; others keep the forward pass they have.
        **kwargs: As of any layer: `name`, `trainable`.

    Attributes:
        lengths: The present lengths g, one tensor for each kernel.

    Call arguments:
        Those of the wrapped layer.

    Raises:
        ValueError: If the layer is not supported.

    Example:

    ```python
    layer = keras_reg.layers.WeightNormalization(keras.layers.Dense(8))
    layer(np.ones((2, 4), "float32"), training=True)
    ```

    Source: Tim Salimans, Diederik P. Kingma, Weight Normalization: A Simple Reparameterization to Accelerate Training
    of Deep Neural Networks, arXiv 1602.07868, 2016, equations 2 and 6; compared with tensorflow-addons 0.23.
    """

    def __init__(self, layer: keras.layers.Layer, data_init: bool = True, **kwargs: Any) -> None:
        if not isinstance(data_init, bool):
            raise ValueError(f"`data_init` must be True or False. Received: data_init={data_init!r}")
        super().__init__(layer, **kwargs)
        self.data_init = data_init
        self._trained_lengths: dict[str, Any] = {}
        self._from_data: _DataInitialization | None = None

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Builds the wrapped layer, the lengths, and what the initialization from data needs."""
        fresh = not self.layer.built
        super().build(*shapes, **named_shapes)
        if self.data_init and isinstance(self.layer, _INITIALIZED_FROM_DATA):
            self._from_data = _DataInitialization(self, self.kernels[0], fresh)

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds the lengths: those of the initial weights."""
        self._trained_lengths[kernel.name] = self.add_weight(
            shape=[1 if axis in kernel.input_axes else size for axis, size in enumerate(kernel.variable.shape)],
            initializer=lambda shape, dtype=None: weight_length(kernel.variable.value, kernel.input_axes),
            name=f"{kernel.name}_length",
        )

    @property
    def lengths(self) -> list[Any]:
        """The present lengths g of each kernel, of the kernel's rank."""
        return [self._length(kernel) for kernel in self.kernels]

    def _length(self, kernel: Kernel) -> Any:
        length = self._trained_lengths[kernel.name].value
        return length if self._from_data is None else length + self._from_data.length.value

    def effective(self, kernel: Kernel, parameter: Any, training: bool = False) -> Any:
        """The weights w of the directions v."""
        return normalize_weight(parameter, self._length(kernel), kernel.input_axes)

    def set_effective(self, kernel: Kernel, weight: Any) -> None:
        """Takes the weights for directions, and their lengths; there is no initialization from data any more."""
        kernel.variable.assign(weight)
        self._trained_lengths[kernel.name].assign(weight_length(weight, kernel.input_axes))
        if self._from_data is not None:
            self._from_data.cancel()

    def prepare(self, training: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Initializes from the first batch that is trained on."""
        if training and self._from_data is not None:
            self._from_data.update(self._length(self.kernels[0]), args, kwargs)

    def other_values(self) -> dict[int, Any]:
        """The biases, where data changed them."""
        bias = getattr(self.layer, "bias", None)
        if bias is None or self._from_data is None:
            return {}
        return {id(bias): bias.value + self._from_data.bias.value}

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**super().get_config(), "data_init": self.data_init}


class _DataInitialization:
    """What the first training batch adds to lengths and biases.

    They are variables of their own, which are not trained, since JAX drops what a step assigns to one that is.
    Gradients of lengths and biases, and so training, are the same as if it had been assigned to those.
    """

    def __init__(self, owner: WeightNormalization, kernel: Kernel, fresh: bool) -> None:
        self.layer, self.kernel = owner.layer, kernel
        self.length_shape = owner._trained_lengths[kernel.name].shape
        bias = getattr(self.layer, "bias", None)
        self.bias_shape = (math.prod(self.length_shape),) if bias is None else tuple(bias.shape)

        def weight(name: str, shape: tuple[int, ...], **arguments: Any) -> Any:
            return owner.add_weight(name=f"data_{name}", shape=shape, initializer="zeros", trainable=False, **arguments)

        self.length, self.bias = weight("length", self.length_shape), weight("bias", self.bias_shape)
        # On several replicas the statistics are those of the whole batch: their mean is taken when they are assigned.
        self.statistics = weight("statistics", (3, math.prod(self.length_shape)), aggregation="mean")
        self.done = owner.add_weight(
            name="data_done",
            shape=(),
            initializer="zeros" if fresh else "ones",
            dtype="bool",
            trainable=False,
            aggregation="only_first_replica",
        )

    def cancel(self) -> None:
        """Leaves lengths and biases as they are, for good."""
        self.length.assign(ops.zeros(self.length_shape, self.length.dtype))
        self.bias.assign(ops.zeros(self.bias_shape, self.bias.dtype))
        self.done.assign(True)

    def update(self, length: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Takes the statistics of a batch, if it is the first."""
        done, before = self.done.value, self.statistics.value
        replicas.assign(self.statistics, ops.cond(done, lambda: before, lambda: self._statistics(args, kwargs)))
        mean, square_of_mean, variance = ops.unstack(self.statistics.value)
        # The variance over all replicas: within them, and between their means.
        factor, bias = data_dependent_initialization(mean, variance + square_of_mean - mean * mean)
        factor = ops.reshape(factor, self.length_shape)
        # Without gradient: JAX would let it through what is assigned, to the lengths and biases.
        self.length.assign(ops.where(done, self.length.value, ops.stop_gradient(length * (factor - 1))))
        if getattr(self.layer, "bias", None) is not None:
            bias = ops.stop_gradient(ops.reshape(bias, self.bias_shape) - self.layer.bias.value)
            self.bias.assign(ops.where(done, self.bias.value, bias))
        # Used once; on two replicas they are not those of one. At the end: PyTorch assigns in place.
        replicas.assign(self.statistics, ops.zeros_like(before))
        replicas.assign(self.done, True)

    def _statistics(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Mean, its square, and variance of each output before the activation, with the parameter as kernel."""
        variables = self.layer.variables
        inputs = [ops.cast(value, self.kernel.variable.dtype) for value in args]
        with keras.StatelessScope([(variable, variable.value) for variable in variables]), self._no_activation():
            outputs = ops.stop_gradient(self.layer.call(*inputs, **kwargs))
        mean, variance = ops.moments(outputs, self._batch_axes(len(outputs.shape)), keepdims=False)
        mean, variance = ops.reshape(mean, (-1,)), ops.reshape(variance, (-1,))
        return ops.stack([mean, mean * mean, variance])

    def _batch_axes(self, rank: int) -> tuple[int, ...]:
        if isinstance(self.layer, keras.layers.EinsumDense):
            left, outputs = self.layer.equation.split("->")
            outputs = outputs.replace("...", "." * (rank - len(outputs.replace("...", ""))))
            return tuple(axis for axis, name in enumerate(outputs) if name in left.split(",")[0])
        channels = 1 if getattr(self.layer, "data_format", None) == "channels_first" else rank - 1
        return tuple(axis for axis in range(rank) if axis != channels)

    @contextlib.contextmanager
    def _no_activation(self) -> Iterator[None]:
        activation, self.layer.activation = self.layer.activation, None
        try:
            yield
        finally:
            self.layer.activation = activation
