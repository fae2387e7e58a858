"""Layers whose kernels can be reparameterized, their kernels, and the output axes of these kernels."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras

from keras_reg._types import Tensor, TensorFunction

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
CELLS = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
LEAF_LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    *CONVOLUTIONS,
    *TRANSPOSED,
    *DEPTHWISE,
    *SEPARABLE,
    keras.layers.Embedding,
    *CELLS,
    *ATTENTION,
)

#: Maps the name of a kernel variable to the attributes that hold its initializer in the layers that own it. Attention
#: layers build their projections late, from an initializer that the attention layer holds. In some of these layers the
#: attribute has a different name.
INITIALIZERS = {
    "kernel": ("kernel_initializer", "depthwise_initializer", "_kernel_initializer"),
    "recurrent_kernel": ("recurrent_initializer",),
    "depthwise_kernel": ("depthwise_initializer",),
    "pointwise_kernel": ("pointwise_initializer",),
    "embeddings": ("embeddings_initializer",),
}

SUPPORTED = (
    "Dense, EinsumDense, Conv1D/2D/3D, Conv1D/2D/3DTranspose, DepthwiseConv1D/2D, SeparableConv1D/2D, Embedding, "
    "MultiHeadAttention, GroupQueryAttention, SimpleRNN, GRU, LSTM and their cells, RNN and StackedRNNCells of those, "
    "Bidirectional and TimeDistributed around any of those"
)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """Describes one kernel of a layer.

    Attributes:
        variable: The variable, which holds the free parameter.
        owner: The layer that uses the variable.
        output_axes: Tuple of integers. The output axes, counted from the end. Each index along these axes has one
            weight vector.
        name: String. A name that is unique in the wrapped layer.
    """

    variable: keras.Variable
    owner: keras.layers.Layer
    output_axes: tuple[int, ...]
    name: str

    @property
    def input_axes(self) -> tuple[int, ...]:
        """Returns the axes of one weight vector, which are all axes except the outputs."""
        rank = len(self.variable.shape)
        return tuple(axis for axis in range(rank) if axis - rank not in self.output_axes)


def find_leaf_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers with kernels in a supported layer, or an empty list if the layer is not supported."""
    if isinstance(layer, LEAF_LAYERS):
        return [layer]
    if isinstance(layer, keras.layers.Bidirectional):
        inner = [layer.forward_layer, layer.backward_layer]
    elif isinstance(layer, keras.layers.TimeDistributed):
        inner = [layer.layer]
    elif isinstance(layer, keras.layers.StackedRNNCells):
        inner = list(layer.cells)
    elif isinstance(layer, keras.layers.RNN):
        inner = [layer.cell]
    else:
        return []
    leaves_by_part = [find_leaf_layers(part) for part in inner]
    return [leaf for leaves in leaves_by_part for leaf in leaves] if all(leaves_by_part) else []


def find_kernels(layer: keras.layers.Layer) -> list[Kernel]:
    """Returns the kernels of a supported layer that is built."""
    kernels = []
    for number, leaf in enumerate(find_leaf_layers(layer)):
        for variable in leaf.variables:
            if variable.name in INITIALIZERS:
                part = variable.path.split("/")[-2] if isinstance(leaf, ATTENTION) else ""
                name = "_".join(filter(None, [part, variable.name, str(number) if number else ""]))
                kernels.append(Kernel(variable, leaf, _find_output_axes(leaf, variable, part), name))
    return kernels


def _find_output_axes(layer: keras.layers.Layer, variable: keras.Variable, part: str) -> tuple[int, ...]:
    """Returns the output axes of a kernel, counted from the end.

    Args:
        layer: The layer that owns the kernel.
        variable: The kernel.
        part: The projection of an attention layer, or an empty string.
    """
    rank = len(variable.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        left, outputs = layer.equation.split("->")
        axes = left.split(",")[1]
        return tuple(i - len(axes) for i, axis in enumerate(axes) if axis in outputs and axis not in left.split(",")[0])
    # Query, key and value kernels have the shape (inputs, heads, size), output kernels (heads, size, outputs ...).
    if isinstance(layer, ATTENTION):
        return tuple(range(2 - rank if part == "attention_output" else 1 - rank, 0))
    # Transposed convolutions have kernels of shape (..., outputs, inputs).
    if isinstance(layer, TRANSPOSED):
        return (-2,)
    # Depthwise kernels have the shape (..., inputs, multiplier), and each input has its own outputs.
    if isinstance(layer, DEPTHWISE) or variable.name == "depthwise_kernel":
        return (-2, -1)
    # An embedding has one weight vector for each row, which is a token.
    return (-2,) if isinstance(layer, keras.layers.Embedding) else (-1,)


def map_initializer(initializer: Any, function: TensorFunction) -> Any:
    """Returns an initializer that applies a function to the values of another one.

    The class of the result is a subclass of the class of `initializer`, for two reasons:

    - `EinsumDense` passes its axes to initializers of the class `VarianceScaling`.
    - Attention layers copy their initializer by class and configuration for each projection.

    Args:
        initializer: An initializer, a function, or `None` for an initializer that is not used.
        function: Maps the initial value to a new one.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer and (lambda *args, **kwargs: function(initializer(*args, **kwargs)))

    class Mapped(type(initializer)):  # type: ignore[misc]
        """Holds the function in its class, so that copies by class and configuration keep the function."""

        def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
            return function(super().__call__(*args, **kwargs))

    mapped = copy.copy(initializer)
    mapped.__class__ = Mapped
    return mapped


@contextlib.contextmanager
def map_kernel_initializers(layer: keras.layers.Layer, function: TensorFunction) -> Iterator[None]:
    """Applies a function to the initial values of kernels that a layer builds within the context.

    The configuration of the layer stays unchanged. Values cannot be assigned after building: in a subclassed model
    variables get their values only when the first call ends.

    Args:
        layer: A supported layer.
        function: Maps the initial value of each kernel to a new one.
    """
    names = {name for names in INITIALIZERS.values() for name in names}
    before = [
        (leaf, name, getattr(leaf, name)) for leaf in find_leaf_layers(layer) for name in names if hasattr(leaf, name)
    ]
    try:
        for leaf, name, initializer in before:
            setattr(leaf, name, map_initializer(initializer, function))
        yield
    finally:
        for leaf, name, initializer in before:
            setattr(leaf, name, initializer)


def load_all_variables(leaf: keras.layers.Layer, store: Any) -> None:
    """Loads the variables that `keras.layers.Layer.save_own_variables` saved, including the factors of LoRA.

    Args:
        leaf: A layer that has `enable_lora`.
        store: The saved values, as Keras passes them to `load_own_variables`.
    """
    # With LoRA enabled, convolutions of Keras 3.16 and later expect a file without the LoRA factors, and reject others.
    enabled, leaf.lora_enabled = leaf.lora_enabled, False
    try:
        keras.layers.Layer.load_own_variables(leaf, store)
    finally:
        leaf.lora_enabled = enabled
