"""The base class of layers that add a penalty on their inputs to the loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.replicas import all_gather
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number


class ActivityPenaltyLayer(keras.layers.Layer):
    """Returns its inputs unchanged and, during training, adds `strength` times a penalty to the loss.

    This is a layer and not an activity regularizer for two reasons. Keras divides an activity regularizer by the batch
    size, and an activity regularizer fails on 16-bit floats.

    Args:
        strength: Float. Factor of the penalty.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.
    """

    def __init__(self, strength: float, **kwargs: Any) -> None:
        # Without autocast, the tensor that passes through the layer keeps its type.
        super().__init__(autocast=False, **kwargs)
        self.strength = check_number("strength", strength)
        self.supports_masking = True

    def gather_batch(self, tensor: Tensor) -> Tensor:
        """Returns the samples of all replicas, for a penalty that compares samples with each other."""
        # On TensorFlow, a gathered tensor has no static shape. The reshape restores it for functions that rely on it.
        return ops.reshape(all_gather(tensor), (-1, *ops.shape(tensor)[1:]))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "strength": self.strength}
