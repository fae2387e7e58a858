"""A generalized Gaussian prior of the weights as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.ops.generalized_gaussian import generalized_gaussian_penalty


@export("regularizers.GeneralizedGaussianPrior", kind="regularizer", arxiv="2504.16968", year=2025)
class GeneralizedGaussianPrior(keras.regularizers.Regularizer):
    """A generalized Gaussian prior: sum((|w| + offset)**shape - offset**shape), between weight decay and sparsity.

    Shape 2 draws large weights most, as weight decay does; shape 1 draws all alike, as L1; a shape below 1 draws small
    weights most, so that weights gather near 0 while large ones stay. Trained weights often look like shapes of 0.5 to
    1.5.

    Args:
        strength: The factor of the sum. The authors' step is the gradient with 2000 / (number of all weights), not
            times the learning rate: divide by it to do the same with plain gradient descent.
        shape: The shape of the prior, above 0.
        offset: What softens the gradient near 0; 0 is for shapes of at least 1 only. The authors take 1.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    prior = keras_reg.regularizers.GeneralizedGaussianPrior(1e-4, shape=0.8)
    layer = keras.layers.Dense(64, kernel_regularizer=prior, bias_regularizer=prior)
    keras_reg.apply_regularizer(model, prior, variables=["kernel", "bias"])
    ```

    Source: Jun Wu, Jiangtao Wen, Yuxing Han, BackSlash: Rate Constrained Optimized Training of Large Language Models,
    arXiv 2504.16968, 2025, with a shape that is given; `callbacks.GeneralizedGaussianShape` estimates it.
    """

    def __init__(self, strength: float = 1e-4, shape: float = 1.0, offset: float = 1.0) -> None:
        self.strength = check_number("strength", strength)
        self.shape = check_number("shape", shape, above=0.0)
        self.offset = check_number("offset", offset)
        if self.offset == 0.0 and self.shape < 1.0:
            raise ValueError(
                "Without an offset the gradient of a shape below 1 is infinite at 0: give an offset above 0. "
                f"Received: offset={offset!r}, shape={shape!r}"
            )

    def __call__(self, x: Any) -> Any:
        """The penalty of a variable, times the strength."""
        return self.strength * generalized_gaussian_penalty(x, self.shape, self.offset)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "shape": self.shape, "offset": self.offset}
