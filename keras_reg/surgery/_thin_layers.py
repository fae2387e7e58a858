"""The two thin layers that stand in the place of one, by its kind."""

from __future__ import annotations

import string
from typing import Any

import keras
from keras import ops

from keras_reg.surgery._cloning import copy_values
from keras_reg.surgery._rank_kernels import einsum_letters


def thin_layers(layer: keras.Layer, factors: tuple[Any, Any], split: str) -> keras.Sequential:
    """Two built layers, one after the other.

    Args:
        layer: A Dense, EinsumDense, or a convolution without groups.
        factors: Their kernels, as `ops.low_rank_factors` gives them.
        split: How these were made of a convolution's kernel.

    Returns:
        The layers, under the name of the given one.
    """
    rank = factors[0].shape[-1]
    if isinstance(layer, keras.layers.Dense):
        changes: tuple[dict[str, Any], ...] = {"units": rank}, {}
    elif isinstance(layer, keras.layers.EinsumDense):
        changes = _divide_equation(layer, rank)
    else:
        changes = _divide_window(layer, rank, split)
    config = {**layer.get_config(), "kernel_regularizer": None, "kernel_constraint": None}
    of_outputs = ("bias_axes", "activation", "activity_regularizer", "bias_regularizer", "bias_constraint")
    bare = {name: None for name in of_outputs if name in config} | ({"use_bias": False} if "use_bias" in config else {})
    parts: list[Any] = []
    shape = tuple(layer.get_build_config()["input_shape"])
    sizes = shape[1:]
    if not isinstance(layer, keras.layers.EinsumDense):  # a layer that is shared may see inputs of other sizes
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


def _divide_window(layer: Any, rank: int, split: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is other in the configurations of both convolutions."""
    here = layer.rank if split == "channel" else 1

    def window(first: bool) -> dict[str, Any]:
        """The settings of the axes of the window that are in this layer, and 1 for the others."""
        mine = [(axis < here) == first for axis in range(layer.rank)]
        settings = {name: getattr(layer, name) for name in ("kernel_size", "strides", "dilation_rate")}
        return {name: [v if m else 1 for v, m in zip(values, mine, strict=True)] for name, values in settings.items()}

    return {**window(True), "filters": rank}, window(False)


def _divide_equation(layer: keras.layers.EinsumDense, rank: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is other in the configurations of both products; between them there is an axis of the rank."""
    inputs, kernel, outputs = einsum_letters(layer)
    summed = "".join(letter for letter in kernel if letter not in outputs)
    produced = "".join(letter for letter in kernel if letter in outputs)
    new = next(letter for letter in string.ascii_letters if letter not in inputs + kernel + outputs)
    between = "".join(letter for letter in inputs if letter not in summed)
    letters = inputs.replace("...", "")[::-1]
    sizes = dict(zip(letters, layer.get_build_config()["input_shape"][::-1], strict=False))  # an ellipsis is in front
    kept = between.replace("...", "") if "..." in between else between[1:]  # the first axis is the batch
    shape = *(sizes[letter] for letter in kept), rank
    first = {"equation": f"{inputs},{summed}{new}->{between}{new}", "output_shape": shape}
    return first, {"equation": f"{between}{new},{new}{produced}->{outputs}"}
