"""The kernels of a model that can be treated as matrices, so that their rank can be reduced."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import keras
from keras import ops

from keras_reg._keras.sublayers import iter_sublayers, own_weights
from keras_reg._types import Tensor
from keras_reg.layers._kernels import CONVOLUTIONS
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.surgery._select import LayerPatterns, select

SUPPORTED = "Dense, EinsumDense and Conv1D/2D/3D without groups"


@dataclasses.dataclass(frozen=True)
class RankKernel:
    """Describes one kernel of a model.

    Attributes:
        path: The names of the layers around the layer and the name of the layer, joined by `/`.
        layer: The layer.
        variable: The kernel.
        parents: The layers around the layer, from the outside in.
        skip_reason: The reason why the rank cannot be reduced. It is empty if the rank can be reduced.
    """

    path: str
    layer: keras.Layer
    variable: keras.Variable
    parents: tuple[keras.Layer, ...]
    skip_reason: str = ""

    def read(self) -> Tensor:
        """Returns the kernel with the shape (..., inputs, outputs)."""
        kernel = ops.convert_to_tensor(ops.convert_to_numpy(self.variable))
        if not isinstance(self.layer, keras.layers.EinsumDense):
            return kernel
        contracted, outputs = _find_axes(self.layer)
        rows = math.prod(kernel.shape[axis] for axis in contracted)
        return ops.reshape(ops.transpose(kernel, contracted + outputs), (rows, -1))

    def write(self, kernel: Tensor) -> None:
        """Assigns a kernel with the shape that `read` returns."""
        if isinstance(self.layer, keras.layers.EinsumDense):
            contracted, outputs = _find_axes(self.layer)
            order = contracted + outputs
            kernel = ops.reshape(kernel, [self.variable.shape[axis] for axis in order])
            kernel = ops.transpose(kernel, sorted(range(len(order)), key=order.__getitem__))
        self.variable.assign(kernel)


def iter_rank_kernels(
    model: keras.Model, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> Iterator[RankKernel]:
    """Yields the kernels of the selected layers, each once, with a reason for each kernel that must be skipped.

    Args:
        model: A built model.
        include: The layers to select, as in `apply_regularizer`.
        exclude: The layers to leave out.

    Yields:
        The kernels.
    """
    seen = set()
    for layer, parents in iter_sublayers(model):
        # Kernels come first, so that a function in `include` is called only with layers that have one.
        kernels = [variable for variable in own_weights(layer) if variable.name.endswith("kernel")]
        if not kernels or id(layer) in seen or not select(layer, include, exclude, parents):
            continue
        seen.add(id(layer))
        path = "/".join(part.name for part in (*parents, layer))
        for variable in kernels:
            yield RankKernel(path, layer, variable, parents, _find_skip_reason(layer, parents))


def split_equation(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    """Returns the letters of the inputs, the kernel and the outputs in the equation of a layer."""
    left, outputs = layer.equation.split("->")
    inputs, kernel = left.split(",")
    return inputs, kernel, outputs


def _find_axes(layer: keras.layers.EinsumDense) -> tuple[list[int], list[int]]:
    """Returns the axes of the kernel that are summed over, and those that become axes of the outputs."""
    inputs, kernel, outputs = split_equation(layer)
    contracted = [axis for axis, letter in enumerate(kernel) if letter in inputs and letter not in outputs]
    return contracted, [axis for axis, letter in enumerate(kernel) if letter in outputs and letter not in inputs]


def _find_skip_reason(layer: keras.Layer, parents: tuple[keras.Layer, ...]) -> str:
    if any(isinstance(parent, ReparameterizedLayer) for parent in parents):
        return "its kernel is computed from other parameters: fold the model first"
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None) is not None:
        return "it has LoRA weights or is quantized"
    if isinstance(layer, CONVOLUTIONS):
        return "" if layer.groups == 1 else "it is a grouped convolution"
    if isinstance(layer, keras.layers.EinsumDense):
        axes = _find_axes(layer)
        whole = all(axes) and len(axes[0]) + len(axes[1]) == len(layer.kernel.shape)
        return "" if whole else "its equation is not a product with one matrix"
    return "" if isinstance(layer, keras.layers.Dense) else f"it is a {type(layer).__name__}"
