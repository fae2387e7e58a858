"""The area under the risk-coverage curve as a metric."""

from __future__ import annotations

from keras_reg._registry import export
from keras_reg._types import Config, DType, Tensor
from keras_reg._validation import check_boolean, check_integer
from keras_reg.metrics._base import ClassificationMetric
from keras_reg.ops.calibration import (
    binned_area_under_risk_coverage,
    confidence_log_odds,
    risk_coverage_bins,
)


@export("metrics.AreaUnderRiskCoverage", kind="metric", tasks=("calibration",), arxiv="1805.08206", year=2018)
class AreaUnderRiskCoverage(ClassificationMetric):
    """Computes the area under the risk-coverage curve (AURC): it is small if a classifier is unsure where it is wrong.

    A classifier that can abstain answers only its k most confident samples. The area is the error rate of these
    samples, averaged over k. It lies between 0 and 1, and lower is better. Confidence is the probability of the most
    probable class. Published tables multiply the area by 1000.

    The exact area needs every sample. This metric keeps two sums for each of `num_bins` bins. The bins have equal
    widths in the log-odds of the confidence, between -10 and 30. With 1000 bins, confidences of 0.9999 and 0.999999 are
    115 bins apart. Within a bin, samples are assumed to be in random order. The area is exact if each bin contains
    only one confidence.

    Differences from the exact area (`tests/metrics/test_area_under_risk_coverage.py`):

    - With 1000 bins, the measured difference is at most 3e-3 for 200 samples, 1e-3 for 2000 and 2e-4 for 50,000. These
        values cover 2 to 1000 classes.
    - Log-odds above 30 are not distinguished. With half of the samples there, the measured difference is 0.01.
    - If all samples fall into one bin, the result is the error rate.

    For the exact area, call `keras_reg.ops.area_under_risk_coverage` on the predictions of the whole set.

    Labels are integers of shape (batch,) or (batch, 1), or one-hot or soft rows, of which the largest entry is the
    label. Additional dimensions, such as those of sequences, are flattened. Keras masks are not used: pass
    `sample_weight`, with `compile(weighted_metrics=[...])`. A sample of weight 2 counts as two samples. The result is
    NaN for an integer that is not a class, and for predictions outside of [0, 1] without `from_logits`. Samples of
    weight 0 are ignored.

    Args:
        num_bins: Integer. The number of bins. Defaults to `1000`.
        excess: Boolean. Whether to subtract the area of a perfect ranking with the same accuracy (E-AURC). Defaults to
            `False`.
        from_logits: Boolean. Whether the predictions are logits, as from a model without softmax. Defaults to `False`.
        name: String. The name in the logs. Defaults to `"area_under_risk_coverage"`.
        dtype: String. `"float32"` or `"float64"`. `None` selects float32, also under mixed precision. Defaults to
            `None`.

    Raises:
        ValueError: If an argument is out of range, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.AreaUnderRiskCoverage(from_logits=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy", metric])
    results = model.evaluate(x_val, y_val, return_dict=True)
    results["area_under_risk_coverage"]
    ```

    Reference:

    - [Geifman et al., 2018](https://arxiv.org/abs/1805.08206): Bias-Reduced Uncertainty Estimation for Deep Neural
      Classifiers. The binning is not in the paper. The excess subtracts the exact area of the perfect ranking and not
      the paper's approximation of it.
    """

    def __init__(
        self,
        num_bins: int = 1000,
        *,
        excess: bool = False,
        from_logits: bool = False,
        name: str = "area_under_risk_coverage",
        dtype: DType = None,
    ) -> None:
        super().__init__(from_logits=from_logits, name=name, dtype=dtype)
        self.excess = check_boolean("excess", excess)
        self.num_bins = check_integer("num_bins", num_bins)
        self.bins = self.add_variable((self.num_bins, 2), "zeros", self.dtype, name="bins")

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
        self.bins.assign_add(risk_coverage_bins(confidence_log_odds(probabilities), correct, self.num_bins, weights))

    def result(self) -> Tensor:
        """Returns the area for all samples since the last reset, from 0 to 1. It is 0 without samples."""
        return binned_area_under_risk_coverage(self.bins, self.excess)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"num_bins": self.num_bins, "excess": self.excess, **super().get_config()}
