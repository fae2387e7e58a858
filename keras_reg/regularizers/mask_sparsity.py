"""MaskSparsity as a regularizer."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import ArrayLike, Config, Tensor
from keras_reg._validation import check_choice, check_number, reject
from keras_reg.ops.mask_sparsity import KINDS, mask_sparsity_penalty


@export(
    "regularizers.MaskSparsity",
    kind="regularizer",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.01, log=True), "threshold": Range(0.001, 0.1, log=True)},
    arxiv="2201.06776",
    year=2022,
)
class MaskSparsity(keras.regularizers.Regularizer):
    """Penalizes only those batch-normalization scales whose channels will be pruned.

    `keras_reg.apply_regularizer` creates the mask of each layer if there is none. It marks the scales that are small at
    that time. `keras_reg.callbacks.SparsityMask` runs the whole recipe in one `fit`.

    Args:
        strength: Float. The factor of the penalty. Defaults to `0.0005`.
        mask: Array of the shape of the scale, with 1 for scales to prune and 0 for scales to keep. Defaults to `None`.
        threshold: Float. The largest magnitude of a scale that `keras_reg.apply_regularizer` marks. Defaults to
            `0.01`.
        kind: String. `"l1"`, or `"l2"` for half the sum of squares. Defaults to `"l1"`.

    Raises:
        ValueError: If an argument is out of range. When the regularizer is called, if there is no mask, or if the shape
            of the mask differs from that of the scale.

    Example:

    ```python
    penalty = keras_reg.regularizers.MaskSparsity(mask=[0, 1, 1, 0])
    layer = keras.layers.BatchNormalization(gamma_regularizer=penalty)

    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization()]
    )
    penalty = keras_reg.regularizers.MaskSparsity(5e-4, threshold=1.0)
    keras_reg.apply_regularizer(network, penalty, variables="gamma")
    ```

    Reference:

    - [Jiang et al., 2022](https://arxiv.org/abs/2201.06776): Pruning-aware Sparse Regularization for Network Pruning
    """

    def __init__(
        self,
        strength: float = 0.0005,
        *,
        mask: ArrayLike | None = None,
        threshold: float = 0.01,
        kind: str = "l1",
    ) -> None:
        self.strength = check_number("strength", strength)
        self.mask = _check_mask(mask)
        self.threshold = check_number("threshold", threshold)
        self.kind = check_choice("kind", kind, KINDS)

    def for_layer(self, layer: keras.Layer) -> MaskSparsity | None:
        """Returns a regularizer for a layer, with a mask of its current scale.

        Args:
            layer: The layer.

        Returns:
            A regularizer with a mask, or `None` if the layer has no scale.
        """
        scale = getattr(layer, "gamma", None)
        if scale is None or self.mask is not None:
            return None if scale is None else self
        mask = np.abs(ops.convert_to_numpy(scale)) <= self.threshold
        return type(self)(self.strength, mask=mask, threshold=self.threshold, kind=self.kind)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a scale, multiplied by the strength."""
        if self.mask is None or np.shape(self.mask) != tuple(x.shape):
            raise ValueError(
                "The mask must have the shape of the scale. Pass a mask, or call `keras_reg.apply_regularizer(model, "
                "..., variables='gamma')`, which creates it. "
                f"Received: mask={self.mask!r} for a scale of shape {tuple(x.shape)}"
            )
        return self.strength * mask_sparsity_penalty(x, np.asarray(self.mask, "float32"), self.kind)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"strength": self.strength, "mask": self.mask, "threshold": self.threshold, "kind": self.kind}


def _check_mask(mask: ArrayLike | None) -> list[int] | None:
    """Checks the mask, and returns it as a list of integers, which can be serialized."""
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype.kind not in "bif" or not np.isin(array, (0, 1)).all():
        reject("mask", mask, "must hold 1 for scales to prune and 0 for scales to keep, or be None")
    integers: list[int] = array.astype(int).tolist()
    return integers
