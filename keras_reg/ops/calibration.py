"""How far a classifier's confidence can be trusted: calibration error and risk against coverage.

Calibration error: Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, 2017, eq. 3.
Area under the risk-coverage curve: Geifman, Uziel, El-Yaniv, Bias-Reduced Uncertainty Estimation for Deep Neural
Classifiers, arXiv 1805.08206, 2018.
Statistics of bins are sums over samples: those of two batches, or of two replicas, are added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

#: The log-odds that are told apart by `risk_coverage_bins`: confidences from 4.5e-5 to 1 - 9e-14.
LOWEST_LOG_ODDS, HIGHEST_LOG_ODDS = -10.0, 30.0
_FLOOR = 1.17549435e-38  # the smallest normal float32, so that a logarithm stays finite


def calibration_bins(confidence: Any, correct: Any, num_bins: int = 10, weights: Any = None) -> Any:
    """Sums up samples in bins of equal width of the confidence, (lower, upper].

    Args:
        confidence: The probability of the predicted class, shape (batch,). Confidence 0 belongs to the lowest bin,
            and one above 1 by rounding to the highest.
        correct: Whether the predicted class is the label, 0 or 1, shape (batch,).
        num_bins: The number of bins between 0 and 1.
        weights: How often each sample counts, at least 0, shape (batch,). What has weight 0 may even be NaN.

    Returns:
        For each bin the number of samples, the sum of their confidences and the number of correct ones, shape
        (num_bins, 3).

    Raises:
        ValueError: If the shapes differ, or `num_bins` is not a positive integer.

    Example:

    ```python
    calibration_bins(np.array([0.3, 0.9]), np.array([1, 0]), num_bins=2)  # [[1, 0.3, 1], [1, 0.9, 0]]
    ```
    """
    confidence, correct = _same_shape(confidence, correct)
    edges = np.linspace(0.0, 1.0, check_num_bins(num_bins) + 1)[1:-1]
    return _sums_in_bins(confidence, edges, [ops.ones_like(confidence), confidence, correct], weights)


def calibration_error(bins: Any) -> Any:
    """The expected calibration error: the distance of confidence and accuracy in a bin, averaged over the samples.

    Args:
        bins: Sums of `calibration_bins`, shape (num_bins, 3).

    Returns:
        sum_b |confidence_b - correct_b| / sum_b count_b, from 0 to 1; 0 without samples.

    Example:

    ```python
    bins = calibration_bins(np.array([0.6, 0.9]), np.array([1, 1]))
    keras_reg.ops.calibration_error(bins)  # (0.4 + 0.1) / 2 = 0.25
    ```
    """
    bins = ops.convert_to_tensor(bins)
    return ops.divide_no_nan(ops.sum(ops.abs(bins[:, 1] - bins[:, 2])), ops.sum(bins[:, 0]))


def area_under_risk_coverage(confidence: Any, correct: Any, excess: bool = False) -> Any:
    """The area under the risk-coverage curve: the error rate of the k most confident samples, averaged over k.

    It asks whether confidence ranks right predictions above wrong ones; lower is better. Samples of the same
    confidence are taken to come in random order: each has the expected risk, so the order of the data does not matter.

    Args:
        confidence: Any score that grows with confidence, shape (num_samples,), such as the largest probability. In
            float32 that is 1 for every sample within 3e-8 of 1; `confidence_log_odds` keeps them apart.
        correct: Whether the prediction is right, 0 or 1, shape (num_samples,).
        excess: Whether to subtract the area of a perfect ranking with the same accuracy. It is computed exactly, not
            by the paper's approximation r + (1 - r) log(1 - r) for many samples of error rate r.

    Returns:
        The area, from 0 to 1. Published tables multiply it by 1000. A confidence of NaN makes it NaN.

    Raises:
        ValueError: If the shapes differ, or are not of one dimension, or there is no sample.

    Example:

    ```python
    keras_reg.ops.area_under_risk_coverage(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))  # (0 + 1/2 + 1/3) / 3
    ```
    """
    confidence, correct = _same_shape(confidence, correct)
    if len(confidence.shape) != 1 or confidence.shape[0] == 0:
        raise ValueError(
            "`confidence` must be a vector with one entry for each of at least one sample: give the largest "
            f"probability of each row. Received: shape {tuple(confidence.shape)}"
        )
    order = ops.argsort(-confidence)
    ranked = ops.take(confidence, order)
    wrong = ops.where(ops.isnan(ranked), float("nan"), 1.0 - ops.take(correct, order))
    num_samples = ops.shape(ranked)[0]
    first_of_group = ops.concatenate([ops.zeros((1,), "int32"), ops.cast(ranked[1:] != ranked[:-1], "int32")], axis=0)
    group = ops.cast(ops.cumsum(first_of_group), "int32")

    def of_group(values: Any) -> tuple[Any, Any]:
        """For each sample: the sum over its group, and that over the groups before."""
        sums = ops.segment_sum(values, group, num_segments=num_samples)
        return ops.take(sums, group), ops.take(ops.cumsum(sums) - sums, group)

    (count, count_before), (errors, errors_before) = of_group(ops.ones_like(wrong)), of_group(wrong)
    rank = ops.cumsum(ops.ones_like(wrong))
    expected_errors = errors_before + errors * (rank - count_before) / count
    if excess:
        expected_errors = expected_errors - ops.maximum(0.0, rank - ops.sum(correct))
    return ops.sum(expected_errors / rank) / ops.cast(num_samples, rank.dtype)


def confidence_log_odds(probabilities: Any) -> Any:
    """The log-odds of the most probable class, log(p / (1 - p)), in which confidences near 1 remain distinct.

    1 - p is summed up from the other classes: as a difference it is 0 in float32 once p is within 3e-8 of 1.

    Args:
        probabilities: Class probabilities, shape (batch, num_classes). Only the ratio within a row matters.

    Returns:
        The log-odds, shape (batch,), which rank samples as their confidence does.

    Example:

    ```python
    confidence_log_odds(np.array([[0.8, 0.2]]))  # [log(4)] = [1.386]
    ```
    """
    probabilities = _floating(probabilities)
    largest = ops.max(probabilities, axis=-1)
    is_top = probabilities == largest[..., None]  # not `argmax`, which XLA makes slow on processors
    equals = ops.sum(ops.cast(is_top, probabilities.dtype), axis=-1) - 1.0
    others = ops.sum(ops.where(is_top, 0.0, probabilities), axis=-1) + equals * largest
    return ops.log(ops.maximum(largest, _FLOOR)) - ops.log(ops.maximum(others, _FLOOR))


def risk_coverage_bins(log_odds: Any, correct: Any, num_bins: int = 1000, weights: Any = None) -> Any:
    """Sums up samples in bins of equal width of the log-odds, from -10 to 30, from low to high confidence.

    Args:
        log_odds: Log-odds of the confidence, shape (batch,), see `confidence_log_odds`. What is beyond the outer bins
            is counted in them.
        correct: Whether the predicted class is the label, 0 or 1, shape (batch,).
        num_bins: The number of bins.
        weights: How often each sample counts, at least 0, shape (batch,). What has weight 0 may even be NaN.

    Returns:
        For each bin the number of samples and the number of wrong ones, shape (num_bins, 2).

    Raises:
        ValueError: If the shapes differ, or `num_bins` is not a positive integer.

    Example:

    ```python
    risk_coverage_bins(np.array([1.0, 20.0]), np.array([0, 1]), num_bins=2)  # [[1, 1], [1, 0]]
    ```
    """
    log_odds, correct = _same_shape(log_odds, correct)
    edges = np.linspace(LOWEST_LOG_ODDS, HIGHEST_LOG_ODDS, check_num_bins(num_bins) + 1)[1:-1]
    wrong = ops.where(ops.isnan(log_odds), float("nan"), 1.0 - correct)
    return _sums_in_bins(log_odds, edges, [ops.ones_like(wrong), wrong], weights)


def binned_area_under_risk_coverage(bins: Any, excess: bool = False) -> Any:
    """`area_under_risk_coverage` from bins, as if all samples of a bin had the same confidence.

    Args:
        bins: Sums of `risk_coverage_bins`, shape (num_bins, 2).
        excess: Whether to subtract the area of a perfect ranking with the same accuracy.

    Returns:
        The area, from 0 to 1; 0 without samples.

    Example:

    ```python
    binned_area_under_risk_coverage(np.array([[1.0, 1.0], [1.0, 0.0]]))  # (0 + 1/2) / 2
    ```
    """
    bins = ops.flip(ops.convert_to_tensor(bins), axis=0)
    area = _area(bins[:, 0], bins[:, 1])
    if excess:
        total, wrong = ops.sum(bins[:, 0]), ops.sum(bins[:, 1])
        area = area - _area(ops.stack([total - wrong, wrong]), ops.stack([ops.zeros_like(wrong), wrong]))
    return area


def _area(count: Any, wrong: Any) -> Any:
    """The area for groups of equal confidence, the most confident first.

    The expected risk at rank k of a group that begins after n samples, e of them wrong, is (e + rate (k - n)) / k;
    summed over the group, with harmonic numbers H, wrong + (e - rate n) (H(n + count) - H(n)).
    """
    before, wrong_before = ops.cumsum(count) - count, ops.cumsum(wrong) - wrong
    rate = ops.divide_no_nan(wrong, count)
    return ops.divide_no_nan(ops.sum(wrong + (wrong_before - rate * before) * _harmonic(before, count)), ops.sum(count))


def _harmonic(start: Any, length: Any) -> Any:
    """H(start + length) - H(start) of the harmonic numbers, without cancellation and for fractions too.

    Six terms one by one, the others by the asymptotic series of the digamma function; the error is below 1e-9.
    """
    x, y = start + 1.0, start + 1.0 + length
    terms = [length / ((x + i) * (y + i)) for i in range(6)]
    x, y = 1.0 / (x + 6.0), 1.0 / (y + 6.0)
    series = sum(factor * (x**power - y**power) for factor, power in ((1 / 12, 2), (-1 / 120, 4), (1 / 252, 6)))
    return sum(terms) + ops.log1p(length * x) + 0.5 * length * x * y + series


def _sums_in_bins(values: Any, edges: np.ndarray, columns: list[Any], weights: Any) -> Any:
    """Sums of the columns in bins (lower, upper] between the inner edges, shape (num_bins, num_columns)."""
    rows = ops.stack(columns, axis=-1)
    if weights is not None:
        weights = ops.expand_dims(ops.cast(_same_shape(weights, values, "weights")[0], rows.dtype), -1)
        rows = ops.where(weights == 0.0, 0.0, weights * rows)  # 0 * NaN would be NaN
    # Comparing with the edges is exact where multiplying by the number of bins and rounding up is not.
    index = ops.searchsorted(ops.convert_to_tensor(edges, dtype=values.dtype), values, side="left")
    return ops.segment_sum(rows, index, num_segments=len(edges) + 1)


def _same_shape(first: Any, second: Any, name: str = "confidence") -> tuple[Any, Any]:
    first, second = _floating(first), ops.convert_to_tensor(second)
    differ = any(None not in pair and pair[0] != pair[1] for pair in zip(first.shape, second.shape, strict=False))
    if differ or len(first.shape) != len(second.shape):
        shapes = f"{tuple(first.shape)} for samples of shape {tuple(second.shape)}"
        raise ValueError(f"`{name}` must have one entry for each sample. Received: shape {shapes}")
    return first, ops.cast(second, first.dtype)


def _floating(values: Any) -> Any:
    """As a tensor of float64 where it is that already, otherwise float32: sums of halves stop growing at 2048."""
    tensor = ops.convert_to_tensor(values)
    return tensor if "float64" in str(tensor.dtype) else ops.cast(tensor, "float32")


def check_num_bins(num_bins: int) -> int:
    """Returns the number of bins, or raises `ValueError`."""
    if isinstance(num_bins, bool) or not isinstance(num_bins, (int, np.integer)) or num_bins < 1:
        raise ValueError(f"`num_bins` must be an integer of at least 1. Received: num_bins={num_bins!r}")
    return int(num_bins)
