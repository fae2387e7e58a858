"""Measures of how far the confidence of a classifier can be trusted: calibration error, and risk versus coverage.

The statistics of bins are sums over samples, so those of two batches or two replicas can be added.

References:
    - [Guo et al., 2017](https://arxiv.org/abs/1706.04599): On Calibration of Modern Neural Networks, equation 3
    - [Geifman et al., 2018](https://arxiv.org/abs/1805.08206): Bias-Reduced Uncertainty Estimation for Deep Neural
      Classifiers
"""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_reg._types import Tensor
from keras_reg._validation import check_integer
from keras_reg.ops._bins import area_of_groups, convert_to_float, match_shapes, sum_in_bins

#: `risk_coverage_bins` distinguishes log-odds in this range: confidences from 4.5e-5 to 1 - 9e-14.
LOWEST_LOG_ODDS, HIGHEST_LOG_ODDS = -10.0, 30.0
_FLOOR = 1.17549435e-38  # The smallest normal float32, whose logarithm is finite.


def calibration_bins(confidence: Tensor, correct: Tensor, num_bins: int = 10, weights: Tensor | None = None) -> Tensor:
    """Sums samples in bins of equal width of the confidence, (lower, upper].

    Args:
        confidence: Tensor. The probability of the predicted class, shape (batch,). Confidence 0 belongs to the lowest
            bin. A confidence that exceeds 1 by rounding belongs to the highest bin.
        correct: Tensor. 1 if the predicted class is the label and 0 otherwise, shape (batch,).
        num_bins: Integer. The number of bins between 0 and 1. Defaults to `10`.
        weights: Tensor. The number of times that each sample counts, at least 0, shape (batch,). A sample of weight 0
            may be NaN. Defaults to `None`, which means once.

    Returns:
        The number of samples in each bin, the sum of their confidences, and the number of correct samples, shape
        (num_bins, 3).

    Raises:
        ValueError: If the shapes differ, or `num_bins` is not a positive integer.

    Example:

    ```python
    confidence, correct = np.array([0.3, 0.9]), np.array([1, 0])
    bins = calibration_bins(confidence, correct, num_bins=2)
    bins  # [[1, 0.3, 1], [1, 0.9, 0]]
    ```
    """
    confidence, correct = match_shapes(confidence, correct)
    edges = np.linspace(0.0, 1.0, check_integer("num_bins", num_bins) + 1)[1:-1]
    return sum_in_bins(confidence, edges, [ops.ones_like(confidence), confidence, correct], weights)


def calibration_error(bins: Tensor) -> Tensor:
    """Computes the expected calibration error from bins.

    The error is the distance between confidence and accuracy in a bin, averaged over the samples.

    Args:
        bins: Tensor. The sums of `calibration_bins`, shape (num_bins, 3): the number of samples in each bin, the sum
            of their confidences, and the number of correct samples.

    Returns:
        sum_b |confidence_b - correct_b| / sum_b count_b, from 0 to 1, or 0 without samples.

    Example:

    ```python
    bins = np.array([[1, 0.6, 1], [1, 0.9, 1]])
    keras_reg.ops.calibration_error(bins)  # (0.4 + 0.1) / 2 = 0.25
    ```

    Reference:
        - [Guo et al., 2017](https://arxiv.org/abs/1706.04599): On Calibration of Modern Neural Networks, equation 3
    """
    bins = ops.convert_to_tensor(bins)
    return ops.divide_no_nan(ops.sum(ops.abs(bins[:, 1] - bins[:, 2])), ops.sum(bins[:, 0]))


def area_under_risk_coverage(confidence: Tensor, correct: Tensor, excess: bool = False) -> Tensor:
    """Computes the area under the risk-coverage curve: the error rate of the k most confident samples, averaged over k.

    The area is small if correct predictions have a higher confidence than wrong ones. Samples of equal confidence are
    treated as if in random order. Each of them has the expected risk, and the result does not depend on the order of
    the data.

    Args:
        confidence: Tensor. Any score that increases with confidence, shape (num_samples,), such as the largest
            probability. In float32, this probability is 1 for every sample within 3e-8 of 1. `confidence_log_odds` of
            `keras_reg.ops.calibration` keeps such samples apart.
        correct: Tensor. 1 if the prediction is correct and 0 otherwise, shape (num_samples,).
        excess: Boolean. Whether to subtract the area of a perfect ranking with the same accuracy. That area is exact.
            The paper approximates it by r + (1 - r) log(1 - r) for many samples of error rate r. Defaults to `False`.

    Returns:
        The area, from 0 to 1. Published tables multiply it by 1000. It is NaN if a confidence is NaN.

    Raises:
        ValueError: If the shapes differ or do not have one dimension, or if there is no sample.

    Example:

    ```python
    confidence, correct = np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1])
    area = keras_reg.ops.area_under_risk_coverage(confidence, correct)
    area  # (0 + 1/2 + 1/3) / 3
    ```

    Reference:
        - [Geifman et al., 2018](https://arxiv.org/abs/1805.08206): Bias-Reduced Uncertainty Estimation for Deep Neural
          Classifiers
    """
    confidence, correct = match_shapes(confidence, correct)
    if len(confidence.shape) != 1 or confidence.shape[0] == 0:
        raise ValueError(
            "`confidence` must be a vector with one entry for each of at least one sample, such as the largest "
            f"probability of each row. Received: shape {tuple(confidence.shape)}"
        )
    order = ops.argsort(-confidence)
    ranked = ops.take(confidence, order)
    wrong = ops.where(ops.isnan(ranked), float("nan"), 1.0 - ops.take(correct, order))
    num_samples = ops.shape(ranked)[0]
    first_of_group = ops.concatenate([ops.zeros((1,), "int32"), ops.cast(ranked[1:] != ranked[:-1], "int32")], axis=0)
    group = ops.cast(ops.cumsum(first_of_group), "int32")

    def sum_by_group(values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns, for each sample, the sum over its group and the sum over the groups before."""
        sums = ops.segment_sum(values, group, num_segments=num_samples)
        return ops.take(sums, group), ops.take(ops.cumsum(sums) - sums, group)

    (count, count_before), (errors, errors_before) = sum_by_group(ops.ones_like(wrong)), sum_by_group(wrong)
    rank = ops.cumsum(ops.ones_like(wrong))
    expected_errors = errors_before + errors * (rank - count_before) / count
    if excess:
        expected_errors = expected_errors - ops.maximum(0.0, rank - ops.sum(correct))
    return ops.sum(expected_errors / rank) / ops.cast(num_samples, rank.dtype)


def confidence_log_odds(probabilities: Tensor) -> Tensor:
    """Computes the log-odds of the most probable class, log(p / (1 - p)), which keep confidences near 1 distinct.

    1 - p is the sum of the other classes. The difference would be 0 in float32 for p within 3e-8 of 1.

    Args:
        probabilities: Tensor. Class probabilities, shape (batch, num_classes). Only ratios within a row matter.

    Returns:
        The log-odds, shape (batch,), which rank samples as their confidence does.

    Example:

    ```python
    confidence_log_odds(np.array([[0.8, 0.2]]))  # [log(4)] = [1.386]
    ```
    """
    probabilities = convert_to_float(probabilities)
    largest = ops.max(probabilities, axis=-1)
    is_top = probabilities == largest[..., None]  # XLA makes `argmax` slow on CPUs.
    equals = ops.sum(ops.cast(is_top, probabilities.dtype), axis=-1) - 1.0
    others = ops.sum(ops.where(is_top, 0.0, probabilities), axis=-1) + equals * largest
    return ops.log(ops.maximum(largest, _FLOOR)) - ops.log(ops.maximum(others, _FLOOR))


def risk_coverage_bins(
    log_odds: Tensor, correct: Tensor, num_bins: int = 1000, weights: Tensor | None = None
) -> Tensor:
    """Sums samples in bins of equal width of the log-odds, from -10 to 30, from low to high confidence.

    Args:
        log_odds: Tensor. The log-odds of the confidence, shape (batch,), see `confidence_log_odds`. Values beyond the
            outer bins are counted in them.
        correct: Tensor. 1 if the predicted class is the label and 0 otherwise, shape (batch,).
        num_bins: Integer. The number of bins. Defaults to `1000`.
        weights: Tensor. The number of times that each sample counts, at least 0, shape (batch,). A sample of weight 0
            may be NaN. Defaults to `None`, which means once.

    Returns:
        The number of samples in each bin and the number of wrong samples, shape (num_bins, 2).

    Raises:
        ValueError: If the shapes differ, or `num_bins` is not a positive integer.

    Example:

    ```python
    log_odds, correct = np.array([1.0, 20.0]), np.array([0, 1])
    risk_coverage_bins(log_odds, correct, num_bins=2)  # [[1, 1], [1, 0]]
    ```
    """
    log_odds, correct = match_shapes(log_odds, correct)
    edges = np.linspace(LOWEST_LOG_ODDS, HIGHEST_LOG_ODDS, check_integer("num_bins", num_bins) + 1)[1:-1]
    wrong = ops.where(ops.isnan(log_odds), float("nan"), 1.0 - correct)
    return sum_in_bins(log_odds, edges, [ops.ones_like(wrong), wrong], weights)


def binned_area_under_risk_coverage(bins: Tensor, excess: bool = False) -> Tensor:
    """Computes the area of `area_under_risk_coverage` from bins, as if all samples of a bin had the same confidence.

    Args:
        bins: Tensor. The sums of `risk_coverage_bins`, shape (num_bins, 2).
        excess: Boolean. Whether to subtract the area of a perfect ranking with the same accuracy. Defaults to `False`.

    Returns:
        The area, from 0 to 1, or 0 without samples.

    Example:

    ```python
    bins = np.array([[1.0, 1.0], [1.0, 0.0]])
    binned_area_under_risk_coverage(bins)  # (0 + 1/2) / 2
    ```
    """
    bins = ops.flip(ops.convert_to_tensor(bins), axis=0)
    area = area_of_groups(bins[:, 0], bins[:, 1])
    if excess:
        total, wrong = ops.sum(bins[:, 0]), ops.sum(bins[:, 1])
        area = area - area_of_groups(ops.stack([total - wrong, wrong]), ops.stack([ops.zeros_like(wrong), wrong]))
    return area
