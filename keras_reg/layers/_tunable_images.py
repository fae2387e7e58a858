"""What layers have in common that augment images in the compiled step, with strengths that may change."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.random._uniform import open_uniform


class TunableImages(NoiseLayer):
    """Base of layers that change each image by an amount of its own, in training only.

    Args:
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer.
    """

    #: How many numbers of an image are drawn.
    draws = 1

    #: How many channels images must have, if that matters.
    channels: tuple[int, ...] = ()

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Changes images in training."""
        if not training:
            return inputs
        self.check_inputs(inputs)
        if len(inputs.shape) != 4 or (self.channels and inputs.shape[-1] not in self.channels):
            colors = f" with {' or '.join(map(str, self.channels))} channels" if self.channels else ""
            raise ValueError(
                f"{type(self).__name__} needs images (batch, height, width, channels){colors}. "
                f"Received: inputs of shape {tuple(inputs.shape)}"
            )
        uniform = open_uniform((ops.shape(inputs)[0], self.draws), self.seed_generator)
        return ops.cast(self.change(ops.cast(inputs, "float32"), uniform), inputs.dtype)

    def change(self, images: Any, uniform: Any) -> Any:
        """The changed images.

        Args:
            images: In float32.
            uniform: Uniform numbers inside of (0, 1), shape (batch, draws).
        """
        raise NotImplementedError

    def amount(self, strength: Any, uniform: Any) -> Any:
        """Uniform numbers from minus the strength of an image to it, shape (batch, draws)."""
        return ops.reshape(ops.cast(strength, "float32"), (-1, 1)) * (2 * uniform - 1)

    def stored(self, **handles: Any) -> dict[str, Any]:
        """The configuration with hyperparameters."""
        stored = {name: keras.saving.serialize_keras_object(handle) for name, handle in handles.items()}
        return {**super().get_config(), **stored}
