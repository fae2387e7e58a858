"""The expected calibration error as a metric."""

from __future__ import annotations

from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, DType, Tensor
from keras_reg._validation import check_integer
from keras_reg.metrics._base import ClassificationMetric
from keras_reg.ops.calibration import calibration_bins, calibration_error


@export("metrics.ExpectedCalibrationError", kind="metric", tasks=("calibration",), arxiv="1706.04599", year=2017)
class ExpectedCalibrationError(ClassificationMetric):
    """Computes the mean distance between the confidence and the accuracy of a classifier, from 0 to 1.

    The confidence of a sample is the probability of its most probable class. Samples are sorted into bins of equal
    width, (lower, upper]. For each bin, the metric computes the distance between mean confidence and accuracy. The
    result is the average over the samples. Published tables often use percent: multiply by 100.

    The state consists of three sums per bin, so batches, replicas and sample weights are exact. The error depends on
    the number of bins and is biased upwards for few samples. Compare only values with the same number of bins and of
    samples. Values of a training epoch mix the states of the model during that epoch: use validation values instead.

    Labels are integers of shape (batch,) or (batch, 1), or one-hot or soft rows, of which the largest entry is the
    label. Additional dimensions, such as those of sequences, are flattened. Keras masks are not used: pass
    `sample_weight`, with `compile(weighted_metrics=[...])`. The result is NaN for an integer that is not a class, and
    for predictions outside of [0, 1] without `from_logits`. Samples of weight 0 are ignored.

    Args:
        num_bins: Integer. The number of bins. The paper uses 15, and much of the literature 10. Defaults to `10`.
        from_logits: Boolean. Whether the predictions are logits, as from a model without softmax. Defaults to `False`.
        name: String. The name in the logs. Defaults to `"expected_calibration_error"`.
        dtype: String. `"float32"` or `"float64"`. `None` selects float32, also under mixed precision. Defaults to
            `None`.

    Attributes:
        bins: A `keras.Variable` of shape (num_bins, 3). Each row holds the count, the summed confidence and the number
            of correct samples of a bin, as a reliability diagram shows them.

    Raises:
        ValueError: If an argument is out of range, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.ExpectedCalibrationError(from_logits=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy", metric])
    results = model.evaluate(x_val, y_val, return_dict=True)
    results["expected_calibration_error"]
    ```

    Reference:

    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599): On Calibration of Modern Neural Networks, equation 3
    """

    def __init__(
        self,
        num_bins: int = 10,
        *,
        from_logits: bool = False,
        name: str = "expected_calibration_error",
        dtype: DType = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, dtype=dtype)
        self.num_bins = check_integer("num_bins", num_bins)
        self.bins = self.add_variable((self.num_bins, 3), "zeros", self.dtype, name="bins")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            y_true: Labels of shape (batch,), (batch, 1) or (batch, num_classes).
            y_pred: Class probabilities or logits of shape (batch, num_classes).
            sample_weight: Weights of the samples, at least 0, of shape (batch,) or (batch, 1).
        """
        labels, predictions, weights = self.flatten_batch(y_true, y_pred, sample_weight)
        probabilities = self.to_probabilities(predictions)
        correct = self.compare_with_labels(labels, probabilities)
        self.bins.assign_add(calibration_bins(ops.max(probabilities, axis=-1), correct, self.num_bins, weights))

    def result(self) -> Tensor:
        """Returns the error of all samples since the last reset, from 0 to 1. It is 0 without samples."""
        return calibration_error(self.bins)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"num_bins": self.num_bins, **super().get_config()}
