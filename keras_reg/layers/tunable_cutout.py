"""A layer that cuts squares out of images in the compiled step. Their number and size can change during training."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import cut_squares
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter


@export(
    "layers.TunableCutout", kind="layer", tasks=("augmentation", "hyperparameter tuning"), arxiv="1903.03088", year=2019
)
class TunableCutout(TunableImages):
    """Sets random squares of each image to one value during training, with a side length and a count that can change.

    The centers of the squares are uniform over the image, and parts outside the image are cut off. Changing the length
    or the count does not recompile the step.

    Args:
        length: A `keras_reg.tune.Int` with `low` of at least 0. Side length of the squares in pixels.
        count: A `keras_reg.tune.Int` with `low` of at least 0 and a `high`. Number of squares. The layer always draws
            the positions of `high` squares.
        fill_value: Float. Value of the pixels in a square. Defaults to `0.0`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of images, shape `(batch, height, width, channels)`.
        training: Boolean. Whether to cut squares out.

    Returns:
        Images of the same shape and type.

    Raises:
        ValueError: If an argument is invalid, or if the inputs are not images.

    Example:

    ```python
    length = keras_reg.tune.Int("length", init=4, low=0, high=24)
    count = keras_reg.tune.Int("count", init=1, low=0, high=4)
    layer = keras_reg.layers.TunableCutout(length, count)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors tune the length and the
      count.
    """

    def __init__(
        self,
        length: Hyperparameter,
        count: Hyperparameter,
        *,
        fill_value: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.length = check_hyperparameter("length", length, 0.0)
        self.count = check_hyperparameter("count", count, 0.0, at_most=1000.0)
        self.fill_value = check_number("fill_value", fill_value, at_least=-math.inf)
        self.draws = 2 * int(self.count.high or 0)

    def augment(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Returns images with squares cut out."""
        centers = ops.reshape(uniform, (-1, self.draws // 2, 2))
        return cut_squares(images, centers, self.length.read(), self.count.read(), self.fill_value)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**self.serialize_arguments(length=self.length, count=self.count), "fill_value": self.fill_value}
