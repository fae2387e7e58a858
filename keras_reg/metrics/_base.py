"""The base class of the metrics of classifiers."""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._types import Config, DType, Shape, Tensor
from keras_reg._validation import check_boolean, check_string, reject

#: Numbers that are at most this far outside of [0, 1] count as rounded probabilities.
_ROUNDING = 1e-2


class ClassificationMetric(keras.metrics.Metric):
    """Computes a metric of class probabilities or logits whose state consists of sums over samples.

    The sums of batches and of replicas are added, so the result is that of all samples at once.

    Args:
        from_logits: Boolean. Whether the predictions are logits.
        name: String. The name in the logs.
        dtype: String. `"float32"` or `"float64"`. `None` selects float32, regardless of the type of the model.

    Raises:
        ValueError: If an argument has a wrong type.
    """

    def __init__(self, *, from_logits: bool, name: str, dtype: DType) -> None:
        super().__init__(name=check_string("name", name, optional=True), dtype=dtype or "float32")
        if self.dtype not in ("float32", "float64"):
            reject(
                "dtype",
                dtype,
                "must be float32 or float64, because sums in smaller types stop growing, in bfloat16 at 256 samples",
            )
        self.from_logits = check_boolean("from_logits", from_logits)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"from_logits": self.from_logits, **super().get_config()}

    def flatten_batch(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Reshapes labels, predictions and weights to one row per sample.

        Returns:
            Integer labels of shape (n,), or label rows of shape (n, num_classes); predictions of shape
            (n, num_classes); weights of shape (n,), or `None`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, self.dtype)
        num_classes = y_pred.shape[-1] if len(y_pred.shape) > 1 else 0
        if num_classes is None or num_classes < 2:
            raise ValueError(
                f"{type(self).__name__} needs the probabilities or logits of at least 2 classes, shape (batch, "
                "num_classes). Give a binary classifier two outputs, [1 - p, p]. "
                f"Received: y_pred of shape {tuple(y_pred.shape)}"
            )
        one_hot = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == num_classes
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        batch = tuple(y_true.shape[:-1] if one_hot else y_true.shape)
        if not _are_compatible(batch, tuple(y_pred.shape[:-1])):
            raise ValueError(
                "`y_true` must hold integer classes, shape (batch,) or (batch, 1), or one-hot rows of the shape of "
                f"`y_pred`. Received: y_true of shape {tuple(y_true.shape)}, y_pred of shape {tuple(y_pred.shape)}"
            )
        labels = ops.reshape(y_true, (-1, num_classes)) if one_hot else ops.cast(ops.reshape(y_true, (-1,)), "int32")
        weights = None if sample_weight is None else self._flatten_weights(sample_weight, y_pred)
        return labels, ops.reshape(y_pred, (-1, num_classes)), weights

    def _flatten_weights(self, sample_weight: Tensor, y_pred: Tensor) -> Tensor:
        weights = ops.cast(sample_weight, self.dtype)
        rank = len(y_pred.shape) - 1
        if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
            weights = ops.squeeze(weights, -1)
        # One weight per sequence applies to all of its samples.
        while len(weights.shape) < rank:
            weights = ops.expand_dims(weights, -1)
        sizes = zip(weights.shape, y_pred.shape, strict=False)
        if len(weights.shape) > rank or not all(1 in (w, p) or _are_compatible((w,), (p,)) for w, p in sizes):
            raise ValueError(
                "`sample_weight` must have one entry for each sample. "
                f"Received: shape {tuple(weights.shape)} for y_pred of shape {tuple(y_pred.shape)}"
            )
        return ops.reshape(ops.broadcast_to(weights, ops.shape(y_pred)[:-1]), (-1,))

    def to_probabilities(self, predictions: Tensor) -> Tensor:
        """Returns class probabilities, and NaN in rows of predictions that cannot be probabilities."""
        if self.from_logits:
            return ops.softmax(predictions, axis=-1)
        # Logits passed as probabilities would give a plausible number. A compiled step cannot raise, so it returns NaN.
        smallest, largest = (f(predictions, axis=-1, keepdims=True) for f in (ops.min, ops.max))
        possible = ops.logical_and(smallest >= -_ROUNDING, largest <= 1.0 + _ROUNDING)
        return ops.where(possible, predictions, float("nan"))

    def compare_with_labels(self, labels: Tensor, probabilities: Tensor) -> Tensor:
        """Returns 1 where the most probable class is the label, else 0, and NaN for invalid labels or predictions."""
        predicted = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        known = ops.logical_not(ops.isnan(ops.sum(probabilities, axis=-1)))
        if len(labels.shape) > 1:
            labels = ops.cast(ops.argmax(labels, axis=-1), "int32")
        else:
            known = ops.logical_and(known, is_class(labels, probabilities))
        return ops.where(known, ops.cast(predicted == labels, self.dtype), float("nan"))


def is_class(labels: Tensor, predictions: Tensor) -> Tensor:
    """Returns True for integer labels from 0 to num_classes - 1."""
    return ops.logical_and(labels >= 0, labels < predictions.shape[-1])


def _are_compatible(first: Shape, second: Shape) -> bool:
    """Returns True if two shapes can be equal, as far as they are known."""
    return len(first) == len(second) and all(a == b or None in (a, b) for a, b in zip(first, second, strict=True))
