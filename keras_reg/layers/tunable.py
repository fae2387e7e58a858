"""Layers for dropout and Gaussian noise whose amount can change during training."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._types import Config, Shape, Tensor
from keras_reg.layers._arguments import check_noise_shape
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.ops.noise import drop_inputs, noise_sizes, normal_noise
from keras_reg.random._uniform import open_uniform
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter


class _Tunable(NoiseLayer):
    """Draws uniform numbers for noise layers with one hyperparameter."""

    def __init__(self, noise_shape: Shape | None, seed: int | None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.noise_shape = check_noise_shape(noise_shape)

    def _draw_uniform(self, inputs: Tensor) -> Tensor:
        """Returns uniform numbers of the shape of the noise."""
        self.check_inputs(inputs)
        return open_uniform(noise_sizes(self.noise_shape, inputs), self.seed_generator)


@export(
    "layers.TunableDropout", kind="layer", tasks=("small data", "hyperparameter tuning"), arxiv="1903.03088", year=2019
)
class TunableDropout(_Tunable):
    """Applies dropout to its inputs, with a rate that can change during training without recompilation.

    Within one training step, the layer is `keras.layers.Dropout`. There are four ways to change the rate:

    - `rate.set(0.5)`
    - `keras_reg.tune.set_hyperparameters`
    - `callbacks.HyperparameterSchedule`, which follows a schedule
    - `callbacks.SelfTuning`, which tunes it

    Args:
        rate: A `keras_reg.tune.Float` with `low` of at least 0 and `high` below 1. Share of the inputs that are set to
            0.
        noise_shape: Tuple of integers and `None`, or `None`. Shape of the mask. A size of 1 shares the mask along an
            axis, and `None` is the size of the inputs. For example, `(None, 1, 1, None)` drops whole channels of
            images. With `None`, the mask has the shape of the inputs. Defaults to `None`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Boolean. Whether to drop inputs.

    Returns:
        A tensor of the shape and type of the inputs.

    Raises:
        ValueError: If the rate is not a hyperparameter with such bounds, if another argument is invalid, or if the
            inputs are integers.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.TunableDropout(rate)
    rate.set(0.5)
    # Returns zeros and twos.
    layer(np.ones((2, 3), "float32"), training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    """

    def __init__(
        self, rate: Hyperparameter, *, noise_shape: Shape | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(noise_shape, seed, **kwargs)
        self.rate = check_hyperparameter("rate", rate, 0.0, below=1.0)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the inputs, with a share of them set to 0 during training."""
        if not training:
            return inputs
        return drop_inputs(inputs, self.rate.read(), self._draw_uniform(inputs))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        rate = keras.saving.serialize_keras_object(self.rate)
        return {**super().get_config(), "rate": rate, "noise_shape": self.noise_shape}


@export(
    "layers.TunableGaussianNoise",
    kind="layer",
    tasks=("small data", "hyperparameter tuning"),
    arxiv="1903.03088",
    year=2019,
)
class TunableGaussianNoise(_Tunable):
    """Adds Gaussian noise to its inputs, with a deviation that can change during training without recompilation.

    Within one training step, the layer is `keras.layers.GaussianNoise`.

    Args:
        stddev: A `keras_reg.tune.Float` with `low` of at least 0. Standard deviation of the noise.
        noise_shape: Tuple of integers and `None`, or `None`. Shape of the noise. A size of 1 shares the noise along an
            axis, and `None` is the size of the inputs. With `None`, the noise has the shape of the inputs. Defaults to
            `None`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Boolean. Whether to add noise.

    Returns:
        A tensor of the shape and type of the inputs.

    Raises:
        ValueError: If the deviation is not a hyperparameter with such a bound, if another argument is invalid, or if
            the inputs are integers.

    Example:

    ```python
    stddev = keras_reg.tune.Float("noise", init=0.1, low=0.0)
    layer = keras_reg.layers.TunableGaussianNoise(stddev)
    layer(np.ones((2, 3), "float32"), training=True)
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    """

    def __init__(
        self, stddev: Hyperparameter, *, noise_shape: Shape | None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(noise_shape, seed, **kwargs)
        self.stddev = check_hyperparameter("stddev", stddev, 0.0)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the inputs, with noise during training."""
        if not training:
            return inputs
        return inputs + normal_noise(self.stddev.read(), self._draw_uniform(inputs), inputs)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        stddev = keras.saving.serialize_keras_object(self.stddev)
        return {**super().get_config(), "stddev": stddev, "noise_shape": self.noise_shape}
