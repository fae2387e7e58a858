"""The small network that draws noise masks if the user passes no policy."""

from __future__ import annotations

import keras

from keras_reg._types import Shape

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
_POOLING = {
    1: keras.layers.GlobalAveragePooling1D,
    2: keras.layers.GlobalAveragePooling2D,
    3: keras.layers.GlobalAveragePooling3D,
}
#: The largest number of axes of an image, without batch and channels.
MAX_AXES = max(_CONVOLUTIONS)


def build_light_policy(input_shape: Shape, num_outputs: int) -> keras.Sequential:
    """Returns a policy of two strided convolutions, the mean over positions, and two dense layers.

    For rows of features, a dense layer replaces the convolutions and the mean. The policy computes in float32 under
    mixed precision too, because concentrations are exponentials of its outputs.

    Args:
        input_shape: The shape of the images, with the batch.
        num_outputs: The number of outputs for each image.
    """
    rank, dtype = len(input_shape) - 2, "float32"
    layers: list[keras.layers.Layer] = [keras.layers.Dense(64, activation="relu", dtype=dtype)]
    if rank:
        convolution = _CONVOLUTIONS[rank]
        layers = [convolution(n, 3, 2, "same", activation="relu", dtype=dtype) for n in (16, 32)]
        layers.append(_POOLING[rank](dtype=dtype))
    layers += [keras.layers.Dense(64, activation="relu", dtype=dtype), keras.layers.Dense(num_outputs, dtype=dtype)]
    return keras.Sequential([keras.Input(tuple(input_shape[1:])), *layers], name="policy")
