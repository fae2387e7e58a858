"""Two thin layers that replace one layer."""

from __future__ import annotations

import string
from typing import Any

import keras
from keras import ops

from keras_reg._types import Config, Tensor
from keras_reg.surgery._cloning import copy_values
from keras_reg.surgery._rank_kernels import split_equation


def build_thin_layers(layer: keras.Layer, factors: tuple[Tensor, Tensor], split: str) -> keras.Sequential:
    """Returns a model of two built layers, one after the other.

    Args:
        layer: A `Dense` layer, an `EinsumDense` layer, or a convolution without groups.
        factors: The kernels of both layers, as `ops.low_rank.low_rank_factors` returns them.
        split: How the kernel of a convolution was divided: `"channel"` or `"spatial"`.

    Returns:
        The model, under the name of the layer.
    """
    rank = factors[0].shape[-1]
    if isinstance(layer, keras.layers.Dense):
        changes: tuple[Config, ...] = {"units": rank}, {}
    elif isinstance(layer, keras.layers.EinsumDense):
        changes = _divide_equation(layer, rank)
    else:
        changes = _divide_window(layer, rank, split)
    config = {**layer.get_config(), "kernel_regularizer": None, "kernel_constraint": None}
    outer = ("bias_axes", "activation", "activity_regularizer", "bias_regularizer", "bias_constraint")
    bare = {name: None for name in outer if name in config} | ({"use_bias": False} if "use_bias" in config else {})
    parts: list[Any] = []
    shape = tuple(layer.get_build_config()["input_shape"])
    sizes = shape[1:]
    if not isinstance(layer, keras.layers.EinsumDense):
        # A shared layer may be called on inputs of several sizes, so only the number of channels is fixed.
        axis = 0 if getattr(layer, "data_format", "") == "channels_first" else len(sizes) - 1
        sizes = tuple(size if index == axis else None for index, size in enumerate(sizes))
    for name, own, value in zip(("in", "out"), ({**bare, **changes[0]}, changes[1]), factors, strict=True):
        part = type(layer).from_config({**config, **own, "name": f"{layer.name}_{name}"})
        part.build(shape)
        part.kernel.assign(ops.reshape(value, part.kernel.shape))
        shape = part.compute_output_shape(shape)
        parts.append(part)
    if layer.bias is not None:
        copy_values([layer.bias], [parts[1].bias])
    return keras.Sequential([keras.Input(sizes, dtype=layer.compute_dtype), *parts], name=layer.name)


def _divide_window(layer: Any, rank: int, split: str) -> tuple[Config, Config]:
    """Returns the settings of both convolutions that differ from the configuration of the layer."""
    first_axes = layer.rank if split == "channel" else 1

    def divide(first: bool) -> Config:
        """Returns the settings of one convolution, which are 1 for the window axes of the other convolution."""
        own = [(axis < first_axes) == first for axis in range(layer.rank)]
        settings = {name: getattr(layer, name) for name in ("kernel_size", "strides", "dilation_rate")}
        return {name: [v if o else 1 for v, o in zip(values, own, strict=True)] for name, values in settings.items()}

    return {**divide(True), "filters": rank}, divide(False)


def _divide_equation(layer: keras.layers.EinsumDense, rank: int) -> tuple[Config, Config]:
    """Returns the settings of both products that differ from the configuration of the layer.

    The outputs of the first product have an additional axis whose size is the rank.
    """
    inputs, kernel, outputs = split_equation(layer)
    summed = "".join(letter for letter in kernel if letter not in outputs)
    produced = "".join(letter for letter in kernel if letter in outputs)
    new = next(letter for letter in string.ascii_letters if letter not in inputs + kernel + outputs)
    between = "".join(letter for letter in inputs if letter not in summed)
    letters = inputs.replace("...", "")[::-1]
    # Axes are counted from the end, since an ellipsis is at the front.
    sizes = dict(zip(letters, layer.get_build_config()["input_shape"][::-1], strict=False))
    # `output_shape` does not contain the batch axis, which is the first one.
    kept = between.replace("...", "") if "..." in between else between[1:]
    shape = *(sizes[letter] for letter in kept), rank
    first = {"equation": f"{inputs},{summed}{new}->{between}{new}", "output_shape": shape}
    return first, {"equation": f"{between}{new},{new}{produced}->{outputs}"}
