"""Orthogonality of kernels as matrices, as a regularizer."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.ops.soft_orthogonality import (
    mutual_coherence,
    relaxed_orthogonality,
    soft_orthogonality,
    spectral_isometry,
)

KINDS = ("frobenius", "spectral", "coherence")
_POWER_STEPS = 8  # from one fixed vector; each costs two products of a matrix and a vector


@export("regularizers.SoftOrthogonality", kind="regularizer", arxiv="1810.09102", year=2018)
class SoftOrthogonality(keras.regularizers.Regularizer):
    """Soft orthogonality: draws a kernel, as a matrix, to one with orthogonal columns or rows of length 1.

    With W the kernel as the matrix (inputs, outputs) and G the Gram matrix of its columns, or of its rows if there are
    fewer of them, the penalty is, by its kind:

    - `"frobenius"`: ||G - I||^2, the sum over all pairs. With a `threshold` it is the relaxed form, which leaves
      kernels alone that are near enough: sigmoid(sharpness (n - threshold)) n, with n the norm, not its square.
    - `"spectral"`: the squared largest singular value of G - I (SRIP), by power iteration.
    - `"coherence"`: the largest entry of |W^T W - I|, so that its gradient is that of one pair.

    Keras' own `OrthogonalRegularizer` looks at the angles of the rows of a matrix and not at their lengths. For the
    orthogonality of a convolution as a map of images see `keras_reg.regularizers.OrthogonalConvolution`.

    Args:
        strength: The factor of the penalty. The paper begins with 0.01 and lowers it in steps while training.
        kind: `"frobenius"`, `"spectral"` or `"coherence"`.
        threshold: For `"frobenius"`: the distance that is near enough, at least 0; `None` is the plain square.
        sharpness: How abruptly the penalty fades out below the threshold, above 0.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if a kernel has fewer than two dimensions.

    Example:

    ```python
    layer = keras.layers.Dense(64, kernel_regularizer=keras_reg.regularizers.SoftOrthogonality(1e-2))
    keras_reg.apply_regularizer(model, keras_reg.regularizers.SoftOrthogonality(1e-3, kind="spectral"))
    ```

    Source: Nitin Bansal, Xiaohan Chen, Zhangyang Wang, Can We Gain More from Orthogonality Regularizations in Training
    Deep CNNs?, arXiv 1810.09102, 2018; the threshold: Simone Ricci, Niccolò Biondi, Federico Pernici, Ioannis Patras,
    Alberto Del Bimbo, λ-Orthogonality Regularization for Compatible Representation Learning, arXiv 2509.16664, 2025.
    """

    def __init__(
        self,
        strength: float = 0.01,
        kind: str = "frobenius",
        threshold: float | None = None,
        sharpness: float = 1.0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        if threshold is not None and kind != "frobenius":
            raise ValueError(
                "`threshold` is for the kind 'frobenius', whose distance it is compared with: leave it out. "
                f"Received: threshold={threshold!r}, kind={kind!r}"
            )
        self.strength = check_number("strength", strength)
        self.kind = kind
        self.threshold = None if threshold is None else check_number("threshold", threshold)
        self.sharpness = check_number("sharpness", sharpness, above=0.0)

    def __call__(self, x: Any) -> Any:
        """The penalty of a kernel, times the strength."""
        if self.kind == "spectral":
            return self.strength * spectral_isometry(x, steps=_POWER_STEPS)
        if self.kind == "coherence":
            return self.strength * mutual_coherence(x)
        penalty = soft_orthogonality(x)
        if self.threshold is not None:
            penalty = relaxed_orthogonality(penalty, self.threshold, self.sharpness)
        return self.strength * penalty

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "strength": self.strength,
            "kind": self.kind,
            "threshold": self.threshold,
            "sharpness": self.sharpness,
        }
