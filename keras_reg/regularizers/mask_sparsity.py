"""MaskSparsity as a regularizer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_choice, check_number
from keras_reg.ops.mask_sparsity import KINDS, mask_sparsity_penalty


@export("regularizers.MaskSparsity", kind="regularizer", arxiv="2201.06776", year=2022)
class MaskSparsity(keras.regularizers.Regularizer):
    """A penalty for those batch-normalization scales only whose channels shall be pruned.

    Applied to a model without a mask, it makes one for each layer, of the scales that are small then.
    `keras_reg.callbacks.SparsityMask` does the whole recipe in one `fit`.

    Args:
        strength: The factor of the penalty.
        mask: 1 for scales to prune, 0 for those to keep: numbers of the shape of the scale.
        threshold: The largest magnitude of a scale that is marked when `keras_reg.apply_regularizer` makes the mask.
        kind: `"l1"`, or `"l2"` for half the squares.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if there is no mask, or one of another shape.

    Example:

    ```python
    layer = keras.layers.BatchNormalization(gamma_regularizer=keras_reg.regularizers.MaskSparsity(mask=[0, 1, 1, 0]))
    keras_reg.apply_regularizer(
        keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()]),
        keras_reg.regularizers.MaskSparsity(5e-4, threshold=1.0),
        variables="gamma",
    )
    ```

    Source: Nanfei Jiang, Xu Zhao, Chaoyang Zhao, Yongqi An, Ming Tang, Jinqiao Wang, Pruning-aware Sparse
    Regularization for Network Pruning, arXiv 2201.06776, 2022.
    """

    def __init__(self, strength: float = 5e-4, mask: Any = None, threshold: float = 0.01, kind: str = "l1") -> None:
        self.strength = check_number("strength", strength)
        if mask is not None:
            given, mask = mask, np.asarray(mask)
            if mask.dtype.kind not in "bif" or not np.isin(mask, (0, 1)).all():
                raise ValueError(f"`mask` must be 1 for scales to prune and 0 for others. Received: mask={given!r}")
            mask = mask.astype(int).tolist()
        self.mask = mask
        self.threshold = check_number("threshold", threshold)
        self.kind = check_choice("kind", kind, KINDS)

    def for_layer(self, layer: keras.Layer) -> MaskSparsity | None:
        """With the mask of a layer's scale as it is now; `None` for a layer without a scale."""
        scale = getattr(layer, "gamma", None)
        if scale is None or self.mask is not None:
            return None if scale is None else self
        mask = np.abs(ops.convert_to_numpy(scale)) <= self.threshold
        return MaskSparsity(self.strength, mask, self.threshold, self.kind)

    def __call__(self, x: Any) -> Any:
        """The penalty of a scale, times the strength."""
        if self.mask is None or np.shape(self.mask) != tuple(x.shape):
            raise ValueError(
                "There must be a mask of the shape of the scale: give one, or let `keras_reg.apply_regularizer(model, "
                f"..., variables='gamma')` make it. Received: mask={self.mask!r} for the shape {tuple(x.shape)}"
            )
        return self.strength * mask_sparsity_penalty(x, np.asarray(self.mask, "float32"), self.kind)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"strength": self.strength, "mask": self.mask, "threshold": self.threshold, "kind": self.kind}
