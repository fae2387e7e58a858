"""Multiplicative or additive noise from a Beta distribution."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.random.gamma import beta as draw_beta


@export("layers.BetaNoise", kind="layer", arxiv="2406.14568", year=2024)
class BetaNoise(NoiseLayer):
    """Beta noise: multiplies the inputs by, or adds to them, numbers of a Beta distribution, in training only.

    The noise masks of the paper without their policy: bounded, and anything from almost on-or-off (concentrations below
    1) to almost none (large ones). `layers.PolicyNoiseMask` learns the concentrations.

    Args:
        alpha: The first concentration, above 0.
        beta: The second concentration, above 0. The mean of the noise is `alpha / (alpha + beta)`.
        mode: `"multiply"` or `"add"`.
        centered: Whether inputs keep their mean, as with dropout: what is multiplied is divided by the noise's mean,
            and from what is added the mean is subtracted.
        noise_shape: The shape of the noise, with 1 where it is the same along an axis and `None` for the size of the
            inputs, such as `(None, None, None, 1)` for one mask for all channels. `None` means the shape of the inputs.
        seed: An integer, or `None` for one that Keras draws.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Floats of any shape.
        training: Whether to add noise.

    Returns:
        A tensor of the shape and type of the inputs. The noise is computed in float32.

    Raises:
        ValueError: If an argument is out of its range, or the inputs are integers.

    Example:

    ```python
    layer = keras_reg.layers.BetaNoise(alpha=4.0, beta=1.0)
    layer(np.ones((2, 3), "float32"), training=True)
    ```

    Source: Mehmet Can Yavuz, Yang Yang, Policy Gradient-Driven Noise Mask, arXiv 2406.14568, 2024, without the policy.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        mode: str = "multiply",
        centered: bool = True,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.alpha, self.beta = check_number("alpha", alpha, above=0), check_number("beta", beta, above=0)
        if mode not in ("multiply", "add"):
            raise ValueError(f"`mode` must be 'multiply' or 'add'. Received: mode={mode!r}")
        if not isinstance(centered, bool):
            raise ValueError(f"`centered` must be True or False. Received: centered={centered!r}")
        if noise_shape is not None and not all(
            size is None or (isinstance(size, int) and size > 0) for size in noise_shape
        ):
            raise ValueError(f"`noise_shape` must hold integers above 0 or None. Received: noise_shape={noise_shape!r}")
        self.mode, self.centered = mode, centered
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Adds the noise, in training."""
        self.check_inputs(inputs)
        if not training:
            return inputs
        noise = draw_beta(self._shape(inputs), self.alpha, self.beta, "float32", self.seed_generator)
        mean = self.alpha / (self.alpha + self.beta)
        if self.mode == "multiply":
            return inputs * ops.cast(noise / mean if self.centered else noise, inputs.dtype)
        return inputs + ops.cast(noise - mean if self.centered else noise, inputs.dtype)

    def _shape(self, inputs: Any) -> tuple[Any, ...]:
        shape = ops.shape(inputs)
        if self.noise_shape is None:
            return tuple(shape)
        if len(self.noise_shape) != len(shape):
            raise ValueError(
                f"`noise_shape` must have as many axes as the inputs, with the batch. Received: "
                f"noise_shape={self.noise_shape} for inputs of shape {tuple(inputs.shape)}"
            )
        return tuple(given or size for given, size in zip(self.noise_shape, shape, strict=True))

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "mode": self.mode,
            "centered": self.centered,
            "noise_shape": self.noise_shape,
        }
