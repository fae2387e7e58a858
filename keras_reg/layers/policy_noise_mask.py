"""Noise masks from a policy network, as a layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.ops.noise_mask import check_mask_fits, expand_mask, mask_log_concentrations, update_mask_base
from keras_reg.random.gamma import beta as draw_beta

_CONVOLUTIONS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}
_POOLING = {
    1: keras.layers.GlobalAveragePooling1D,
    2: keras.layers.GlobalAveragePooling2D,
    3: keras.layers.GlobalAveragePooling3D,
}


@export("layers.PolicyNoiseMask", kind="layer", arxiv="2406.14568", year=2024)
class PolicyNoiseMask(NoiseLayer):
    """Policy noise mask: multiplies each image by a mask that a small policy network draws for it, in training only.

    The policy looks at the image and gives each cell of a grid a Beta distribution; the mask that is drawn is enlarged
    to the image, blurred, and the same for all channels. Put the layer in front of a classifier, train with
    `callbacks.PolicyGradientNoiseMask`, which trains the policy by the score-function estimator, and take the layer
    out for fine-tuning: `callback.strip()`. Without the callback, the policy follows the pathwise gradient of the loss.

    Images are (batch, height, width, channels), with the sizes known; signals (batch, steps, channels) and volumes work
    alike. In rows of features (batch, features), which have no neighbours, the mask is not blurred.

    Args:
        policy: A layer or model from images to (batch, 2 * cells), the outputs for all cells' alpha and then for all
            cells' beta. `None` makes a light one: two strided convolutions, or a dense layer for rows of features, the
            mean over positions, and two dense layers.
        grid: The number of cells along each axis, an integer or a tuple; at most the size of the image.
        blur_sigma: The standard deviation of the blur in pixels; 0 for none. It reaches `round(blur_sigma)` pixels.
        decay: The share of the running base in the log-concentrations, 0 to below 1; the rest is the policy's.
        base_momentum: How much of the base is kept in each step, 0 to 1.
        log_concentration_range: The limits of the log-concentrations, or `None` for no limits, as in the authors' code.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images, signals or rows of features.
        training: Whether to multiply by a mask.

    Returns:
        A tensor of the shape and type of the inputs.

    Raises:
        ValueError: If an argument is out of its range, the grid or the blur does not fit the inputs, the policy gives
            something else than 2 * cells numbers, or the inputs are integers.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras_reg.layers.PolicyNoiseMask(grid=7, blur_sigma=2.0),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    ```

    Source: Mehmet Can Yavuz, Yang Yang, Policy Gradient-Driven Noise Mask, arXiv 2406.14568, 2024, and the authors'
    code.
    """

    def __init__(
        self,
        policy: keras.layers.Layer | None = None,
        grid: int | tuple[int, ...] = 64,
        blur_sigma: float = 6.0,
        decay: float = 0.9,
        base_momentum: float = 0.99,
        log_concentration_range: tuple[float, float] | None = (-4.0, 4.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        if policy is not None and not isinstance(policy, keras.layers.Layer):
            raise ValueError(f"`policy` must be a Keras layer or model, or None. Received: policy={policy!r}")
        sizes = grid if isinstance(grid, (tuple, list)) else (grid,)
        if not sizes or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in sizes):
            raise ValueError(f"`grid` must be an integer above 0, or a tuple of them. Received: grid={grid!r}")
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be at least 0 and below 1. Received: decay={decay!r}")
        if not 0 <= base_momentum <= 1:
            raise ValueError(f"`base_momentum` must be from 0 to 1. Received: base_momentum={base_momentum!r}")
        limits = log_concentration_range
        if limits is not None and not (len(limits) == 2 and -80 <= limits[0] < limits[1] <= 80):
            raise ValueError(
                "`log_concentration_range` must be two numbers from -80 to 80, the lower one first, or None. "
                f"Received: log_concentration_range={limits!r}"
            )
        self.grid = tuple(grid) if isinstance(grid, (tuple, list)) else grid
        self.blur_sigma = check_number("blur_sigma", blur_sigma)
        self.decay, self.base_momentum = decay, base_momentum
        self.log_concentration_range = None if limits is None else (float(limits[0]), float(limits[1]))
        self._given_policy = policy is not None
        self.policy: Any = policy
        #: Gets (mask, log_alpha, log_beta) of each training call, and then answers for the policy's gradient.
        self.on_draw: Callable[[Any, Any, Any], None] | None = None

    def build(self, input_shape: Any) -> None:
        """Makes the policy, and the base of the log-concentrations."""
        spatial = tuple(input_shape[1:-1]) or tuple(input_shape[1:])
        if None in spatial or len(spatial) not in _CONVOLUTIONS:
            raise ValueError(
                "The inputs must have a known size: images (batch, height, width, channels), signals (batch, steps, "
                f"channels), volumes, or rows of features. Received: inputs of shape {tuple(input_shape)}"
            )
        if len(input_shape) > 2 and keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "Masks need the channels last: `keras.config.set_image_data_format('channels_last')`. "
                f"Received: image_data_format={keras.config.image_data_format()!r}"
            )
        self.spatial_shape = spatial
        self.cells = self.grid if isinstance(self.grid, tuple) else (self.grid,) * len(spatial)
        self._sigma = self.blur_sigma if len(input_shape) > 2 else 0.0
        check_mask_fits(self.cells, spatial, self._sigma)
        if self.policy is None:
            self.policy = _light_policy(input_shape, 2 * math.prod(self.cells))
        elif not self.policy.built:
            self.policy.build(input_shape)
        self._check_policy(input_shape)
        self.base = self.add_weight(
            name="base",
            shape=(2 * math.prod(self.cells),),
            initializer=keras.initializers.RandomUniform(0.0, 1.0, seed=self.seed),
            dtype="float32",
            autocast=False,
            trainable=False,
            aggregation="mean",  # the mean over the batch of all replicas
        )
        self.built = True

    def _check_policy(self, input_shape: Any) -> None:
        shape = tuple(self.policy.compute_output_shape(input_shape))
        wanted = 2 * math.prod(self.cells)
        if len(shape) != 2 or shape[1] != wanted:
            raise ValueError(
                f"The policy must give {wanted} numbers for each image, one alpha and one beta for each of the cells "
                f"{self.cells}. Received: a policy whose output has the shape {shape}"
            )

    def log_concentrations(self, inputs: Any, training: bool = False) -> tuple[Any, Any]:
        """The logarithms of alpha and beta of each cell's distribution.

        Args:
            inputs: Images, as for the call.
            training: Whether the policy is trained on them: then the base moves towards its outputs.

        Returns:
            Two float32 tensors of shape (batch, cells).
        """
        # The policy only looks: layers in front of this one are not trained for it.
        outputs = ops.cast(self.policy(ops.stop_gradient(inputs), training=training), "float32")
        base = ops.convert_to_tensor(self.base)
        mixed = mask_log_concentrations(base, outputs, self.decay, self.log_concentration_range)
        if training:
            replicas.assign(self.base, update_mask_base(base, outputs, self.base_momentum))
        log_alpha, log_beta = ops.split(mixed, 2, axis=-1)
        return log_alpha, log_beta

    def expand(self, mask: Any) -> Any:
        """Masks of cells, shape (batch, cells), at the size of the images and blurred, shape (batch, *spatial)."""
        return expand_mask(ops.reshape(mask, (-1, *self.cells)), self.spatial_shape, self._sigma)

    def mean_mask(self, inputs: Any) -> Any:
        """The mean of the masks that would be drawn for images, shape (batch, *spatial)."""
        log_alpha, log_beta = self.log_concentrations(inputs)
        return self.expand(ops.sigmoid(log_alpha - log_beta))

    def draw(self, log_alpha: Any, log_beta: Any) -> Any:
        """Draws a mask of cells, shape (batch, cells)."""
        shape = ops.shape(log_alpha)
        return draw_beta(shape, ops.exp(log_alpha), ops.exp(log_beta), "float32", self.seed_generator)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Multiplies by masks, in training."""
        self.check_inputs(inputs)
        if not training:
            return inputs
        log_alpha, log_beta = self.log_concentrations(inputs, training=True)
        mask = self.draw(log_alpha, log_beta)
        if self.on_draw is not None:
            mask = ops.stop_gradient(mask)
            self.on_draw(mask, log_alpha, log_beta)
        mask = ops.cast(self.expand(mask), inputs.dtype)
        return inputs * (mask if len(inputs.shape) == 2 else ops.expand_dims(mask, -1))

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        policy = keras.saving.serialize_keras_object(self.policy) if self._given_policy else None
        return {
            **super().get_config(),
            "policy": policy,
            "grid": self.grid,
            "blur_sigma": self.blur_sigma,
            "decay": self.decay,
            "base_momentum": self.base_momentum,
            "log_concentration_range": self.log_concentration_range,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PolicyNoiseMask:
        """Builds a layer from the arguments that `get_config` gave."""
        policy = config.pop("policy", None)
        return cls(policy=policy and keras.saving.deserialize_keras_object(policy), **config)


def _light_policy(input_shape: Any, outputs: int) -> keras.Sequential:
    """Two convolutions of stride 2, the mean over positions, two dense layers; of rows of features, three of those.

    In float32 also under mixed precision: concentrations are exponentials of what it gives.
    """
    rank, dtype = len(input_shape) - 2, "float32"
    layers: list[Any] = [keras.layers.Dense(64, activation="relu", dtype=dtype)]
    if rank:
        convolution = _CONVOLUTIONS[rank]
        layers = [convolution(n, 3, 2, "same", activation="relu", dtype=dtype) for n in (16, 32)]
        layers.append(_POOLING[rank](dtype=dtype))
    layers += [keras.layers.Dense(64, activation="relu", dtype=dtype), keras.layers.Dense(outputs, dtype=dtype)]
    return keras.Sequential([keras.Input(tuple(input_shape[1:])), *layers], name="policy")
