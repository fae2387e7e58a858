"""The base class of noise layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class NoiseLayer(keras.layers.Layer):
    """Base of layers that change their inputs at random in training, and leave them alone in inference.

    `keras_reg.surgery.strip` takes such layers out of a model. The state of the seed is saved with the weights, which
    Keras does not do by itself: a resumed training draws what it would have drawn.

    Args:
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer))):
            raise ValueError(f"`seed` must be an integer or None. Received: seed={seed!r}")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the inputs."""
        return input_shape

    def check_inputs(self, inputs: Any) -> None:
        """Raises a `ValueError` for integers, which cannot hold a fraction of themselves."""
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(inputs.dtype)):
            raise ValueError(
                f"{type(self).__name__} works on floats: convert the inputs, for example with "
                f"`keras.layers.Rescaling(1 / 255)`. Received: inputs of type {inputs.dtype}"
            )

    def save_own_variables(self, store: Any) -> None:
        """Saves the weights, and the state of the seed."""
        super().save_own_variables(store)
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights, and the state of the seed where there is one."""
        stored = {key: store[key] for key in store.keys()}  # noqa: SIM118  (an HDF5 group is no dict)
        state = stored.pop("seed_state", None)
        super().load_own_variables(stored)
        if state is not None:
            self.seed_generator.state.assign(np.asarray(state))

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**super().get_config(), "seed": self.seed}
