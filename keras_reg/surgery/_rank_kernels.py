"""Which kernels of a model are matrices, whose rank can be made lower."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_reg.layers._kernels import CONVOLUTIONS
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.surgery._select import LayerPatterns, iter_sublayers, own_weights, select

SUPPORTED = "Dense, EinsumDense and Conv1D/2D/3D without groups"


@dataclasses.dataclass(frozen=True)
class RankKernel:
    """One kernel of a model.

    Attributes:
        path: The names of the layers around the layer, and its own.
        layer: The layer.
        variable: The kernel.
        inside: The layers around it.
        skip_reason: Why its rank is not made lower; empty if it can be.
    """

    path: str
    layer: keras.Layer
    variable: keras.Variable
    inside: tuple[keras.Layer, ...]
    skip_reason: str = ""

    def read(self) -> Any:
        """The kernel as (..., inputs, outputs)."""
        kernel = ops.convert_to_tensor(ops.convert_to_numpy(self.variable))
        if not isinstance(self.layer, keras.layers.EinsumDense):
            return kernel
        contracted, outputs = _axes(self.layer)
        rows = math.prod(kernel.shape[axis] for axis in contracted)
        return ops.reshape(ops.transpose(kernel, contracted + outputs), (rows, -1))

    def write(self, kernel: Any) -> None:
        """Assigns a kernel of the shape that `read` gives."""
        if isinstance(self.layer, keras.layers.EinsumDense):
            contracted, outputs = _axes(self.layer)
            order = contracted + outputs
            kernel = ops.reshape(kernel, [self.variable.shape[axis] for axis in order])
            kernel = ops.transpose(kernel, sorted(range(len(order)), key=order.__getitem__))
        self.variable.assign(kernel)


def rank_kernels(
    model: keras.Model, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> Iterator[RankKernel]:
    """The kernels of the selected layers, each once; with a reason those whose rank must stay.

    Args:
        model: A built model.
        include: Which layers, as in `apply_regularizer`.
        exclude: Layers to leave alone.

    Yields:
        The kernels.
    """
    seen = set()
    for layer, inside in iter_sublayers(model):
        # Variables first: a function in `include` is only asked about layers that it could be meant for.
        kernels = [variable for variable in own_weights(layer) if variable.name.endswith("kernel")]
        if not kernels or id(layer) in seen or not select(layer, include, exclude, inside):
            continue
        seen.add(id(layer))
        path = "/".join(part.name for part in (*inside, layer))
        for variable in kernels:
            yield RankKernel(path, layer, variable, inside, _skip_reason(layer, inside))


def einsum_letters(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    """The letters of an equation: of its inputs, its kernel and its outputs."""
    left, outputs = layer.equation.split("->")
    inputs, kernel = left.split(",")
    return inputs, kernel, outputs


def _axes(layer: keras.layers.EinsumDense) -> tuple[list[int], list[int]]:
    """The axes of its kernel that are summed over, and those that are outputs."""
    inputs, kernel, outputs = einsum_letters(layer)
    contracted = [axis for axis, letter in enumerate(kernel) if letter in inputs and letter not in outputs]
    return contracted, [axis for axis, letter in enumerate(kernel) if letter in outputs and letter not in inputs]


def _skip_reason(layer: keras.Layer, inside: tuple[keras.Layer, ...]) -> str:
    if any(isinstance(part, ReparameterizedLayer) for part in inside):
        return "its kernel is computed from the parameters: fold first"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None) is not None:
        return "it has a LoRA or is quantized"
    if isinstance(layer, CONVOLUTIONS):
        return "" if layer.groups == 1 else "it is a grouped convolution"
    if isinstance(layer, keras.layers.EinsumDense):
        axes = _axes(layer)
        whole = all(axes) and len(axes[0]) + len(axes[1]) == len(layer.kernel.shape)
        return "" if whole else "its equation is no product with one matrix"
    return "" if isinstance(layer, keras.layers.Dense) else f"it is a {type(layer).__name__}"
