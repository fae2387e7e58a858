"""Images that are moved, enlarged and sheared in the compiled step, with strengths that may change in training."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._validation import is_number
from keras_reg.layers._tunable_images import TunableImages
from keras_reg.ops.images import shear_matrix, transform_images
from keras_reg.tune._checks import check_hyperparameter


class _Affine(TunableImages):
    """Base of layers that move pixels."""

    below: float | None = None
    most: float | None = None

    def __init__(self, strength: Any, fill_value: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        if not is_number(fill_value):
            raise ValueError(f"`fill_value` must be a finite number. Received: fill_value={fill_value!r}")
        self.strength = check_hyperparameter("strength", strength, 0.0, below=self.below, most=self.most)
        self.fill_value = float(fill_value)

    def change(self, images: Any, uniform: Any) -> Any:
        """The changed images."""
        matrix, shift = self.transformation(images, self.amount(self.strength.read(), uniform))
        return transform_images(images, matrix, shift, self.fill_value)

    def transformation(self, images: Any, amount: Any) -> tuple[Any, Any]:
        """The matrices and shifts for images, from amounts of shape (batch, draws)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**self.stored(strength=self.strength), "fill_value": self.fill_value}


@export("layers.TunableTranslation", kind="layer", arxiv="2010.13514", year=2020)
class TunableTranslation(_Affine):
    """Translation: moves images, in training.

    Each image is moved by amounts of its own, along its height and along its width, uniform from minus the strength to
    the strength, as shares of these.
    The strength may change while a model trains, and nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` of at most 1.
        fill_value: The value of pixels from outside of the image.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels).
        training: Whether to change them.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no images.

    Example:

    ```python
    strength = keras_reg.tune.Float("translation", init=0.1, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableTranslation(strength)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Source: Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020, who tune such strengths.
    """

    draws = 2
    most = 1.0

    def transformation(self, images: Any, amount: Any) -> tuple[Any, Any]:
        """The matrices and shifts for images, from amounts of shape (batch, draws)."""
        sizes = ops.cast(ops.stack([ops.shape(images)[1], ops.shape(images)[2]]), "float32")
        return _unit(amount[:, :1]), amount * sizes


@export("layers.TunableScale", kind="layer", arxiv="2010.13514", year=2020)
class TunableScale(_Affine):
    """Scale: enlarges images or makes them smaller, in training.

    Each image is divided in size by 1 + an amount of its own, uniform from minus the strength to the strength.
    The strength may change while a model trains, and nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` below 1.
        fill_value: The value of pixels from outside of the image.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels).
        training: Whether to change them.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no images.

    Example:

    ```python
    strength = keras_reg.tune.Float("scale", init=0.1, low=0.0, high=0.5)
    layer = keras_reg.layers.TunableScale(strength)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Source: Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020, who tune such strengths.
    """

    below = 1.0

    def transformation(self, images: Any, amount: Any) -> tuple[Any, Any]:
        """The matrices and shifts for images, from amounts of shape (batch, draws)."""
        return _unit(amount) * ops.expand_dims(1 + amount, -1), ops.zeros_like(_pair(amount))


@export("layers.TunableShear", kind="layer", arxiv="2010.13514", year=2020)
class TunableShear(_Affine):
    """Shear: moves the rows of images sideways, in training.

    Each image has an angle of its own, in degrees, uniform from minus the strength to the strength.
    The strength may change while a model trains, and nothing is compiled anew.

    Args:
        strength: A `tune.Float` with `low` of at least 0 and `high` below 90.
        fill_value: The value of pixels from outside of the image.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats, images (batch, height, width, channels).
        training: Whether to change them.

    Returns:
        Images of the same shape and type, with bilinear interpolation.

    Raises:
        ValueError: If an argument does not fit, or the inputs are no images.

    Example:

    ```python
    strength = keras_reg.tune.Float("shear", init=5.0, low=0.0, high=45.0)
    layer = keras_reg.layers.TunableShear(strength)
    layer(np.ones((2, 8, 8, 3), "float32"), training=True)
    ```

    Source: Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020, who tune such strengths.
    """

    below = 90.0

    def transformation(self, images: Any, amount: Any) -> tuple[Any, Any]:
        """The matrices and shifts for images, from amounts of shape (batch, draws)."""
        return shear_matrix(amount[:, 0]), ops.zeros_like(_pair(amount))


def _pair(amount: Any) -> Any:
    return ops.concatenate([amount, amount], axis=-1)


def _unit(amount: Any) -> Any:
    """The matrix that changes nothing, for each image."""
    return ops.eye(2, dtype="float32") + ops.zeros_like(ops.expand_dims(amount, -1))
