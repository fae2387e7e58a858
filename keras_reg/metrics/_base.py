"""What the metrics of a classifier have in common: they read labels and predictions of every usual form."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

#: How far a number may be outside of 0 ... 1 and still be a probability that was rounded.
_ROUNDING = 1e-2


class ClassificationMetric(keras.metrics.Metric):
    """A metric of class probabilities or logits whose state is sums over samples.

    Sums of replicas, and of batches, are added, so that the result is that of all samples at once.

    Args:
        from_logits: Whether the predictions are logits.
        name: The name in the logs.
        dtype: `"float32"` or `"float64"`; `None` is float32, whatever the model computes in.

    Raises:
        ValueError: If an argument has a wrong type.
    """

    def __init__(self, from_logits: bool, name: str, dtype: Any) -> None:
        if not isinstance(from_logits, bool):
            raise ValueError(f"`from_logits` must be True or False. Received: from_logits={from_logits!r}")
        super().__init__(name=name, dtype=dtype or "float32")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(
                "`dtype` must be float32 or float64: sums of smaller floats stop growing, bfloat16 at 256 samples. "
                f"Received: dtype={dtype!r}"
            )
        self.from_logits = from_logits

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"from_logits": self.from_logits, **super().get_config()}

    def read(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Brings labels, predictions and weights to one row per sample.

        Returns:
            Labels, (n,) as integers or (n, num_classes) as given; predictions, (n, num_classes); weights, (n,), or
            `None`.
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
        if not _compatible(batch, tuple(y_pred.shape[:-1])):
            raise ValueError(
                "`y_true` must hold integer classes, shape (batch,) or (batch, 1), or one-hot rows of the shape of "
                f"`y_pred`. Received: y_true of shape {tuple(y_true.shape)}, y_pred of shape {tuple(y_pred.shape)}"
            )
        labels = ops.reshape(y_true, (-1, num_classes)) if one_hot else ops.cast(ops.reshape(y_true, (-1,)), "int32")
        weights = None if sample_weight is None else self._weights(sample_weight, y_pred)
        return labels, ops.reshape(y_pred, (-1, num_classes)), weights

    def _weights(self, sample_weight: Any, y_pred: Any) -> Any:
        weights = ops.cast(sample_weight, self.dtype)
        rank = len(y_pred.shape) - 1
        if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
            weights = ops.squeeze(weights, -1)
        while len(weights.shape) < rank:  # one weight for each sequence
            weights = ops.expand_dims(weights, -1)
        allowed = zip(weights.shape, y_pred.shape, strict=False)
        if len(weights.shape) > rank or not all(1 in (w, p) or _compatible((w,), (p,)) for w, p in allowed):
            raise ValueError(
                "`sample_weight` must have one entry for each sample. "
                f"Received: shape {tuple(weights.shape)} for y_pred of shape {tuple(y_pred.shape)}"
            )
        return ops.reshape(ops.broadcast_to(weights, ops.shape(y_pred)[:-1]), (-1,))

    def probabilities(self, predictions: Any) -> Any:
        """Class probabilities; rows of NaN where what should be probabilities cannot be any."""
        if self.from_logits:
            return ops.softmax(predictions, axis=-1)
        # Logits taken for probabilities would give a plausible number: NaN is seen, also where nothing can be raised.
        smallest, largest = (f(predictions, axis=-1, keepdims=True) for f in (ops.min, ops.max))
        possible = ops.logical_and(smallest >= -_ROUNDING, largest <= 1.0 + _ROUNDING)
        return ops.where(possible, predictions, float("nan"))

    def correct(self, labels: Any, probabilities: Any) -> Any:
        """Whether the most probable class is the label, 0 or 1; NaN where it cannot be told."""
        predicted = ops.cast(ops.argmax(probabilities, axis=-1), "int32")
        known = ops.logical_not(ops.isnan(ops.sum(probabilities, axis=-1)))
        if len(labels.shape) > 1:
            labels = ops.cast(ops.argmax(labels, axis=-1), "int32")
        else:
            known = ops.logical_and(known, is_class(labels, probabilities))
        return ops.where(known, ops.cast(predicted == labels, self.dtype), float("nan"))


def is_class(labels: Any, predictions: Any) -> Any:
    """Whether integer labels are between 0 and num_classes - 1."""
    return ops.logical_and(labels >= 0, labels < predictions.shape[-1])


def _compatible(first: tuple[int | None, ...], second: tuple[int | None, ...]) -> bool:
    """Whether two shapes can be the same, as far as they are known."""
    return len(first) == len(second) and all(a == b or None in (a, b) for a, b in zip(first, second, strict=True))
