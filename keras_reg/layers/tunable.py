"""Dropout and Gaussian noise whose strength may change in training."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.ops.noise import drop_inputs, noise_sizes, normal_noise
from keras_reg.random._uniform import open_uniform
from keras_reg.tune._checks import check_hyperparameter


class _Tunable(NoiseLayer):
    """Base of noise layers with one hyperparameter."""

    def __init__(self, noise_shape: tuple[int | None, ...] | None, seed: int | None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def _uniform(self, inputs: Any) -> Any:
        self.check_inputs(inputs)
        return open_uniform(noise_sizes(self.noise_shape, inputs), self.seed_generator)


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
        return drop_inputs(inputs, self.rate.read(), self._uniform(inputs))

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
        return inputs + normal_noise(self.stddev.read(), self._uniform(inputs), inputs)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        stddev = keras.saving.serialize_keras_object(self.stddev)
        return {**super().get_config(), "stddev": stddev, "noise_shape": self.noise_shape}
