"""Scores of predicted logits: accuracy, negative log-likelihood, calibration error, and risk-coverage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_reg.ops import calibration

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

# The bins of confidence have equal widths. Each one includes its upper edge and excludes its lower edge.
CALIBRATION_BINS = 10


def log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Returns the log-probabilities of rows of logits in float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def accuracy(logits: Floats, labels: Ints) -> float:
    """Returns the share of rows whose largest logit belongs to the label."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """Returns the mean of `-log p(label)` in nats."""
    return float(-np.mean(log_softmax(logits)[np.arange(len(labels)), labels]))


def calibration_error(logits: Floats, labels: Ints, bins: int = CALIBRATION_BINS) -> float:
    """Returns the expected calibration error of the most probable class.

    Confidences are divided into equal-width bins `(0, 1/bins], ..., (1 - 1/bins, 1]`. The error is the mean over
    samples of the distance between the accuracy and the mean confidence of the sample's bin.

    Args:
        logits: Array of shape (n, num_classes).
        labels: Array of shape (n,). The true classes.
        bins: Integer. The number of bins. Defaults to `10`.

    Returns:
        The error between 0 and 1, or NaN if a logit is not finite.
    """
    confidence, hit = _confidence(logits, labels)
    if not np.isfinite(confidence).all():
        return float("nan")
    sums = calibration.calibration_bins(confidence, hit, bins)
    return float(ops.convert_to_numpy(calibration.calibration_error(sums)))


def area_under_risk_coverage(logits: Floats, labels: Ints) -> float:
    """Returns the error rate of the k most confident samples, averaged over k. A better ranking has a lower rate."""
    confidence, hit = _confidence(logits, labels)
    return float(ops.convert_to_numpy(calibration.area_under_risk_coverage(confidence, hit)))


def _confidence(logits: Floats, labels: Ints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Returns the probability of the most probable class, and 1 if that class is the label and 0 otherwise."""
    probabilities = np.exp(log_softmax(logits))
    return probabilities.max(axis=-1), (probabilities.argmax(axis=-1) == labels).astype(np.float64)


def score(logits: Floats, labels: Ints) -> dict[str, float]:
    """Returns the scores `accuracy`, `nll` (likelihood), `ece` (calibration error) and `aurc` (risk-coverage)."""
    return {
        "accuracy": accuracy(logits, labels),
        "nll": negative_log_likelihood(logits, labels),
        "ece": calibration_error(logits, labels),
        "aurc": area_under_risk_coverage(logits, labels),
    }


def score_detection(suspected: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Compares suspected labels with the labels that are known to be wrong.

    Args:
        suspected: Array. True for each label that a method suspects.
        wrong: Array. True for each label that is wrong.

    Returns:
        A dictionary of `found`, the share of the wrong labels that are suspected, and `false_alarms`, the share of the
        correct labels that are suspected. A share is `None` if there are no such labels, or no wrong labels.
    """
    found = float(suspected[wrong].mean()) if wrong.any() else None
    false_alarms = float(suspected[~wrong].mean()) if wrong.any() and not wrong.all() else None
    return {"found": found, "false_alarms": false_alarms}
