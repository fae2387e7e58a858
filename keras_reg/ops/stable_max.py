"""StableMax and the collapse of softmax: Prieto et al., Grokking at the Edge of Numerical Stability.

arXiv 2501.04697, 2025. StableMax is a softmax with s(x) = x + 1 for x >= 0 and 1 / (1 - x) below in the place of the
exponential function (equations 5 and 6 of the paper's StableMax section).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import at_least_float32


def log_stablemax(logits: Any) -> Any:
    """The logarithm of StableMax, log(s(x_i) / sum_j s(x_j)), over the last axis.

    It is computed from log s(x) = log1p(x) for x >= 0 and -log1p(-x) below, which neither overflows nor rounds to 0.

    Args:
        logits: Logits, shape (..., num_classes).

    Returns:
        Logarithms of probabilities, of the same shape; in float32 for 16-bit floats.

    Example:

    ```python
    keras_reg.ops.log_stablemax(np.array([[1.0, 0.0, -1.0]]))  # log([[2, 1, 1 / 2]] / 3.5)
    ```
    """
    logits = at_least_float32(logits)
    one = ops.ones_like(logits)
    # log s(x) is odd. The sign of 0 is 1 here, so that the slope there is 1, on every backend.
    sign = ops.where(logits >= 0, one, -one)
    log_s = sign * ops.log1p(sign * logits)
    return log_s - ops.logsumexp(log_s, axis=-1, keepdims=True)


def stablemax_cross_entropy(targets: Any, logits: Any) -> Any:
    """The cross-entropy of each sample with StableMax in the place of softmax.

    Args:
        targets: Distributions over the classes, such as one-hot labels, shape (..., num_classes).
        logits: Logits, of the same shape.

    Returns:
        The cross-entropy, shape (...).

    Example:

    ```python
    keras_reg.ops.stablemax_cross_entropy(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))  # [-log(4 / 5)]
    ```
    """
    log_probabilities = log_stablemax(logits)
    return -ops.sum(ops.cast(targets, log_probabilities.dtype) * log_probabilities, axis=-1)


def softmax_collapse(labels: Any, logits: Any) -> Any:
    """Where softmax has collapsed: the sum of all exponentials is, after rounding, that of the label alone.

    The cross-entropy is then exactly 0, and so is the gradient by the label's logit: nothing more is learned from the
    sample, but the other logits still move.

    Args:
        labels: Class numbers, integers, shape (...).
        logits: Logits, shape (..., num_classes), in the floating-point type in which the loss computes.

    Returns:
        Booleans, shape (...).

    Example:

    ```python
    softmax_collapse(np.array([0, 0]), np.array([[3.0, 0.0], [90.0, 0.0]], "float32"))  # [False, True]
    ```
    """
    logits = at_least_float32(logits)
    exponentials = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    of_label = exponentials * one_hot(labels, logits.shape[-1], logits.dtype)
    return ops.sum(exponentials, axis=-1) == ops.sum(of_label, axis=-1)


def one_hot(labels: Any, num_classes: int, dtype: Any) -> Any:
    """Class numbers as one-hot rows; zeros for a number outside, on which `ops.one_hot` of PyTorch fails."""
    classes = ops.arange(num_classes, dtype="int32")
    return ops.cast(ops.cast(labels, "int32")[..., None] == classes, dtype)
