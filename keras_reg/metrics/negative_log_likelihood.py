"""The negative log-likelihood as a metric."""

from __future__ import annotations

from keras import ops

from keras_reg._registry import export
from keras_reg._types import DType, Tensor
from keras_reg.metrics._base import ClassificationMetric, is_class

#: The smallest normal float32, so that the logarithm stays finite.
_FLOOR = 1.17549435e-38


@export("metrics.NegativeLogLikelihood", kind="metric", tasks=("calibration",))
class NegativeLogLikelihood(ClassificationMetric):
    """Computes the negative log-likelihood of the labels, the mean of -log p_y, in nats.

    This is the cross-entropy of the predictions, regardless of the loss that the model is trained with. It contains no
    label smoothing, no class weights, no regularization and no terms that callbacks add.

    Labels are integers of shape (batch,) or (batch, 1), or one-hot rows. For soft rows, the metric is the
    cross-entropy. Additional dimensions, such as those of sequences, are flattened. Keras masks are not used: pass
    `sample_weight`, with `compile(weighted_metrics=[...])`. The result is NaN for an integer that is not a class, and
    for predictions outside of [0, 1] without `from_logits`. Samples of weight 0 are ignored.

    Args:
        from_logits: Boolean. Whether the predictions are logits, as from a model without softmax. Defaults to `False`.
            Logits give the exact value. Probabilities are floored at 1.2e-38 (the smallest normal float32), so a label
            of probability 0 costs 87.3 nats. The losses of Keras floor at 1e-7, which hides everything beyond 16.1
            nats. A softmax in half precision has already lost small probabilities.
        name: String. The name in the logs. Defaults to `"negative_log_likelihood"`.
        dtype: String. `"float32"` or `"float64"`. `None` selects float32, also under mixed precision. Defaults to
            `None`.

    Raises:
        ValueError: If an argument has a wrong type, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.NegativeLogLikelihood(from_logits=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy", metric])
    results = model.evaluate(x_val, y_val, return_dict=True)
    results["negative_log_likelihood"]
    ```

    Reference:

    - I. J. Good, 1952: Rational Decisions, the logarithmic score
    """

    def __init__(
        self, *, from_logits: bool = False, name: str = "negative_log_likelihood", dtype: DType = None
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            y_true: Labels of shape (batch,), (batch, 1) or (batch, num_classes).
            y_pred: Class probabilities or logits of shape (batch, num_classes).
            sample_weight: Weights of the samples, at least 0, of shape (batch,) or (batch, 1).
        """
        labels, predictions, weights = self.flatten_batch(y_true, y_pred, sample_weight)
        if self.from_logits:
            log_p = ops.log_softmax(predictions, axis=-1)
        else:
            log_p = ops.log(ops.maximum(self.to_probabilities(predictions), _FLOOR))
        if len(labels.shape) > 1:
            values = -ops.sum(ops.cast(labels, self.dtype) * log_p, axis=-1)
        else:
            index = ops.expand_dims(ops.clip(labels, 0, log_p.shape[-1] - 1), -1)
            values = -ops.squeeze(ops.take_along_axis(log_p, index, axis=-1), -1)
            values = ops.where(is_class(labels, log_p), values, float("nan"))
        if weights is None:
            weights = ops.ones_like(values)
        # The product of a weight of 0 and a value of NaN would be NaN.
        self.total.assign_add(ops.sum(ops.where(weights == 0.0, 0.0, weights * values)))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Tensor:
        """Returns the mean of all samples since the last reset. It is 0 without samples."""
        return ops.divide_no_nan(self.total, self.count)
