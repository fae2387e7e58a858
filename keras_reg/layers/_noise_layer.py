"""The base class of layers that add noise during training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_seed


class NoiseLayer(keras.layers.Layer):
    """Changes its inputs randomly during training, and returns them unchanged in inference.

    This is the base class of noise layers, which `keras_reg.surgery.strip` removes from a model. The layer saves the
    state of its seed with its weights, which Keras does not do. A resumed training run therefore draws the same
    numbers as an uninterrupted one.

    Args:
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs."""
        return input_shape

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises a `ValueError` for integers, which cannot be scaled by a fraction."""
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(inputs.dtype)):
            raise ValueError(
                f"{type(self).__name__} works on floats: convert the inputs, for example with "
                f"`keras.layers.Rescaling(1 / 255)`. Received: inputs of type {inputs.dtype}"
            )

    def save_own_variables(self, store: Any) -> None:
        """Saves the weights and the state of the seed."""
        super().save_own_variables(store)
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights, and the state of the seed if the file contains it."""
        stored = {key: store[key] for key in store.keys()}  # noqa: SIM118  (An HDF5 group is not a dictionary.)
        state = stored.pop("seed_state", None)
        super().load_own_variables(stored)
        if state is not None:
            self.seed_generator.state.assign(np.asarray(state))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}
