"""The categorical cross-entropy that a model was compiled with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._keras.dtypes import compute_dtype
from keras_reg.training._outputs import compiled_loss, loss_setting, loss_takes_logits, loss_weight

_SPARSE = keras.losses.SparseCategoricalCrossentropy, keras.losses.sparse_categorical_crossentropy
_ONE_HOT = keras.losses.CategoricalCrossentropy, keras.losses.categorical_crossentropy


class CompiledCrossEntropy:
    """Reads labels and predictions as the compiled cross-entropy of an output reads them.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` if the model has only one.

    Raises:
        ValueError: If the loss is not the mean of a categorical cross-entropy over the last axis.
    """

    def __init__(self, model: keras.Model, output: str | None) -> None:
        loss = compiled_loss(model, output)
        self.sparse = loss in _SPARSE or isinstance(loss, _SPARSE[0])
        if not self.sparse and loss not in _ONE_HOT and not isinstance(loss, _ONE_HOT[0]):
            raise ValueError(
                "This method works on categorical cross-entropy. Compile the model with "
                "`keras.losses.SparseCategoricalCrossentropy` or `keras.losses.CategoricalCrossentropy`, and give a "
                f"binary classifier two outputs. Received: loss={loss!r}"
            )
        if loss_setting(loss, "ignore_class", None) is not None or loss_setting(loss, "axis", -1) != -1:
            raise ValueError(
                "This method needs a loss over the last axis without `ignore_class`. To leave samples out, give them a "
                f"sample weight of 0. Received: loss with {loss.get_config()}"
            )
        reduction = loss_setting(loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "This method needs a loss that is the mean over the batch, as its own terms are. Compile the model "
                f"with `reduction='sum_over_batch_size'`. Received: reduction={reduction!r}"
            )
        self.logits = loss_takes_logits(model, output)
        self.smoothing = float(loss_setting(loss, "label_smoothing", 0.0))
        self.weight = loss_weight(model, output)

    def targets(self, labels: Any, y_pred: Any) -> Any:
        """Returns the labels as distributions in the shape of `y_pred`, smoothed as the loss smooths them."""
        num_classes = y_pred.shape[-1]
        if self.sparse:
            labels = ops.reshape(labels, ops.shape(y_pred)[:-1])
            labels = ops.one_hot(ops.cast(labels, "int32"), num_classes, dtype=compute_dtype())
        return ops.cast(labels, compute_dtype()) * (1.0 - self.smoothing) + self.smoothing / num_classes

    def probabilities(self, y_pred: Any) -> tuple[Any, Any]:
        """Returns the predicted probabilities, and their logarithms as the loss computes them."""
        y_pred = ops.cast(y_pred, compute_dtype())
        if self.logits:
            return ops.softmax(y_pred), ops.log_softmax(y_pred)
        epsilon = keras.config.epsilon()
        probabilities = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
        return probabilities, ops.log(ops.clip(probabilities, epsilon, 1.0 - epsilon))
