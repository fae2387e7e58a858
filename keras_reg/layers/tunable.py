"""Dropout and Gaussian noise whose strength may change in training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg.export import export
from keras_reg.layers.noise import NoiseLayer
from keras_reg.random.uniform import open_uniform
from keras_reg.tune.hyperparameter import Hyperparameter


def check_hyperparameter(name: str, value: Any, low: float, below: float | None = None) -> Hyperparameter:
    """Returns a hyperparameter whose bounds fit.

    Args:
        name: The name of the argument.
        value: What the user gave.
        low: The smallest value that makes sense.
        below: What values must be below, if anything.

    Raises:
        ValueError: If it is none, or may take values that make no sense.
    """
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if not isinstance(value, Hyperparameter):
        raise ValueError(f"`{name}` must be a `keras_reg.tune.Float`. Received: {name}={value!r}")
    if value.low is None or value.low < low or (below is not None and (value.high is None or value.high >= below)):
        bounds = f"`low` of at least {low:g}" + ("" if below is None else f" and a `high` below {below:g}")
        raise ValueError(f"`{name}` needs a {bounds}. Received: {name}={value!r}")
    return value


class _Tunable(NoiseLayer):
    """Base of noise layers with one hyperparameter."""

    def __init__(self, noise_shape: tuple[int | None, ...] | None, seed: int | None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def _uniform(self, inputs: Any) -> Any:
        shape = ops.shape(inputs)
        if self.noise_shape is not None:
            if len(self.noise_shape) != len(shape):
                raise ValueError(
                    f"`noise_shape` must have as many axes as the inputs. Received: noise_shape={self.noise_shape} for "
                    f"inputs of shape {tuple(inputs.shape)}"
                )
            shape = tuple(size if own is None else own for own, size in zip(self.noise_shape, shape, strict=True))
        return open_uniform(shape, self.seed_generator)

    @staticmethod
    def _along(strength: Any, inputs: Any) -> Any:
        """One strength, or one for each sample, in the shape of the inputs."""
        return strength if not len(strength.shape) else ops.reshape(strength, (-1, *[1] * (len(inputs.shape) - 1)))


@export("layers.TunableDropout", kind="layer", arxiv="1903.03088", year=2019)
class TunableDropout(_Tunable):
    """Dropout whose rate may change in training, without compiling anything anew.

    In one training step it is `keras.layers.Dropout`. Set the rate by `rate.set(0.5)` or with
    `keras_reg.tune.set_hyperparameters`, let `callbacks.HyperparameterSchedule` move it, or `callbacks.SelfTuning`
    tune it.

    Args:
        rate: A `tune.Float` with `low` of at least 0 and `high` below 1: the share of the inputs that are set to 0.
        noise_shape: The shape of the mask, with 1 where it is the same along an axis and `None` for the size of the
            inputs: `(None, 1, 1, None)` drops whole channels of images.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats of any shape.
        training: Whether to drop.

    Returns:
        A tensor of the shape and type of the inputs.

    Raises:
        ValueError: If the rate is no hyperparameter with such bounds, or the inputs are integers.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.TunableDropout(rate)
    rate.set(0.5)
    layer(np.ones((2, 3), "float32"), training=True)  # zeros and twos
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019.
    """

    def __init__(
        self, rate: Any, noise_shape: tuple[int | None, ...] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(noise_shape, seed, **kwargs)
        self.rate = check_hyperparameter("rate", rate, 0.0, below=1.0)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drops inputs in training."""
        if not training:
            return inputs
        self.check_inputs(inputs)
        rate = self._along(ops.cast(self.rate.read(), "float32"), inputs)
        scale = ops.cast(1.0 / (1.0 - rate), inputs.dtype)
        return ops.where(self._uniform(inputs) >= rate, inputs * scale, ops.zeros_like(inputs))

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        rate = keras.saving.serialize_keras_object(self.rate)
        return {**super().get_config(), "rate": rate, "noise_shape": self.noise_shape}


@export("layers.TunableGaussianNoise", kind="layer", arxiv="1903.03088", year=2019)
class TunableGaussianNoise(_Tunable):
    """Gaussian noise whose standard deviation may change in training, without compiling anything anew.

    Args:
        stddev: A `tune.Float` with `low` of at least 0.
        noise_shape: The shape of the noise, as of `TunableDropout`.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats of any shape.
        training: Whether to add noise.

    Returns:
        A tensor of the shape and type of the inputs.

    Raises:
        ValueError: If the deviation is no hyperparameter with such a bound, or the inputs are integers.

    Example:

    ```python
    stddev = keras_reg.tune.Float("noise", init=0.1, low=0.0)
    keras_reg.layers.TunableGaussianNoise(stddev)(np.ones((2, 3), "float32"), training=True)
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019.
    """

    def __init__(
        self, stddev: Any, noise_shape: tuple[int | None, ...] | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(noise_shape, seed, **kwargs)
        self.stddev = check_hyperparameter("stddev", stddev, 0.0)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Adds noise in training."""
        if not training:
            return inputs
        self.check_inputs(inputs)
        stddev = self._along(ops.cast(self.stddev.read(), "float32"), inputs)
        # Of uniform numbers, which are others on each replica.
        noise = 2**0.5 * ops.erfinv(2 * self._uniform(inputs) - 1)
        return inputs + ops.cast(stddev * noise, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        stddev = keras.saving.serialize_keras_object(self.stddev)
        return {**super().get_config(), "stddev": stddev, "noise_shape": self.noise_shape}
