"""Layers that change the colors of images in the compiled step, by factors that can change during training."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg.layers._arguments import check_interval
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import scale_brightness, scale_contrast, scale_saturation, turn_hue
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter


class _Color(TunableImages):
    """Changes the colors of images by random amounts, within a range of values."""

    #: The largest allowed `high` of the factor.
    max_factor = 1.0

    def __init__(
        self,
        factor: Hyperparameter,
        *,
        value_range: tuple[float, float] = (0.0, 1.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.factor = check_hyperparameter("factor", factor, 0.0, at_most=self.max_factor)
        requirement = "must be the smallest and the largest value of a pixel, such as (0, 255)"
        self.value_range = check_interval("value_range", value_range, requirement)

    def augment(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Returns images with changed colors, in their range."""
        low, high = self.value_range
        amount = self.scale_amounts(self.factor.read(), uniform)[:, 0]
        return low + (high - low) * self.recolor((images - low) / (high - low), amount)

    def recolor(self, images: Tensor, amount: Tensor) -> Tensor:
        """Returns images with values from 0 to 1, changed by one amount for each image."""
        raise NotImplementedError

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**self.serialize_arguments(factor=self.factor), "value_range": self.value_range}


@export(
    "layers.TunableBrightness",
    kind="layer",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableBrightness(_Color):
    """Multiplies the values of each image by 1 plus a random amount during training.

    The amount of each image is uniform from `-factor` to `factor`, and the result is clipped to `value_range`. The
    factor can change while a model trains, by hand or by `callbacks.HyperparameterSchedule`, without recompiling the
    step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 1. Largest amount.
        value_range: Tuple of two floats. Smallest and largest value of a pixel. Defaults to `(0.0, 1.0)`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not such images.

    Example:

    ```python
    factor = keras_reg.tune.Float("brightness", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableBrightness(factor)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors tune such factors.
    """

    def recolor(self, images: Tensor, amount: Tensor) -> Tensor:
        """Returns images whose values are multiplied by 1 + amount."""
        return scale_brightness(images, amount)


@export(
    "layers.TunableContrast",
    kind="layer",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableContrast(_Color):
    """Multiplies the distance of pixels from the mean gray of their image by 1 plus a random amount during training.

    The amount of each image is uniform from `-factor` to `factor`, and the result is clipped to `value_range`. The
    factor can change while a model trains, by hand or by `callbacks.HyperparameterSchedule`, without recompiling the
    step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 1. Largest amount.
        value_range: Tuple of two floats. Smallest and largest value of a pixel. Defaults to `(0.0, 1.0)`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`, with 1 or 3 channels.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not such images.

    Example:

    ```python
    factor = keras_reg.tune.Float("contrast", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableContrast(factor)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors tune such factors.
    """

    channels = (1, 3)

    def recolor(self, images: Tensor, amount: Tensor) -> Tensor:
        """Returns images whose distance from their mean gray is multiplied by 1 + amount."""
        return scale_contrast(images, amount)


@export(
    "layers.TunableSaturation",
    kind="layer",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableSaturation(_Color):
    """Multiplies the distance of pixels from their own gray by 1 plus a random amount during training.

    The amount of each image is uniform from `-factor` to `factor`, and the result is clipped to `value_range`. The
    factor can change while a model trains, by hand or by `callbacks.HyperparameterSchedule`, without recompiling the
    step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 1. Largest amount.
        value_range: Tuple of two floats. Smallest and largest value of a pixel. Defaults to `(0.0, 1.0)`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`, with 3 channels.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not such images.

    Example:

    ```python
    factor = keras_reg.tune.Float("saturation", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableSaturation(factor)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors tune such factors.
    """

    channels = (3,)

    def recolor(self, images: Tensor, amount: Tensor) -> Tensor:
        """Returns images whose distance from their own gray is multiplied by 1 + amount."""
        return scale_saturation(images, amount)


@export(
    "layers.TunableHue", kind="layer", tasks=("augmentation", "hyperparameter tuning"), arxiv="1903.03088", year=2019
)
class TunableHue(_Color):
    """Shifts the hue of each image by a random share of the color circle during training.

    The amount of each image is uniform from `-factor` to `factor`. The saturation and the value of each pixel do not
    change. The factor can change while a model trains, by hand or by `callbacks.HyperparameterSchedule`, without
    recompiling the step.

    Args:
        factor: A `keras_reg.tune.Float` with `low` of at least 0 and `high` of at most 0.5. Largest
            amount.
        value_range: Tuple of two floats. Smallest and largest value of a pixel. Defaults to `(0.0, 1.0)`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`, with 3 channels.
        training: Boolean. Whether to change the images.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not such images.

    Example:

    ```python
    factor = keras_reg.tune.Float("hue", init=0.2, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableHue(factor)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors tune such factors.
    """

    channels = (3,)
    max_factor = 0.5

    def recolor(self, images: Tensor, amount: Tensor) -> Tensor:
        """Returns images whose hue is turned by an amount."""
        return turn_hue(images, amount)
