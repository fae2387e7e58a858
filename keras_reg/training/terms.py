"""What a term of the training objective is made from, and how it reaches the loss and the logs."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the training step knows of one batch, on one replica.

    Attributes:
        x: The inputs as the model gets them, with every extra key.
        y: The labels, as rewritten so far.
        y_pred: The predictions of the training forward pass.
        sample_weight: The sample weights (class weights included), or `None`.
        labels: The labels as `fit` received them, before any callback rewrote them.
    """

    x: Any
    y: Any
    y_pred: Any
    sample_weight: Any
    labels: Any


class MeanOverBatch(keras.losses.Loss):
    """Per-sample values -> the scalar that Keras makes of a loss: weighted, averaged, scaled for the replicas.

    The values come first. Second comes what may have a mask, as predictions of padded sequences have: masked values
    count as little as in a loss of these predictions.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values."""
        return y_true


class Term(keras.metrics.Metric):
    """One term of the objective: its contribution to the loss, and its mean over the epoch for the logs."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.mean = keras.metrics.Mean(name=name)
        self._reduce = MeanOverBatch(dtype=compute_dtype(), name=name)

    def add(self, values: Any, sample_weight: Any, y_pred: Any = None) -> Any:
        """The contribution of per-sample `values`, shape (batch,), to the training loss; with the mask of `y_pred`."""
        contribution = self._reduce(values, ops.zeros_like(values) if y_pred is None else y_pred, sample_weight)
        unscaled = ops.stop_gradient(contribution) * replicas.num_replicas()
        self.mean.update_state(unscaled, sample_weight=ops.shape(values)[0])
        return contribution

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """The same as `add`, under the name that metrics have."""
        self.add(values, sample_weight)

    def result(self) -> Any:
        """The mean contribution since the epoch began."""
        return self.mean.result()

    def reset_state(self) -> None:
        """Starts a new epoch."""
        self.mean.reset_state()
