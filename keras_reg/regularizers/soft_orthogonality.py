"""Orthogonality of kernels as matrices, as a regularizer."""

from __future__ import annotations

import keras

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_choice, check_number
from keras_reg.ops.soft_orthogonality import (
    mutual_coherence,
    relaxed_orthogonality,
    soft_orthogonality,
    spectral_isometry,
)

KINDS = ("frobenius", "spectral", "coherence")
# The power iteration starts from one fixed vector. Each step costs two products of a matrix and a vector.
_POWER_STEPS = 8


@export(
    "regularizers.SoftOrthogonality",
    kind="regularizer",
    tasks=("optimization",),
    tunable={"strength": Range(0.0001, 0.1, log=True)},
    arxiv="1810.09102",
    year=2018,
)
class SoftOrthogonality(keras.regularizers.Regularizer):
    """Pulls a kernel, as a matrix, towards one with orthogonal columns or rows of length 1.

    W is the kernel as the matrix (inputs, outputs). G is the Gram matrix of its columns, or of its rows if there are
    fewer rows. The penalty depends on `kind`:

    - `"frobenius"`: ||G - I||^2, the sum over all pairs. With a `threshold`, the penalty is the relaxed form
        sigmoid(sharpness (n - threshold)) n, where n is the norm and not its square. The relaxed form has almost no
        effect on kernels whose norm is below the threshold.
    - `"spectral"`: the squared largest singular value of G - I (SRIP), by power iteration.
    - `"coherence"`: the largest entry of |W^T W - I|. Its gradient is that of one pair.

    `keras.regularizers.OrthogonalRegularizer` considers the angles between the rows of a matrix, but not their lengths.
    For the orthogonality of a convolution as a map of images, see `keras_reg.regularizers.OrthogonalConvolution`.

    Args:
        strength: Float. The factor of the penalty. The paper starts with 0.01 and lowers it in steps during training.
            Defaults to `0.01`.
        kind: String. `"frobenius"`, `"spectral"` or `"coherence"`. Defaults to `"frobenius"`.
        threshold: Float. For `"frobenius"`, the norm below which the penalty fades out, at least 0. With `None`, the
            penalty is the squared norm. Defaults to `None`.
        sharpness: Float. How abruptly the penalty fades out below the threshold, above 0. Defaults to `1.0`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if a kernel has fewer than two dimensions.

    Example:

    ```python
    penalty = keras_reg.regularizers.SoftOrthogonality(1e-2)
    layer = keras.layers.Dense(64, kernel_regularizer=penalty)
    spectral = keras_reg.regularizers.SoftOrthogonality(
        1e-3, kind="spectral"
    )
    keras_reg.apply_regularizer(model, spectral)
    ```

    References:

    - [Bansal et al., 2018](https://arxiv.org/abs/1810.09102): Can We Gain More from Orthogonality Regularizations in
      Training Deep CNNs?
    - [Ricci et al., 2025](https://arxiv.org/abs/2509.16664): λ-Orthogonality Regularization for Compatible
      Representation Learning, for the threshold
    """

    def __init__(
        self,
        strength: float = 0.01,
        *,
        kind: str = "frobenius",
        threshold: float | None = None,
        sharpness: float = 1.0,
    ) -> None:
        self.strength = check_number("strength", strength)
        self.kind = check_choice("kind", kind, KINDS)
        self.threshold = check_number("threshold", threshold, optional=True)
        self.sharpness = check_number("sharpness", sharpness, above=0.0)
        if threshold is not None and kind != "frobenius":
            raise ValueError(
                "`threshold` must be None for kinds other than 'frobenius', because it is compared with the Frobenius "
                f"norm. Received: threshold={threshold!r}, kind={kind!r}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a kernel, multiplied by the strength."""
        if self.kind == "spectral":
            return self.strength * spectral_isometry(x, steps=_POWER_STEPS)
        if self.kind == "coherence":
            return self.strength * mutual_coherence(x)
        penalty = soft_orthogonality(x)
        if self.threshold is not None:
            penalty = relaxed_orthogonality(penalty, self.threshold, self.sharpness)
        return self.strength * penalty

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            "strength": self.strength,
            "kind": self.kind,
            "threshold": self.threshold,
            "sharpness": self.sharpness,
        }
