"""Layers that move the pixels of images in the compiled step, by factors that can change during training."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import shear_matrix, transform_images
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter


class _Affine(TunableImages):
    """Moves the pixels of each image by a random affine transformation."""

    #: The bound that `high` of the factor must stay below, or `None`.
    factor_below: float | None = None
    #: The largest allowed `high` of the factor, or `None`.
    max_factor: float | None = None

    def __init__(
        self, factor: Hyperparameter, *, fill_value: float = 0.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        self.factor = check_hyperparameter("factor", factor, 0.0, below=self.factor_below, at_most=self.max_factor)
        self.fill_value = check_number("fill_value", fill_value, at_least=-math.inf)

    def augment(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Returns transformed images."""
        matrix, shift = self.compute_transform(images, self.scale_amounts(self.factor.read(), uniform))
        return transform_images(images, matrix, shift, self.fill_value)

    def compute_transform(self, images: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a matrix and a shift for each image, from amounts of shape `(batch, draws)`."""
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**self.serialize_arguments(factor=self.factor), "fill_value": self.fill_value}


@export(
    "layers.TunableTranslation",
    kind="layer",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="2010.13514",
    year=2020,
)
class TunableTranslation(_Affine):
    """Moves images along height and width by random amounts during training.

    Each image has one amount along its height and one along its width, as shares of height and width. Both are uniform
    from `-factor` to `factor`. The factor can change while a model trains, without recompiling the step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 1. Largest amount.
        fill_value: Float. Value of pixels outside the image. Defaults to `0.0`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not images.

    Example:

    ```python
    factor = keras_reg.tune.Float("translation", init=0.1, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableTranslation(factor)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Reference:

    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians. The authors tune such factors.
    """

    draws = 2
    max_factor = 1.0

    def compute_transform(self, images: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Returns identity matrices, and a shift for each image."""
        sizes = ops.cast(ops.stack([ops.shape(images)[1], ops.shape(images)[2]]), "float32")
        return _identity_matrices(amount[:, :1]), amount * sizes


@export(
    "layers.TunableScale", kind="layer", tasks=("augmentation", "hyperparameter tuning"), arxiv="2010.13514", year=2020
)
class TunableScale(_Affine):
    """Enlarges or shrinks images by random amounts during training.

    The size of each image is divided by 1 + amount, where the amount is uniform from `-factor` to `factor`. The factor
    can change while a model trains, without recompiling the step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` below 1. Largest amount.
        fill_value: Float. Value of pixels outside the image. Defaults to `0.0`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not images.

    Example:

    ```python
    factor = keras_reg.tune.Float("scale", init=0.1, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableScale(factor)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Reference:

    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians. The authors tune such factors.
    """

    factor_below = 1.0

    def compute_transform(self, images: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a scaled identity matrix for each image, and shifts of 0."""
        return _identity_matrices(amount) * ops.expand_dims(1 + amount, -1), _zero_shifts(amount)


@export(
    "layers.TunableShear", kind="layer", tasks=("augmentation", "hyperparameter tuning"), arxiv="2010.13514", year=2020
)
class TunableShear(_Affine):
    """Moves the rows of images sideways by random angles during training.

    Each image has an angle in degrees, which is uniform from `-factor` to `factor`. The factor can change while a model
    trains, without recompiling the step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` below 90. Largest angle in
            degrees.
        fill_value: Float. Value of pixels outside the image. Defaults to `0.0`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not images.

    Example:

    ```python
    factor = keras_reg.tune.Float("shear", init=5.0, low=0.0, high=45.0)
    layer = keras_reg.layers.TunableShear(factor)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Reference:

    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians. The authors tune such factors.
    """

    factor_below = 90.0

    def compute_transform(self, images: Tensor, amount: Tensor) -> tuple[Tensor, Tensor]:
        """Returns a shear matrix for each image, and shifts of 0."""
        return shear_matrix(amount[:, 0]), _zero_shifts(amount)


def _zero_shifts(amount: Tensor) -> Tensor:
    """Returns a shift of 0 along both axes for each image, from amounts of shape `(batch, 1)`."""
    return ops.zeros_like(ops.concatenate([amount, amount], axis=-1))


def _identity_matrices(amount: Tensor) -> Tensor:
    """Returns an identity matrix for each image, from amounts of shape `(batch, 1)`."""
    return ops.eye(2, dtype="float32") + ops.zeros_like(ops.expand_dims(amount, -1))
