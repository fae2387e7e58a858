"""A generalized Gaussian prior of the weights as a regularizer."""

from __future__ import annotations

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg.ops.generalized_gaussian import generalized_gaussian_penalty


@export(
    "regularizers.GeneralizedGaussianPrior",
    kind="regularizer",
    tasks=("weight decay",),
    tunable={"strength": Range(1e-06, 0.01, log=True), "shape": Range(0.5, 2.0)},
    arxiv="2504.16968",
    year=2025,
)
class GeneralizedGaussianPrior(keras.regularizers.Regularizer):
    """Penalizes weights with a generalized Gaussian prior, between weight decay and sparsity.

    The penalty is `strength * sum((|w| + offset)**shape - offset**shape)`:

    - Shape 2 pulls large weights most, as weight decay does.
    - Shape 1 pulls all weights equally, as L1 does.
    - A shape below 1 pulls small weights most. Weights then gather near 0, while large weights stay.

    The weights of trained networks often have shapes of 0.5 to 1.5.

    Args:
        strength: Float. The factor of the sum. The authors' step is the gradient times 2000 / (number of all weights),
            without the learning rate. For the same step with plain gradient descent, divide by the learning rate.
            Defaults to `1e-4`.
        shape: Float. The shape of the prior, above 0. Defaults to `1.0`.
        offset: Float. Smooths the gradient near 0. The value 0 is only allowed for shapes of at least 1. The authors
            use 1. Defaults to `1.0`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    prior = keras_reg.regularizers.GeneralizedGaussianPrior(
        1e-4, shape=0.8
    )
    layer = keras.layers.Dense(
        64, kernel_regularizer=prior, bias_regularizer=prior
    )
    keras_reg.apply_regularizer(model, prior, variables=["kernel", "bias"])
    ```

    Reference:

    - [Wu et al., 2025](https://arxiv.org/abs/2504.16968): BackSlash: Rate Constrained Optimized Training of Large
      Language Models. Here the shape is an argument. `keras_reg.callbacks.GeneralizedGaussianShape` estimates it.
    """

    def __init__(self, strength: float = 1e-4, *, shape: float = 1.0, offset: float = 1.0) -> None:
        self.strength = check_number("strength", strength)
        self.shape = check_number("shape", shape, above=0.0)
        self.offset = check_number("offset", offset)
        if self.offset == 0.0 and self.shape < 1.0:
            raise ValueError(
                "With a shape below 1 and an offset of 0, the gradient is infinite at 0. Pass an offset above 0. "
                f"Received: offset={offset!r}, shape={shape!r}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a variable, multiplied by the strength."""
        return self.strength * generalized_gaussian_penalty(x, self.shape, self.offset)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "shape": self.shape, "offset": self.offset}
