"""A callback that creates the mask of MaskSparsity and trains with it."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import Range, export
from keras_reg._types import Array, Config, Tensor
from keras_reg._validation import check_choice, check_integer, check_number
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks._scale_penalty import SMALL_SCALE, ScalePenalty
from keras_reg.ops.mask_sparsity import KINDS, mask_sparsity_penalty
from keras_reg.surgery._select import LayerPatterns
from keras_reg.training._state import ArrayState, Scalar


@export(
    "callbacks.SparsityMask",
    kind="callback",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.01, log=True), "threshold": Range(0.001, 0.1, log=True)},
    arxiv="2201.06776",
    year=2022,
)
class SparsityMask(ScalePenalty):
    """Finds the batch-normalization scales to prune, then penalizes only these, in one `fit` (MaskSparsity).

    Before `mask_epoch`, all scales are penalized by L1. Then the small scales are marked once. From then on, only
    marked scales are penalized: they shrink to 0, and the others recover. After `fit`,
    `keras_reg.prune(model, threshold)` creates the smaller model. Fine-tune it.

    To use your own mask, see `keras_reg.regularizers.MaskSparsity`.

    Args:
        strength: Float. The factor of the penalty. Defaults to `0.0005`.
        mask_epoch: Integer. The epoch, counted from 0, at whose start the mask is made.
        threshold: Float. The largest magnitude of a scale that is marked. Defaults to `0.01`.
        kind: String. The penalty of the marked scales, `"l1"` or `"l2"`. Defaults to `"l1"`.
        include: String, class, Callable or a list of these. Selects batch normalizations, as in
            `keras_reg.apply_regularizer`: a pattern of layer names such as `"block1_*"`, a layer class, a function of
            the layer, or a list of these. A callback with a class here cannot be serialized. Defaults to `None`, which
            selects all.
        exclude: Selects batch normalizations to leave out, in the same form. Defaults to `None`.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the mask. Defaults to `True`.

    Attributes:
        masks: List of arrays, one for each batch normalization, that are 1 where a scale is penalized. It is set at the
            start of `fit`.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model trains no selected scale.

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
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    callback = keras_reg.callbacks.SparsityMask(1e-3, mask_epoch=50)
    model.fit(images, labels, epochs=100, callbacks=[callback])
    smaller = keras_reg.prune(model, threshold=0.01)
    ```

    Reference:

    - [Jiang et al., 2022](https://arxiv.org/abs/2201.06776): Pruning-aware Sparse Regularization for Network
      Pruning
    """

    term_names = ("mask_sparsity",)

    def __init__(
        self,
        strength: float = 5e-4,
        *,
        mask_epoch: int,
        threshold: float = SMALL_SCALE,
        kind: str = "l1",
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
        save_memory: bool = True,
    ) -> None:
        super().__init__(strength, include, exclude, save_memory)
        self.mask_epoch = check_integer("mask_epoch", mask_epoch, at_least=0)
        self.threshold = check_number("threshold", threshold)
        self.kind = check_choice("kind", kind, KINDS)
        self._masks: ArrayState
        self._made: Scalar

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = {name: getattr(self, name) for name in ("mask_epoch", "threshold", "kind", "save_memory")}
        return {**super().get_config(), **config}

    @property
    def masks(self) -> list[Array]:
        """Returns an array for each batch normalization that is 1 where its scale is penalized."""
        return [np.asarray(ops.convert_to_numpy(mask)) for mask in self._masks.values]

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the state: masks of ones, and a number that is 1 once the masks are made."""
        self._masks = ArrayState([np.ones(scale.shape, "float32") for scale in self.scales], "masks")
        self._made = Scalar("made")
        return [self._masks, self._made]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Makes the masks at the start of `mask_epoch`, or later if training starts later."""
        super().on_epoch_begin(epoch, logs)
        if updated_model(self) is None or epoch < self.mask_epoch or ops.convert_to_numpy(self._made.value):
            return
        masks = [np.abs(ops.convert_to_numpy(scale)) <= self.threshold for scale in self.scales]
        if not any(mask.any() for mask in masks):
            smallest = min(np.abs(ops.convert_to_numpy(scale)).min() for scale in self.scales)
            warnings.warn(
                f"No scale is as small as threshold={self.threshold} in epoch {epoch}, so no scale is penalized from "
                f"now on. Use a larger `strength` or a later `mask_epoch`. Received: smallest scale {smallest:.3g}",
                NoEffectWarning,
                stacklevel=2,
            )
        self._masks.set([mask.astype("float32") for mask in masks])
        self._made.set(1.0)

    def penalty(self, scales: list[Tensor]) -> Tensor:
        """Returns the penalty of the marked scales. Before the masks are made, it is L1 of all scales."""
        masks = ops.concatenate([ops.convert_to_tensor(mask) for mask in self._masks.values])
        all_scales = ops.concatenate(scales)
        marked = mask_sparsity_penalty(all_scales, masks, self.kind)
        if self.kind == "l1":
            return marked
        return ops.where(self._made.value > 0, marked, mask_sparsity_penalty(all_scales, masks, "l1"))
