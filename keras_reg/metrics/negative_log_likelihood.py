"""The negative log-likelihood as a metric."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg.metrics._base import ClassificationMetric, is_class

#: The smallest normal float32, so that the logarithm stays finite.
_FLOOR = 1.17549435e-38


@export("metrics.NegativeLogLikelihood", kind="metric")
class NegativeLogLikelihood(ClassificationMetric):
    """The negative log-likelihood of the labels, the mean of -log p_y, in nats.

    It is the plain cross-entropy of the predictions, whatever loss a model is trained with: without label smoothing,
    class weights, regularization or the terms that callbacks add.

    Labels are integers, (batch,) or (batch, 1), or one-hot rows; for soft rows it is the cross-entropy. More
    dimensions, as of sequences, are flattened. Keras masks are not read: give `sample_weight`, with
    `compile(weighted_metrics=[...])`. An integer that is no class, or predictions outside of 0 ... 1 without
    `from_logits`, make the result NaN, unless the sample's weight is 0.

    Args:
        from_logits: Whether the predictions are logits, as of a model without softmax. This is the exact way:
            probabilities are floored at 1.2e-38 (the smallest normal float32), so that a label of probability 0 costs
            87.3 nats. Keras' losses floor at 1e-7, which hides all beyond 16.1 nats. A softmax in half precision has
            lost small probabilities already.
        name: The name in the logs.
        dtype: `"float32"` or `"float64"`; `None` is float32, under mixed precision too.

    Raises:
        ValueError: If an argument has a wrong type, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.NegativeLogLikelihood(from_logits=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy", metric])
    model.evaluate(x_val, y_val, return_dict=True)["negative_log_likelihood"]
    ```

    Source: the logarithmic score, I. J. Good, Rational Decisions, 1952.
    """

    def __init__(self, from_logits: bool = False, name: str = "negative_log_likelihood", dtype: Any = None) -> None:
        super().__init__(from_logits, name, dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Labels, (batch,), (batch, 1) or (batch, num_classes).
            y_pred: Class probabilities or logits, (batch, num_classes).
            sample_weight: How often each sample counts, at least 0, (batch,) or (batch, 1).
        """
        labels, predictions, weights = self.read(y_true, y_pred, sample_weight)
        if self.from_logits:
            log_p = ops.log_softmax(predictions, axis=-1)
        else:
            log_p = ops.log(ops.maximum(self.probabilities(predictions), _FLOOR))
        if len(labels.shape) > 1:
            values = -ops.sum(ops.cast(labels, self.dtype) * log_p, axis=-1)
        else:
            index = ops.expand_dims(ops.clip(labels, 0, log_p.shape[-1] - 1), -1)
            values = -ops.squeeze(ops.take_along_axis(log_p, index, axis=-1), -1)
            values = ops.where(is_class(labels, log_p), values, float("nan"))
        if weights is None:
            weights = ops.ones_like(values)
        self.total.assign_add(ops.sum(ops.where(weights == 0.0, 0.0, weights * values)))  # 0 * NaN would be NaN
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Any:
        """The mean of all samples since the last reset; 0 without samples."""
        return ops.divide_no_nan(self.total, self.count)
