"""The mask of MaskSparsity, made and trained with by a callback."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg._validation import check_choice, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._scale_penalty import SMALL, Names, ScalePenalty
from keras_reg.ops.mask_sparsity import KINDS, mask_sparsity_penalty
from keras_reg.training._state import ArrayState, Scalar


@export("callbacks.SparsityMask", kind="callback", arxiv="2201.06776", year=2022)
class SparsityMask(ScalePenalty):
    """MaskSparsity in one `fit`: finds the batch-normalization scales to prune, then penalizes these alone.

    Up to `mask_epoch` all scales are penalized by L1. Then those that are small are marked, once, and from there on
    only marked ones are penalized: what stays recovers its size, what goes is drawn to 0. Afterwards
    `keras_reg.prune(model, threshold)` makes the smaller model; fine-tune it.

    For a mask of your own there is `keras_reg.regularizers.MaskSparsity`.

    Args:
        mask_epoch: In which epoch, from 0, the mask is made, before its first step.
        strength: The factor of the penalty.
        threshold: The largest magnitude of a scale that is marked.
        kind: `"l1"` or `"l2"`, the penalty of the marked scales.
        include: Names of the batch normalizations to take, as patterns such as `"block1_*"`; `None` for all.
        exclude: Names of those to leave out.
        save_memory: Whether the mask goes into checkpoints that are written during `fit`.

    Attributes:
        masks: After `fit` began: for each batch normalization an array, 1 where a scale is penalized.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if the model trains no such scale.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=4, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = keras_reg.callbacks.SparsityMask(mask_epoch=50, strength=1e-3)
    model.fit(images, labels, epochs=100, callbacks=[callback])
    smaller = keras_reg.prune(model, threshold=0.01)
    ```

    Source: Nanfei Jiang, Xu Zhao, Chaoyang Zhao, Yongqi An, Ming Tang, Jinqiao Wang, Pruning-aware Sparse
    Regularization for Network Pruning, arXiv 2201.06776, 2022.
    """

    term_names = ("mask_sparsity",)

    def __init__(
        self,
        mask_epoch: int,
        strength: float = 5e-4,
        threshold: float = SMALL,
        kind: str = "l1",
        include: Names = None,
        exclude: Names = None,
        save_memory: bool = True,
    ) -> None:
        super().__init__(strength, include, exclude, save_memory)
        if not isinstance(mask_epoch, int) or isinstance(mask_epoch, bool) or mask_epoch < 0:
            raise ValueError(f"`mask_epoch` must be an integer, 0 or more. Received: mask_epoch={mask_epoch!r}")
        self.mask_epoch = mask_epoch
        self.threshold = check_number("threshold", threshold)
        self.kind = check_choice("kind", kind, KINDS)
        self._masks: ArrayState
        self._made: Scalar

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {name: getattr(self, name) for name in ("mask_epoch", "threshold", "kind", "save_memory")}
        return {**super().get_config(), **config}

    @property
    def masks(self) -> list[np.ndarray]:
        """For each batch normalization, 1 where its scale is penalized."""
        return [np.asarray(ops.convert_to_numpy(mask)) for mask in self._masks.values]

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The masks, 1 for all scales as long as they are not made."""
        self._masks = ArrayState([np.ones(scale.shape, "float32") for scale in self.scales], "masks")
        self._made = Scalar("made")
        return [self._masks, self._made]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Makes the masks when it is time."""
        super().on_epoch_begin(epoch, logs)
        if updated_model(self) is None or epoch < self.mask_epoch or ops.convert_to_numpy(self._made.value):
            return
        masks = [np.abs(ops.convert_to_numpy(scale)) <= self.threshold for scale in self.scales]
        if not any(mask.any() for mask in masks):
            warnings.warn(
                f"No scale is as small as threshold={self.threshold} in epoch {epoch}, so that none is penalized from "
                "here on: make `strength` larger, or `mask_epoch` later. Received: smallest scale "
                f"{min(np.abs(ops.convert_to_numpy(scale)).min() for scale in self.scales):.3g}",
                NoEffectWarning,
                stacklevel=2,
            )
        self._masks.set([mask.astype("float32") for mask in masks])
        self._made.set(1.0)

    def penalty(self, scales: list[Any]) -> Any:
        """The penalty of the marked scales: by L1 before there are marks."""
        masks = ops.concatenate([ops.convert_to_tensor(mask) for mask in self._masks.values])
        scales = ops.concatenate(scales)
        marked = mask_sparsity_penalty(scales, masks, self.kind)
        if self.kind == "l1":
            return marked
        return ops.where(self._made.value > 0, marked, mask_sparsity_penalty(scales, masks, "l1"))
