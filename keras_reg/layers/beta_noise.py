"""A layer that adds noise from a Beta distribution."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_boolean, check_choice, check_number
from keras_reg.layers._arguments import check_noise_shape
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.ops.noise import noise_sizes
from keras_reg.random.gamma import beta as draw_beta

KINDS = ("multiply", "add")


@export(
    "layers.BetaNoise",
    kind="layer",
    tasks=("augmentation", "small data"),
    tunable={"alpha": Range(0.5, 4.0, log=True), "beta": Range(0.5, 4.0, log=True)},
    arxiv="2406.14568",
    year=2024,
)
class BetaNoise(NoiseLayer):
    """Multiplies the inputs by numbers from a Beta distribution during training, or adds such numbers.

    These are the noise masks of the paper without their policy. The noise is bounded. With concentrations below 1 it is
    almost on-or-off noise, and with large concentrations it almost vanishes. `layers.PolicyNoiseMask` learns the
    concentrations.

    Args:
        alpha: Float above 0. First concentration. Defaults to `1.0`.
        beta: Float above 0. Second concentration. The mean of the noise is `alpha / (alpha + beta)`. Defaults to
            `1.0`.
        kind: String. `"multiply"` or `"add"`. Defaults to `"multiply"`.
        centered: Boolean. Whether the inputs keep their mean, as with dropout. `"multiply"` then divides the noise by
            its mean, and `"add"` subtracts its mean. Defaults to `True`.
        noise_shape: Tuple of integers and `None`, or `None`. Shape of the noise. A size of 1 shares the noise along an
            axis, and `None` is the size of the inputs. For example, `(None, None, None, 1)` is one mask for all
            channels. With `None`, the noise has the shape of the inputs. Defaults to `None`.
        seed: Integer or `None`. Seed of the random numbers. With `None`, Keras draws it. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Float tensor of any shape.
        training: Boolean. Whether to apply noise.

    Returns:
        A tensor of the shape and type of the inputs. The noise is computed in float32.

    Raises:
        ValueError: If an argument is out of range, or if the inputs are integers.

    Example:

    ```python
    layer = keras_reg.layers.BetaNoise(alpha=4.0, beta=1.0)
    layer(np.ones((2, 3), "float32"), training=True)
    ```

    Reference:

    - [Yavuz and Yang, 2024](https://arxiv.org/abs/2406.14568): Policy Gradient-Driven Noise Mask. This layer has no
      policy.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        *,
        kind: str = "multiply",
        centered: bool = True,
        noise_shape: Shape | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.alpha, self.beta = check_number("alpha", alpha, above=0), check_number("beta", beta, above=0)
        self.kind = check_choice("kind", kind, KINDS)
        self.centered = check_boolean("centered", centered)
        self.noise_shape = check_noise_shape(noise_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Returns the inputs, with noise during training."""
        self.check_inputs(inputs)
        if not training:
            return inputs
        sizes = noise_sizes(self.noise_shape, inputs)
        noise = draw_beta(sizes, self.alpha, self.beta, "float32", self.seed_generator)
        mean = self.alpha / (self.alpha + self.beta)
        if self.kind == "multiply":
            return inputs * ops.cast(noise / mean if self.centered else noise, inputs.dtype)
        return inputs + ops.cast(noise - mean if self.centered else noise, inputs.dtype)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "kind": self.kind,
            "centered": self.centered,
            "noise_shape": self.noise_shape,
        }
