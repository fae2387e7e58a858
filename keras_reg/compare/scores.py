"""Scores of predicted logits: accuracy, negative log-likelihood, calibration error, risk and coverage."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_reg.ops import calibration

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]

# Ten equal-width bins of confidence, each without its lower and with its upper edge.
CALIBRATION_BINS = 10


def log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """The log-probabilities of rows of logits, in float64."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def accuracy(logits: Floats, labels: Ints) -> float:
    """The share of rows whose largest logit is at the label."""
    return float(np.mean(np.argmax(logits, axis=-1) == labels))


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """The mean of `-log p(label)` in nats."""
    return float(-np.mean(log_softmax(logits)[np.arange(len(labels)), labels]))


def calibration_error(logits: Floats, labels: Ints, bins: int = CALIBRATION_BINS) -> float:
    """The expected calibration error of the most probable class.

    Confidences fall into equal-width bins `(0, 1/bins], ..., (1 - 1/bins, 1]`; the error is the mean over samples of
    the distance between the accuracy and the mean confidence of the sample's bin.

    Args:
        logits: Array of shape (n, num_classes).
        labels: The true classes, of shape (n,).
        bins: The number of bins.

    Returns:
        The error, between 0 and 1, or NaN where a logit is not finite.
    """
    confidence, hit = _confidence(logits, labels)
    if not np.isfinite(confidence).all():
        return float("nan")
    sums = calibration.calibration_bins(confidence, hit, bins)
    return float(ops.convert_to_numpy(calibration.calibration_error(sums)))


def area_under_risk_coverage(logits: Floats, labels: Ints) -> float:
    """The error rate of the k most confident samples, averaged over k: how well confidence ranks predictions."""
    confidence, hit = _confidence(logits, labels)
    return float(ops.convert_to_numpy(calibration.area_under_risk_coverage(confidence, hit)))


def _confidence(logits: Floats, labels: Ints) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The probability of the most probable class, and 1 where that is the label."""
    probabilities = np.exp(log_softmax(logits))
    return probabilities.max(axis=-1), (probabilities.argmax(axis=-1) == labels).astype(np.float64)


def score(logits: Floats, labels: Ints) -> dict[str, float]:
    """Accuracy, `nll` (likelihood), `ece` (calibration error) and `aurc` (area under the risk-coverage curve)."""
    return {
        "accuracy": accuracy(logits, labels),
        "nll": negative_log_likelihood(logits, labels),
        "ece": calibration_error(logits, labels),
        "aurc": area_under_risk_coverage(logits, labels),
    }


def detection(suspected: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """How well a list of suspected labels matches the labels that are known to be wrong.

    Args:
        suspected: Which labels a method suspects.
        wrong: Which labels are wrong.

    Returns:
        `found`, the share of the wrong labels that are suspected, and `false_alarms`, the share of the right labels
        that are suspected; `None` where there is no label of that kind.
    """
    found = float(suspected[wrong].mean()) if wrong.any() else None
    false_alarms = float(suspected[~wrong].mean()) if wrong.any() and not wrong.all() else None
    return {"found": found, "false_alarms": false_alarms}
