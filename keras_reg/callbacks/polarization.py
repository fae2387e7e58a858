"""Polarization of batch-normalization scales as a callback."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg.callbacks._scale_penalty import ScalePenalty
from keras_reg.ops.polarization import polarization_penalty, polarization_threshold
from keras_reg.surgery._select import LayerPatterns


@export(
    "callbacks.Polarization",
    kind="callback",
    tasks=("compression",),
    tunable={"strength": Range(1e-05, 0.001, log=True), "sparsity": Range(1.0, 1.5)},
    year=2020,
)
class Polarization(ScalePenalty):
    """Pulls the scales of all batch normalizations to 0 or to a large value, so that channels can be removed.

    L1 makes all scales smaller, including those of channels that stay. The polarization penalty is small only if each
    scale is either 0 or large. It selects channels over the whole model: `sparsity` sets their overall share, which can
    differ between layers. After each step the scales are clipped to the range from 0 to `max_scale`. After `fit`,
    `keras_reg.prune` creates the smaller model.

    Give the batch normalizations `gamma_initializer=keras.initializers.Constant(0.5)`, as the authors do. With 1, all
    scales would start at the upper end.

    Args:
        strength: Float. The factor of the penalty. The authors use 2.5e-5 to 8e-5, for sums over thousands of scales.
        sparsity: Float. The weight t of the L1 part, from -2 to 2. Without any other loss, the share 1/2 - t/4 of the
            scales would stay. Defaults to `1.2`.
        max_scale: Float. The upper end of the scales, above 0. Defaults to `1.0`.
        include: String, class, Callable or a list of these. Selects batch normalizations, as in
            `keras_reg.apply_regularizer`: a pattern of layer names such as `"block1_*"`, a layer class, a function of
            the layer, or a list of these. A callback with a class here cannot be serialized. Defaults to `None`, which
            selects all.
        exclude: Selects batch normalizations to leave out, in the same form. Defaults to `None`.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model trains no selected scale.

    Example:

    ```python
    start = keras.initializers.Constant(0.5)
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=4, use_bias=False),
        keras.layers.BatchNormalization(gamma_initializer=start),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    callback = keras_reg.callbacks.Polarization(1e-3)
    model.fit(images, labels, epochs=100, callbacks=[callback])
    smaller = keras_reg.prune(model, callback.threshold())
    ```

    Reference:

    - Zhuang et al., NeurIPS 2020: Neuron-level Structured Pruning using Polarization Regularizer, with the
      authors' alpha of 1
    """

    term_names = ("polarization",)

    def __init__(
        self,
        strength: float,
        *,
        sparsity: float = 1.2,
        max_scale: float = 1.0,
        include: LayerPatterns = None,
        exclude: LayerPatterns = None,
    ) -> None:
        super().__init__(strength, include, exclude)
        self.sparsity = check_number("sparsity", sparsity, at_least=-2.0, at_most=2.0)
        self.max_scale = check_number("max_scale", max_scale, above=0.0)
        self._constraints: list[Any] = []

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "sparsity": self.sparsity, "max_scale": self.max_scale}

    def penalty(self, scales: list[Tensor]) -> Tensor:
        """Returns the penalty of the scales of all layers together."""
        return polarization_penalty(ops.concatenate(scales), self.sparsity)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on, and adds constraints that clip the scales."""
        super().on_train_begin(logs)
        if self.strength:
            self._constraints = [scale.constraint for scale in self.scales]
            for scale in self.scales:
                scale.constraint = _ClipScales(scale.constraint, self.max_scale)

    def detach(self) -> None:
        """Removes everything that the method added to the model."""
        for scale, constraint in zip(self.scales, self._constraints, strict=False):
            scale.constraint = constraint
        self._constraints = []
        super().detach()

    def threshold(self) -> float:
        """Returns the first valley of the histogram of the trained scales, where they can be cut.

        Returns:
            The threshold for `keras_reg.prune`. It is 0 if there is no valley.

        Raises:
            ValueError: Before the first `fit`.
        """
        if self.model is None or not self.scales:
            raise ValueError("There are no scales before `fit`. Received: a callback that has trained no model")
        return polarization_threshold(np.concatenate([ops.convert_to_numpy(scale) for scale in self.scales]))


class _ClipScales(keras.constraints.Constraint):
    """Clips scales from 0 to a largest scale, after the constraint that the user gave them.

    Args:
        constraint: The user's constraint, or `None`.
        max_scale: The largest scale.
    """

    def __init__(self, constraint: Any, max_scale: float) -> None:
        self.constraint = constraint
        self.max_scale = max_scale

    def __call__(self, w: Tensor) -> Tensor:
        return ops.clip(w if self.constraint is None else self.constraint(w), 0.0, self.max_scale)
