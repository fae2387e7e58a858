"""Polarization of batch-normalization scales as a callback."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.callbacks._scale_penalty import Names, ScalePenalty
from keras_reg.ops.polarization import polarization_penalty, polarization_threshold


@export("callbacks.Polarization", kind="callback", year=2020)
class Polarization(ScalePenalty):
    """Polarization: draws the scales of all batch normalizations to 0 or to a large value, so that channels can go.

    L1 makes all scales smaller, those too of channels that stay. Here the penalty is small only where scales are of two
    kinds. Which channels go is decided over the whole model: `sparsity` says how many, each layer may lose its own
    share. After each step the scales are clipped to 0 to `max_scale`; afterwards `keras_reg.prune` makes the smaller
    model.

    Give the batch normalizations `gamma_initializer=keras.initializers.Constant(0.5)`, as the authors do: from 1 all
    scales begin at the upper end.

    Args:
        strength: The factor of the penalty. The authors take 2.5e-5 to 8e-5, for sums over thousands of scales.
        sparsity: t, between -2 and 2. Were there no other loss, the share 1/2 - t/4 of the scales would stay.
        max_scale: The upper end of the scales, above 0.
        include: Names of the batch normalizations to take, as patterns such as `"block1_*"`; `None` for all.
        exclude: Names of those to leave out.

    Raises:
        ValueError: If an argument is out of its range, or, at the start of `fit`, if the model trains no such scale.

    Example:

    ```python
    model = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(16, 3, strides=4, use_bias=False),
        keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(0.5)),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = keras_reg.callbacks.Polarization(1e-3)
    model.fit(images, labels, epochs=100, callbacks=[callback])
    smaller = keras_reg.prune(model, callback.threshold())
    ```

    Source: Tao Zhuang, Zhixuan Zhang, Yuheng Huang, Xiaoyi Zeng, Kai Shuang, Xiang Li, Neuron-level Structured Pruning
    using Polarization Regularizer, NeurIPS 2020, with their alpha of 1.
    """

    term_names = ("polarization",)

    def __init__(
        self,
        strength: float,
        sparsity: float = 1.2,
        max_scale: float = 1.0,
        include: Names = None,
        exclude: Names = None,
    ) -> None:
        super().__init__(strength, include, exclude)
        if not isinstance(sparsity, (int, float)) or not -2 <= sparsity <= 2:
            raise ValueError(f"`sparsity` must be a number between -2 and 2. Received: sparsity={sparsity!r}")
        self.sparsity = float(sparsity)
        self.max_scale = check_number("max_scale", max_scale, above=0)
        self._constraints: list[Any] = []

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "sparsity": self.sparsity, "max_scale": self.max_scale}

    def penalty(self, scales: list[Any]) -> Any:
        """The penalty of all scales together."""
        return polarization_penalty(ops.concatenate(scales), self.sparsity)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on, with the limits of the scales."""
        super().on_train_begin(logs)
        if self.strength:
            self._constraints = [scale.constraint for scale in self.scales]
            for scale in self.scales:
                scale.constraint = _Between(scale.constraint, self.max_scale)

    def detach(self) -> None:
        """Takes everything off the model that the method put on it."""
        for scale, constraint in zip(self.scales, self._constraints, strict=False):
            scale.constraint = constraint
        self._constraints = []
        super().detach()

    def threshold(self) -> float:
        """Where to cut the scales that were trained: the first valley of their histogram.

        Returns:
            A number for `keras_reg.prune`; 0 where no valley shows.

        Raises:
            ValueError: Before the first `fit`.
        """
        if self.model is None or not self.scales:
            raise ValueError("There are no scales before `fit`. Received: a callback that has trained no model")
        return polarization_threshold(np.concatenate([ops.convert_to_numpy(scale) for scale in self.scales]))


class _Between(keras.constraints.Constraint):
    """0 to a largest scale, after the constraint that the scale has of its own."""

    def __init__(self, own: Any, max_scale: float) -> None:
        self.own = own
        self.max_scale = max_scale

    def __call__(self, w: Any) -> Any:
        return ops.clip(w if self.own is None else self.own(w), 0.0, self.max_scale)
