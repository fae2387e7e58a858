"""The nuclear norm as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_integer, check_number
from keras_reg.ops.nuclear_norm import nuclear_norm


@export("regularizers.NuclearNorm", kind="regularizer", arxiv="1812.02402", year=2018)
class NuclearNorm(keras.regularizers.Regularizer):
    """The nuclear norm: the sum of a kernel's singular values, which draws kernels to low rank.

    It is to the singular values what L1 is to entries: each is made smaller at the same rate, the small ones reach 0
    first. A kernel (..., outputs) counts as the matrix (everything else, outputs). There is no singular value
    decomposition: products of matrices alone give the value and the subgradient.

    Args:
        strength: The factor of the norm. The paper takes 3e-4.
        steps: Newton-Schulz iterations. 20 are right for singular values above 1e-3 of the Frobenius norm, 30 for those
            above 1e-4; smaller ones count in part.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if a kernel has fewer than two dimensions.

    Example:

    ```python
    layer = keras.layers.Dense(64, kernel_regularizer=keras_reg.regularizers.NuclearNorm(3e-4))
    keras_reg.apply_regularizer(model, keras_reg.regularizers.NuclearNorm(3e-4))
    ```

    Source: Yuhui Xu, Yuxi Li, Shuai Zhang, Wei Wen, Botao Wang, Yingyong Qi, Yiran Chen, Weiyao Lin, Hongkai Xiong,
    Trained Rank Pruning for Efficient Deep Neural Networks, arXiv 1812.02402, 2018: the regularizer. What truncates the
    kernels in between is `callbacks.TrainedRankPruning`.
    """

    def __init__(self, strength: float = 3e-4, steps: int = 20) -> None:
        self.strength = check_number("strength", strength)
        self.steps = check_integer("steps", steps)

    def __call__(self, x: Any) -> Any:
        """The norm of a kernel, times the strength."""
        return self.strength * nuclear_norm(x, self.steps)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "steps": self.steps}
