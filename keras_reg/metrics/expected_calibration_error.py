"""The expected calibration error as a metric."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg.metrics._base import ClassificationMetric
from keras_reg.ops.calibration import calibration_bins, calibration_error, check_num_bins


@export("metrics.ExpectedCalibrationError", kind="metric", arxiv="1706.04599", year=2017)
class ExpectedCalibrationError(ClassificationMetric):
    """The expected calibration error: how far a classifier's confidence is from its accuracy, 0 to 1.

    The confidence of a sample is the probability of its most probable class. Samples are sorted into bins of equal
    width, (lower, upper], and the distance between mean confidence and accuracy of the bins is averaged over the
    samples. Published tables often give percent: multiply by 100.

    The state is three sums per bin, so batches, replicas and sample weights are exact. The error depends on the number
    of bins and is biased upwards for few samples: compare only with the same of both. Numbers of one training epoch
    mix the model's states during that epoch; take those of validation.

    Labels are integers, (batch,) or (batch, 1), or one-hot or soft rows, whose largest entry counts; more dimensions,
    as of sequences, are flattened. Keras masks are not read: give `sample_weight`, with
    `compile(weighted_metrics=[...])`. An integer that is no class, or predictions outside of 0 ... 1 without
    `from_logits`, make the result NaN, unless the sample's weight is 0.

    Args:
        num_bins: The number of bins. The paper takes 15, much of the literature 10.
        from_logits: Whether the predictions are logits, as of a model without softmax.
        name: The name in the logs.
        dtype: `"float32"` or `"float64"`; `None` is float32, under mixed precision too.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.ExpectedCalibrationError(from_logits=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy", metric])
    model.evaluate(x_val, y_val, return_dict=True)["expected_calibration_error"]
    metric.bins  # count, summed confidence and number of correct samples of each bin: a reliability diagram
    ```

    Source: Chuan Guo, Geoff Pleiss, Yu Sun, Kilian Q. Weinberger, On Calibration of Modern Neural Networks,
    arXiv 1706.04599, 2017, eq. 3.
    """

    def __init__(
        self,
        num_bins: int = 10,
        from_logits: bool = False,
        name: str = "expected_calibration_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, name, dtype)
        self.num_bins = check_num_bins(num_bins)
        self.bins = self.add_variable((self.num_bins, 3), "zeros", self.dtype, name="bins")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Labels, (batch,), (batch, 1) or (batch, num_classes).
            y_pred: Class probabilities or logits, (batch, num_classes).
            sample_weight: How often each sample counts, at least 0, (batch,) or (batch, 1).
        """
        labels, predictions, weights = self.read(y_true, y_pred, sample_weight)
        probabilities = self.probabilities(predictions)
        correct = self.correct(labels, probabilities)
        self.bins.assign_add(calibration_bins(ops.max(probabilities, axis=-1), correct, self.num_bins, weights))

    def result(self) -> Any:
        """The error of all samples since the last reset, 0 to 1; 0 without samples."""
        return calibration_error(self.bins)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"num_bins": self.num_bins, **super().get_config()}
