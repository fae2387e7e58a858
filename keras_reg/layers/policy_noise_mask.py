"""A layer that applies noise masks from a policy network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import Range, export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_number, is_integer, reject
from keras_reg.layers._arguments import check_interval
from keras_reg.layers._mask_policy import MAX_AXES, build_light_policy
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.ops.noise_mask import check_mask_fits, expand_mask, mask_log_concentrations, update_mask_base
from keras_reg.random.gamma import beta as draw_beta


@export(
    "layers.PolicyNoiseMask",
    kind="layer",
    tasks=("augmentation",),
    tunable={"decay": Range(0.5, 0.99)},
    arxiv="2406.14568",
    year=2024,
)
class PolicyNoiseMask(NoiseLayer):
    """Multiplies each image by a random mask from a small policy network during training.

    The policy maps an image to a Beta distribution for each cell of a grid. A mask is drawn from these distributions,
    enlarged to the image and blurred. It is the same for all channels.

    Place the layer in front of a classifier, and train with `callbacks.PolicyGradientNoiseMask`. The callback trains
    the policy with the score-function estimator, and `callback.strip()` removes the layer for fine-tuning. Without the
    callback, the policy follows the pathwise gradient of the loss.

    Args:
        policy: A `keras.layers.Layer` or model that maps images to `(batch, 2 * cells)`: the outputs for alpha of all
            cells, followed by those for beta. With `None`, it has two strided convolutions, the mean over positions,
            and two dense layers. For rows of features, a dense layer replaces convolutions and mean. Defaults to
            `None`.
        grid: Integer or tuple of integers. Number of cells along each axis, at most the size of the image. Defaults to
            `64`.
        blur_sigma: Float. Standard deviation of the blur in pixels, which reaches `round(blur_sigma)` pixels. With 0
            there is no blur. Defaults to `6.0`.
        decay: Float of at least 0 and below 1. Share of the running base in the log-concentrations. The rest is the
            output of the policy. Defaults to `0.9`.
        base_momentum: Float from 0 to 1. Share of the running base that is kept in each step. Defaults to `0.99`.
        log_concentration_range: Tuple of two floats, or `None`. Limits of the log-concentrations. With `None` there
            are no limits, as in the authors' code. Defaults to `(-4.0, 4.0)`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, signals, volumes or rows of features.
        training: Boolean. Whether to multiply by a mask.

    Input shape:
        `(batch, height, width, channels)` for images, with known sizes; `(batch, steps, channels)` for signals, and
        one axis more for volumes. Rows of features have the shape `(batch, features)`. They have no neighbors, and
        their mask is not blurred.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If an argument is out of range, or if the inputs are integers. The first call raises the error if
            the grid or the blur does not fit the inputs, or if the policy does not return `2 * cells` numbers.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras_reg.layers.PolicyNoiseMask(grid=7, blur_sigma=2.0),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    ```

    Reference:

    - [Yavuz and Yang, 2024](https://arxiv.org/abs/2406.14568): Policy Gradient-Driven Noise Mask, and the authors'
      code
    """

    def __init__(
        self,
        policy: keras.layers.Layer | None = None,
        *,
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
            reject("policy", policy, "must be a Keras layer or model, or None")
        self.grid = _check_grid(grid)
        self.blur_sigma = check_number("blur_sigma", blur_sigma)
        self.decay = check_number("decay", decay, below=1.0)
        self.base_momentum = check_number("base_momentum", base_momentum, at_most=1.0)
        self.log_concentration_range = _check_log_range(log_concentration_range)
        self._has_own_policy = policy is not None
        self.policy: Any = policy
        #: Receives (mask, log_alpha, log_beta) of each training call. A callback has no other way to reach these
        #: tensors while the step is traced. While this function is set, it provides the gradient of the policy.
        self.on_draw: Callable[[Tensor, Tensor, Tensor], None] | None = None

    def build(self, input_shape: Shape) -> None:
        """Creates the policy and the base of the log-concentrations."""
        sizes = input_shape[1:-1] or input_shape[1:]
        spatial = tuple(size for size in sizes if size is not None)
        if len(spatial) != len(sizes) or not 1 <= len(spatial) <= MAX_AXES:
            raise ValueError(
                "The inputs must have a known size: images (batch, height, width, channels), signals (batch, steps, "
                f"channels), volumes, or rows of features. Received: inputs of shape {tuple(input_shape)}"
            )
        if len(input_shape) > 2 and keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "Masks need channels-last images: `keras.config.set_image_data_format('channels_last')`. "
                f"Received: image_data_format={keras.config.image_data_format()!r}"
            )
        self.spatial_shape = spatial
        self.cells = self.grid if isinstance(self.grid, tuple) else (self.grid,) * len(spatial)
        self._sigma = self.blur_sigma if len(input_shape) > 2 else 0.0
        check_mask_fits(self.cells, spatial, self._sigma)
        if self.policy is None:
            self.policy = build_light_policy(input_shape, 2 * math.prod(self.cells))
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
            # The base follows the mean over the batches of all replicas.
            aggregation="mean",
        )
        self.built = True

    def _check_policy(self, input_shape: Shape) -> None:
        """Raises a `ValueError` if the outputs of the policy do not have the right shape."""
        shape = tuple(self.policy.compute_output_shape(input_shape))
        num_outputs = 2 * math.prod(self.cells)
        if len(shape) != 2 or shape[1] != num_outputs:
            raise ValueError(
                f"The policy must return {num_outputs} numbers for each image, one alpha and one beta for each of the "
                f"cells {self.cells}. Received: a policy whose output has the shape {shape}"
            )

    def log_concentrations(self, inputs: Tensor, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the logarithms of alpha and beta of the distribution of each cell.

        Args:
            inputs: Images, as for a call.
            training: Boolean. Whether the policy is trained on the images. If so, the running base moves towards the
                outputs of the policy. Defaults to `False`.

        Returns:
            Two float32 tensors of shape `(batch, cells)`.
        """
        # The policy only observes its inputs: its gradient does not train the layers before this one.
        outputs = ops.cast(self.policy(ops.stop_gradient(inputs), training=training), "float32")
        base = ops.convert_to_tensor(self.base)
        mixed = mask_log_concentrations(base, outputs, self.decay, self.log_concentration_range)
        if training:
            replicas.assign(self.base, update_mask_base(base, outputs, self.base_momentum))
        log_alpha, log_beta = ops.split(mixed, 2, axis=-1)
        return log_alpha, log_beta

    def expand(self, mask: Tensor) -> Tensor:
        """Enlarges masks of shape `(batch, cells)` to the size of the images, and blurs them."""
        return expand_mask(ops.reshape(mask, (-1, *self.cells)), self.spatial_shape, self._sigma)

    def mean_mask(self, inputs: Tensor) -> Tensor:
        """Returns the mean of the random masks for images, of shape `(batch, *spatial)`."""
        log_alpha, log_beta = self.log_concentrations(inputs)
        return self.expand(ops.sigmoid(log_alpha - log_beta))

    def draw(self, log_alpha: Tensor, log_beta: Tensor) -> Tensor:
        """Draws masks of shape `(batch, cells)`."""
        shape = ops.shape(log_alpha)
        return draw_beta(shape, ops.exp(log_alpha), ops.exp(log_beta), "float32", self.seed_generator)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns the inputs, multiplied by masks during training."""
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

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        policy = keras.saving.serialize_keras_object(self.policy) if self._has_own_policy else None
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
    def from_config(cls, config: Config) -> PolicyNoiseMask:
        """Returns a layer with the arguments that `get_config` returned."""
        policy = config.pop("policy", None)
        return cls(policy=policy and keras.saving.deserialize_keras_object(policy), **config)


def _check_grid(grid: Any) -> int | tuple[int, ...]:
    """Checks the number of cells along all axes, or along each axis, and returns it."""
    sizes = grid if isinstance(grid, (tuple, list)) else (grid,)
    if not sizes or not all(is_integer(size) and size >= 1 for size in sizes):
        reject("grid", grid, "must be an integer of at least 1, or a tuple of them")
    return int(grid) if is_integer(grid) else tuple(int(size) for size in sizes)


def _check_log_range(log_range: Any) -> tuple[float, float] | None:
    """Checks the limits of log-concentrations, whose exponentials must be finite in float32, and returns them."""
    if log_range is None:
        return None
    requirement = "must be two numbers from -80 to 80, the lower one first, or None"
    return check_interval("log_concentration_range", log_range, requirement, -80.0, 80.0)
