"""The nuclear norm as a regularizer."""

from __future__ import annotations

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_integer, check_number
from keras_reg.ops.nuclear_norm import nuclear_norm


@export(
    "regularizers.NuclearNorm",
    kind="regularizer",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.01, log=True)},
    arxiv="1812.02402",
    year=2018,
)
class NuclearNorm(keras.regularizers.Regularizer):
    """Penalizes the nuclear norm of a kernel, the sum of its singular values, which favors a low rank.

    The nuclear norm is to singular values what L1 is to entries. It reduces all singular values at the same rate, so
    the small ones reach 0 first. A kernel of shape (..., outputs) is treated as the matrix (product of the other sizes,
    outputs). The value and the subgradient are computed by matrix products, without a singular value decomposition.

    Args:
        strength: Float. The factor of the norm. The paper uses 3e-4. Defaults to `0.0003`.
        steps: Integer. The number of Newton-Schulz iterations. 20 steps suffice for singular values above 1e-3 of the
            Frobenius norm, and 30 steps for those above 1e-4. Smaller singular values count only in part. Defaults to
            `20`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if a kernel has fewer than two dimensions.

    Example:

    ```python
    penalty = keras_reg.regularizers.NuclearNorm(3e-4)
    layer = keras.layers.Dense(64, kernel_regularizer=penalty)
    keras_reg.apply_regularizer(model, penalty)
    ```

    Reference:

    - [Xu et al., 2018](https://arxiv.org/abs/1812.02402): Trained Rank Pruning for Efficient Deep Neural Networks. This
      class is the regularizer. `keras_reg.callbacks.TrainedRankPruning` truncates the kernels during training.
    """

    def __init__(self, strength: float = 0.0003, *, steps: int = 20) -> None:
        self.strength = check_number("strength", strength)
        self.steps = check_integer("steps", steps)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the norm of a kernel, multiplied by the strength."""
        return self.strength * nuclear_norm(x, self.steps)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "steps": self.steps}
