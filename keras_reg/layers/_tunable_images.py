"""The base class of layers that augment images in the compiled step, by amounts that can change."""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._types import Config, Tensor
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.random._uniform import open_uniform
from keras_reg.tune._hyperparameter import Hyperparameter


class TunableImages(NoiseLayer):
    """Changes each image by its own random amount, during training only.

    This is the base class of augmentation layers.

    Args:
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.
    """

    #: The number of random numbers for each image.
    draws = 1

    #: The allowed numbers of channels. If empty, any number is allowed.
    channels: tuple[int, ...] = ()

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the images, which are changed during training."""
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
        return ops.cast(self.augment(ops.cast(inputs, "float32"), uniform), inputs.dtype)

    def augment(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Returns changed images.

        Args:
            images: Images in float32.
            uniform: Random numbers, uniform in (0, 1), of shape `(batch, draws)`.
        """
        raise NotImplementedError

    def scale_amounts(self, factor: Tensor, uniform: Tensor) -> Tensor:
        """Returns amounts that are uniform from `-factor` to `factor` of each image, shape `(batch, draws)`."""
        return ops.reshape(ops.cast(factor, "float32"), (-1, 1)) * (2 * uniform - 1)

    def serialize_arguments(self, **hyperparameters: Hyperparameter) -> Config:
        """Returns the arguments of the base class, and serialized hyperparameters."""
        serialized = {name: keras.saving.serialize_keras_object(value) for name, value in hyperparameters.items()}
        return {**super().get_config(), **serialized}
