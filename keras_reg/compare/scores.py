"""Scores of predicted logits: accuracy, negative log-likelihood, expected calibration error. NumPy, float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
    probabilities = np.exp(log_softmax(logits))
    confidence = probabilities.max(axis=-1)
    if not np.isfinite(confidence).all():
        return float("nan")
    hit = (probabilities.argmax(axis=-1) == labels).astype(np.float64)
    # side="left" counts the edges strictly below the confidence, which puts an edge into the bin under it.
    which = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), confidence, side="left") - 1, 0, bins - 1)
    gap = np.bincount(which, weights=hit - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def score(logits: Floats, labels: Ints) -> dict[str, float]:
    """Accuracy, negative log-likelihood (`nll`) and expected calibration error (`ece`)."""
    return {
        "accuracy": accuracy(logits, labels),
        "nll": negative_log_likelihood(logits, labels),
        "ece": calibration_error(logits, labels),
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
