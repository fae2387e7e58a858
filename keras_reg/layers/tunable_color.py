"""Colors of images that are changed in the compiled step, with strengths that may change in training."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import export
from keras_reg._validation import is_number
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import scale_brightness, scale_contrast, scale_saturation, turn_hue
from keras_reg.tune._checks import check_hyperparameter


class _Color(TunableImages):
    """Base of layers of colors."""

    most = 1.0

    def __init__(
        self, strength: Any, value_range: tuple[float, float] = (0.0, 1.0), seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(seed, **kwargs)
        pair = isinstance(value_range, (tuple, list)) and len(value_range) == 2 and all(map(is_number, value_range))
        if not pair or value_range[0] >= value_range[1]:
            raise ValueError(
                "`value_range` must be the smallest and the largest value of a pixel, such as (0, 255). "
                f"Received: value_range={value_range!r}"
            )
        self.strength = check_hyperparameter("strength", strength, 0.0, most=self.most)
        self.value_range = (float(value_range[0]), float(value_range[1]))

    def change(self, images: Any, uniform: Any) -> Any:
        """The changed images, in their range."""
        low, high = self.value_range
        amount = self.amount(self.strength.read(), uniform)[:, 0]
        return low + (high - low) * self.recolor((images - low) / (high - low), amount)

    def recolor(self, images: Any, amount: Any) -> Any:
        """Images from 0 to 1, changed by their amounts."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**self.stored(strength=self.strength), "value_range": self.value_range}


@export("layers.TunableBrightness", kind="layer", arxiv="1903.03088", year=2019)
class TunableBrightness(_Color):
    """Brightness: multiplies images by 1 + an amount, in training.

    Each image has an amount of its own, uniform from minus the strength to the strength. The strength may change while
    a model trains: by hand, or by `callbacks.HyperparameterSchedule`. Nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` of at most 1.
        value_range: The smallest and the largest value of a pixel.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels).
        training: Whether to change them.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no such images.

    Example:

    ```python
    strength = keras_reg.tune.Float("brightness", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableBrightness(strength)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who tune such strengths.
    """

    def recolor(self, images: Any, amount: Any) -> Any:
        """Images from 0 to 1, changed by their amounts."""
        return scale_brightness(images, amount)


@export("layers.TunableContrast", kind="layer", arxiv="1903.03088", year=2019)
class TunableContrast(_Color):
    """Contrast: multiplies the distance of pixels from the mean gray of their image by 1 + an amount, in training.

    Each image has an amount of its own, uniform from minus the strength to the strength. The strength may change while
    a model trains: by hand, or by `callbacks.HyperparameterSchedule`. Nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` of at most 1.
        value_range: The smallest and the largest value of a pixel.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels), with 1 or 3 channels.
        training: Whether to change them.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no such images.

    Example:

    ```python
    strength = keras_reg.tune.Float("contrast", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableContrast(strength)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who tune such strengths.
    """

    channels = (1, 3)

    def recolor(self, images: Any, amount: Any) -> Any:
        """Images from 0 to 1, changed by their amounts."""
        return scale_contrast(images, amount)


@export("layers.TunableSaturation", kind="layer", arxiv="1903.03088", year=2019)
class TunableSaturation(_Color):
    """Saturation: multiplies the distance of pixels from their own gray by 1 + an amount, in training.

    Each image has an amount of its own, uniform from minus the strength to the strength. The strength may change while
    a model trains: by hand, or by `callbacks.HyperparameterSchedule`. Nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` of at most 1.
        value_range: The smallest and the largest value of a pixel.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels), with 3 channels.
        training: Whether to change them.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no such images.

    Example:

    ```python
    strength = keras_reg.tune.Float("saturation", init=0.2, low=0.0, high=1.0)
    layer = keras_reg.layers.TunableSaturation(strength)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who tune such strengths.
    """

    channels = (3,)

    def recolor(self, images: Any, amount: Any) -> Any:
        """Images from 0 to 1, changed by their amounts."""
        return scale_saturation(images, amount)


@export("layers.TunableHue", kind="layer", arxiv="1903.03088", year=2019)
class TunableHue(_Color):
    """Hue: turns hues by an amount, a share of the circle of colors, in training.

    Each image has an amount of its own, uniform from minus the strength to the strength. The strength may change while
    a model trains: by hand, or by `callbacks.HyperparameterSchedule`. Nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` of at most 0.5.
        value_range: The smallest and the largest value of a pixel.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels), with 3 channels.
        training: Whether to change them.

    Returns:
        Images of the same shape and type, in the same range.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no such images.

    Example:

    ```python
    strength = keras_reg.tune.Float("hue", init=0.2, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableHue(strength)
    layer(np.ones((2, 8, 8, 3), "float32") / 2, training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who tune such strengths.
    """

    channels = (3,)
    most = 0.5

    def recolor(self, images: Any, amount: Any) -> Any:
        """Images from 0 to 1, changed by their amounts."""
        return turn_hue(images, amount)
