"""Which layers have kernels that can be reparameterized, where those are, and which of their axes are outputs."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
CELLS = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
LEAVES = (
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

#: The initializer of each kernel, by the name of the variable: attributes of the layers that own them. Attention layers
#: build their projections late, with the initializer that they keep themselves, in some under a name of their own.
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
    """One kernel of a layer.

    Attributes:
        variable: The variable, which holds the free parameter.
        owner: The layer that uses it.
        output_axes: Its axes that are outputs, counted from the end: one weight vector for each of their entries.
        name: A name that no other kernel of the wrapped layer has.
    """

    variable: keras.Variable
    owner: keras.layers.Layer
    output_axes: tuple[int, ...]
    name: str

    @property
    def input_axes(self) -> tuple[int, ...]:
        """The other axes, over which one weight vector runs."""
        rank = len(self.variable.shape)
        return tuple(axis for axis in range(rank) if axis - rank not in self.output_axes)


def leaves(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers with kernels in a supported layer; empty for one that is not supported."""
    if isinstance(layer, LEAVES):
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
    found = [leaves(part) for part in inner]
    return [leaf for part in found for leaf in part] if all(found) else []


def find_kernels(layer: keras.layers.Layer) -> list[Kernel]:
    """The kernels of a supported layer that is built."""
    found = []
    for number, leaf in enumerate(leaves(layer)):
        for variable in leaf.variables:
            if variable.name in INITIALIZERS:
                part = variable.path.split("/")[-2] if isinstance(leaf, ATTENTION) else ""
                name = "_".join(filter(None, [part, variable.name, str(number) if number else ""]))
                found.append(Kernel(variable, leaf, _output_axes(leaf, variable, part), name))
    return found


def _output_axes(layer: keras.layers.Layer, variable: keras.Variable, part: str) -> tuple[int, ...]:
    rank = len(variable.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        left, outputs = layer.equation.split("->")
        axes = left.split(",")[1]
        return tuple(i - len(axes) for i, axis in enumerate(axes) if axis in outputs and axis not in left.split(",")[0])
    if isinstance(layer, ATTENTION):  # (inputs, heads, size), and on the way out (heads, size, outputs ...)
        return tuple(range(2 - rank if part == "attention_output" else 1 - rank, 0))
    if isinstance(layer, TRANSPOSED):  # (..., outputs, inputs)
        return (-2,)
    if isinstance(layer, DEPTHWISE) or variable.name == "depthwise_kernel":  # (..., inputs, multiplier)
        return (-2, -1)
    # An embedding has one vector for each row, as each token has.
    return (-2,) if isinstance(layer, keras.layers.Embedding) else (-1,)


def mapped_initializer(initializer: Any, function: Callable[[Any], Any]) -> Any:
    """Draws what another initializer draws, and applies a function to it.

    It is of the other's class: `EinsumDense` gives those of variance scaling its axes, and attention layers copy theirs
    by class and configuration for each projection.
    """
    if not isinstance(initializer, keras.initializers.Initializer):  # a function, or None for an unused one
        return initializer and (lambda *args, **kwargs: function(initializer(*args, **kwargs)))

    class Mapped(type(initializer)):  # type: ignore[misc]
        """Of a class of its own for each function, so that copies by class keep it."""

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(super().__call__(*args, **kwargs))

    mapped = copy.copy(initializer)
    mapped.__class__ = Mapped
    return mapped


@contextlib.contextmanager
def mapped_initializers(layer: keras.layers.Layer, function: Callable[[Any], Any]) -> Iterator[None]:
    """Lets a layer apply a function to the initial values of its kernels while it builds; its configuration stays.

    Values cannot be assigned after building: in a subclassed model variables get theirs only when the first call ends.
    """
    names = {name for names in INITIALIZERS.values() for name in names}
    before = [(leaf, name, getattr(leaf, name)) for leaf in leaves(layer) for name in names if hasattr(leaf, name)]
    try:
        for leaf, name, initializer in before:
            setattr(leaf, name, mapped_initializer(initializer, function))
        yield
    finally:
        for leaf, name, initializer in before:
            setattr(leaf, name, initializer)


def load_all_variables(leaf: keras.layers.Layer, store: Any) -> None:
    """Loads what `keras.layers.Layer.save_own_variables` has saved, with the factors of LoRA as variables of their own.

    Args:
        leaf: A layer that has `enable_lora`.
        store: The saved values, as Keras gives them to `load_own_variables`.
    """
    # With LoRA enabled, convolutions of Keras 3.16 and later expect a file without the factors, and refuse this one.
    enabled, leaf.lora_enabled = leaf.lora_enabled, False
    try:
        keras.layers.Layer.load_own_variables(leaf, store)
    finally:
        leaf.lora_enabled = enabled
