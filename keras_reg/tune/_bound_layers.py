"""Calls and penalties of stock layers, with strengths that are read from hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_reg._types import Tensor, TensorFunction
from keras_reg.ops._numerics import absolute, at_least_float32
from keras_reg.ops.noise import drop_inputs, noise_sizes, normal_noise
from keras_reg.random._uniform import open_uniform
from keras_reg.tune._hyperparameter import Hyperparameter

_SPATIAL = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D)


class BoundPenalty(keras.regularizers.Regularizer):
    """Computes the penalty of a stock regularizer with strengths that are read from hyperparameters.

    Args:
        regularizer: The stock regularizer. Its other strengths remain constant.
        handles: The hyperparameters, by the attribute of the regularizer.
    """

    def __init__(self, regularizer: Any, handles: Mapping[str, Hyperparameter]) -> None:
        self._constants = {name: value for name, value in regularizer.get_config().items() if name not in handles}
        self._handles = dict(handles)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty."""
        x = at_least_float32(x)
        strengths = {name: ops.cast(ops.mean(handle.read()), x.dtype) for name, handle in self._handles.items()}
        strengths |= {name: value for name, value in self._constants.items() if value}
        penalties = {"l1": lambda: ops.sum(absolute(x)), "l2": lambda: ops.sum(ops.square(x))}
        return sum(strength * penalties[name]() for name, strength in strengths.items())


def make_noisy_call(layer: keras.Layer, handle: Hyperparameter) -> TensorFunction:
    """Returns a replacement for the `call` of a noise layer that reads its strength from a hyperparameter."""

    def call(inputs: Tensor, training: bool = False) -> Tensor:
        if not training:
            return inputs
        shape = getattr(layer, "noise_shape", None)
        if isinstance(layer, _SPATIAL):
            first = getattr(layer, "data_format", None) == "channels_first"
            channels = 1 if first else len(inputs.shape) - 1
            shape = tuple(None if axis in (0, channels) else 1 for axis in range(len(inputs.shape)))
        uniform = open_uniform(noise_sizes(shape, inputs), layer.seed_generator)
        if isinstance(layer, keras.layers.Dropout):
            return drop_inputs(inputs, handle.read(), uniform)
        if isinstance(layer, keras.layers.GaussianNoise):
            return inputs + normal_noise(handle.read(), uniform, inputs)
        rate = ops.cast(handle.read(), "float32")
        return inputs * (1 + normal_noise(ops.sqrt(rate / (1 - rate)), uniform, inputs))

    return call
