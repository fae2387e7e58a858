"""Squares that are cut out of images in the compiled step, whose number and size may change in training."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._validation import is_number
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import cut_squares
from keras_reg.tune._checks import check_hyperparameter


@export("layers.TunableCutout", kind="layer", arxiv="1903.03088", year=2019)
class TunableCutout(TunableImages):
    """Cutout: sets squares of images to one value, in training only, with a length and a number that may change.

    The squares of each image have their middles anywhere in it; what is outside of it is cut off. Nothing is compiled
    anew when a number is set.

    Args:
        length: A `tune.Int`, the side of a square in pixels, with `low` of at least 0.
        count: A `tune.Int`, the number of squares, with `low` of at least 0 and a `high`, for which room is made.
        fill_value: The value of the pixels in a square.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels).
        training: Whether to change them.

    Returns:
        Images of the same shape and type.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no images.

    Example:

    ```python
    length = keras_reg.tune.Int("length", init=4, low=0, high=24)
    count = keras_reg.tune.Int("count", init=1, low=0, high=4)
    layer = keras_reg.layers.TunableCutout(length, count)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who tune the length and the number.
    """

    def __init__(
        self, length: Any, count: Any, fill_value: float = 0.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        if not is_number(fill_value):
            raise ValueError(f"`fill_value` must be a finite number. Received: fill_value={fill_value!r}")
        self.length = check_hyperparameter("length", length, 0.0)
        self.count = check_hyperparameter("count", count, 0.0, most=1000.0)
        self.fill_value = float(fill_value)
        self.draws = 2 * int(self.count.high or 0)

    def change(self, images: Any, uniform: Any) -> Any:
        """Images without their squares."""
        centers = ops.reshape(uniform, (-1, self.draws // 2, 2))
        return cut_squares(images, centers, self.length.read(), self.count.read(), self.fill_value)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**self.stored(length=self.length, count=self.count), "fill_value": self.fill_value}
