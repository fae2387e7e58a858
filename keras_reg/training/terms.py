"""The batch that hooks receive, and the terms of the objective in the loss and the logs."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype


@dataclasses.dataclass(frozen=True)
class Batch:
    """Holds one batch of the training step, on one replica.

    Attributes:
        x: The inputs as the model receives them, with every extra key.
        y: The labels, as the callbacks have rewritten them so far.
        y_pred: The predictions of the forward pass in training mode.
        sample_weight: The sample weights as the callbacks have rewritten them so far, class weights included, or
            `None`.
        labels: The labels as `fit` received them.
    """

    x: Any
    y: Any
    y_pred: Any
    sample_weight: Any
    labels: Any


class MeanOverBatch(keras.losses.Loss):
    """Reduces per-sample values to a scalar like a Keras loss: weighted, averaged, and scaled for the replicas.

    The first argument is the values. The second argument may have a Keras mask, such as predictions of padded
    sequences. Masked values are left out, as in a loss of these predictions.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the values."""
        return y_true


class Term(keras.metrics.Metric):
    """Computes the contribution of one term to the loss, and its mean over the epoch for the logs."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.mean = keras.metrics.Mean(name=name)
        self._reduce = MeanOverBatch(dtype=compute_dtype(), name=name)

    def add(self, values: Any, sample_weight: Any, y_pred: Any = None) -> Any:
        """Returns the contribution of per-sample `values`, shape (batch,), to the loss, with the mask of `y_pred`."""
        contribution = self._reduce(values, ops.zeros_like(values) if y_pred is None else y_pred, sample_weight)
        unscaled = ops.stop_gradient(contribution) * replicas.num_replicas()
        self.mean.update_state(unscaled, sample_weight=ops.shape(values)[0])
        return contribution

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Calls `add`, under the name that Keras's metrics use."""
        self.add(values, sample_weight)

    def result(self) -> Any:
        """Returns the mean contribution since the epoch began."""
        return self.mean.result()

    def reset_state(self) -> None:
        """Resets the mean for a new epoch."""
        self.mean.reset_state()
