"""What layers have in common that let their inputs pass and add a loss."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.replicas import all_gather
from keras_reg._validation import check_number


class ActivityPenaltyLayer(keras.layers.Layer):
    """A layer that returns its inputs as they are, and in training adds `strength` times a penalty to the loss.

    An activity regularizer of Keras is divided by the batch size and fails on 16-bit floats; a layer does neither.

    Args:
        strength: The factor of the penalty.
        **kwargs: As of any layer: `name`, `dtype`.
    """

    def __init__(self, strength: float, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # what passes keeps its type
        self.strength = check_number("strength", strength)
        self.supports_masking = True

    def gather_batch(self, tensor: Any) -> Any:
        """The samples of all replicas, for a penalty that compares samples with each other."""
        # What is gathered has no static shape on TensorFlow, on which functions rely.
        return ops.reshape(all_gather(tensor), (-1, *ops.shape(tensor)[1:]))

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**super().get_config(), "strength": self.strength}
