"""The area under the risk-coverage curve as a metric."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import export
from keras_reg.metrics._base import ClassificationMetric
from keras_reg.ops.calibration import (
    binned_area_under_risk_coverage,
    check_num_bins,
    confidence_log_odds,
    risk_coverage_bins,
)


@export("metrics.AreaUnderRiskCoverage", kind="metric", arxiv="1805.08206", year=2018)
class AreaUnderRiskCoverage(ClassificationMetric):
    """The area under the risk-coverage curve (AURC): whether a classifier is wrong where it is unsure, 0 to 1.

    A classifier that may abstain answers its k most confident samples; the area is the error rate of those, averaged
    over k. Lower is better. Confidence is the probability of the most probable class. Published tables multiply it by
    1000.

    The exact area needs every sample. The metric keeps two sums for each of `num_bins` bins of equal width of the
    log-odds of the confidence, between -10 and 30, where confidences of 0.9999 and 0.999999 are 115 of 1000 bins apart.
    Within a bin, samples are taken to come in random order; the area is exact if each bin holds one confidence.
    Measured difference to the exact area with 1000 bins, for 2 to 1000 classes: at most 3e-3 for 200 samples, 1e-3 for
    2000, 2e-4 for 50,000 (`tests/metrics/test_area_under_risk_coverage.py`). Log-odds above 30 are not told apart:
    0.01 was measured with half of the samples there. If all samples fall into one bin, the result is the error rate.
    For the exact area call `keras_reg.ops.area_under_risk_coverage` on the predictions of the whole set.

    Labels are integers, (batch,) or (batch, 1), or one-hot or soft rows, whose largest entry counts; more dimensions,
    as of sequences, are flattened. Keras masks are not read: give `sample_weight`, with
    `compile(weighted_metrics=[...])`; a sample of weight 2 counts as two. An integer that is no class, or predictions
    outside of 0 ... 1 without `from_logits`, make the result NaN, unless the sample's weight is 0.

    Args:
        num_bins: The number of bins.
        excess: Whether to subtract the area of a perfect ranking with the same accuracy (E-AURC).
        from_logits: Whether the predictions are logits, as of a model without softmax.
        name: The name in the logs.
        dtype: `"float32"` or `"float64"`; `None` is float32, under mixed precision too.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if shapes of labels and predictions disagree.

    Example:

    ```python
    metric = keras_reg.metrics.AreaUnderRiskCoverage(from_logits=True)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy", metric])
    model.evaluate(x_val, y_val, return_dict=True)["area_under_risk_coverage"]
    ```

    Source: Yonatan Geifman, Guy Uziel, Ran El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers,
    arXiv 1805.08206, 2018. The binning is of this package. The excess subtracts the exact area of the perfect ranking,
    not the paper's approximation of it.
    """

    def __init__(
        self,
        num_bins: int = 1000,
        excess: bool = False,
        from_logits: bool = False,
        name: str = "area_under_risk_coverage",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, name, dtype)
        if not isinstance(excess, bool):
            raise ValueError(f"`excess` must be True or False. Received: excess={excess!r}")
        self.num_bins = check_num_bins(num_bins)
        self.bins = self.add_variable((self.num_bins, 2), "zeros", self.dtype, name="bins")
        self.excess = excess

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
        self.bins.assign_add(risk_coverage_bins(confidence_log_odds(probabilities), correct, self.num_bins, weights))

    def result(self) -> Any:
        """The area for all samples since the last reset, 0 to 1; 0 without samples."""
        return binned_area_under_risk_coverage(self.bins, self.excess)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {"num_bins": self.num_bins, "excess": self.excess, **super().get_config()}
